"""Noise in use is keyed by content: order, other examples and repeats change no number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SENTENCES
from tiny_pictures import grey, write_idx
from tiny_text import SPECIAL

from seqvae.config.loading import parse_config
from seqvae.data.image.feed import measured_feed as measured_pictures
from seqvae.data.text.batching import batch_from_ids, keys_of, keys_of_batch
from seqvae.data.text.dataset import load_data
from seqvae.data.text.feed import TextBatchSource
from seqvae.evaluation.evaluate import EvaluationSettings, evaluate
from seqvae.inference import ImageVAE, TextVAE
from seqvae.inference.inputs import examples_in
from seqvae.keyed_noise import distinguish_repeats, hash_codes, hash_content
from seqvae.models.text.decoding import GenerationConfig
from seqvae.training.loop import train

REPEATED = [SENTENCES[0], SENTENCES[1], SENTENCES[0], SENTENCES[2], SENTENCES[0]]
ORDER = [3, 4, 1, 0, 2]
WORDS_DRAWN = GenerationConfig(temperature=1.5, max_length=12)


@pytest.fixture(scope="module", params=["fixed", "stochastic"])
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageVAE:
    config: dict[str, Any] = {
        "modality": "image",
        "data": {"name": "blob", "examples": 60, "binarize": request.param},
        "encoder": {"name": "mlp", "hidden": [8]},
        "latent": {"name": "gaussian", "dim": 2},
        "decoder": {"name": "mlp", "hidden": [8]},
        "train": {"steps": 5, "batch_size": 20, "precision": "fp32", "device": "cpu", "valid_examples": 20},
    }
    return ImageVAE.from_pretrained(train(parse_config(config), tmp_path_factory.mktemp("blob") / "run"))


def test_keys_are_of_the_content_alone() -> None:
    rows = [[4, 5], [5, 4], [4], [4, 5, 0], [], [4, 5], [4, 5]]
    keys = keys_of(rows)
    assert keys[0] == keys[5] == keys[6]
    assert len(set(keys.tolist())) == 5
    assert keys[::-1].tolist() == keys_of(rows[::-1]).tolist()
    assert hash_content(np.array([4, 5]), np.array([2]))[0] == keys[0]
    assert keys_of([]).shape == distinguish_repeats(keys_of([])).shape == (0,)


def test_keys_of_many_contents_do_not_meet() -> None:
    pairs = np.array([(a, b) for a in range(500) for b in range(500)])
    keys = hash_content(pairs.reshape(-1), np.full(len(pairs), 2))
    assert len(np.unique(keys)) == len(pairs)
    bits = np.unpackbits(keys.view(np.uint8)).reshape(len(keys), 64).mean(0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / len(keys) ** 0.5  # each bit is as often 1 as 0


def test_repeats_get_draws_of_their_own_in_any_order() -> None:
    keys = keys_of([[4], [5], [4], [4]])
    drawn = distinguish_repeats(keys)
    assert drawn[0] == keys[0]
    assert drawn[1] == keys[1]
    assert len(set(drawn.tolist())) == 4
    assert sorted(distinguish_repeats(keys[[3, 1, 0, 2]]).tolist()) == sorted(drawn.tolist())


def test_padding_leaves_keys_alone() -> None:
    batch = batch_from_ids([[4, 5, 6, 7], [4]], SPECIAL)
    assert keys_of_batch(batch).tolist() == keys_of([[4, 5, 6, 7], [4]]).tolist()


def test_scores_of_repeats_agree_and_ranks_survive_another_order(vae: TextVAE) -> None:
    found = [score.iw_nll for score in vae.score(REPEATED, 5)]
    assert found[0] == pytest.approx(found[2], rel=1e-6) == pytest.approx(found[4], rel=1e-6)
    again = [score.iw_nll for score in vae.score([REPEATED[i] for i in ORDER], 5)]
    assert again == pytest.approx([found[i] for i in ORDER], rel=1e-5)


def test_draws_of_codes_follow_their_sentence(vae: TextVAE) -> None:
    z = vae.encode(REPEATED, sample=True)
    assert not torch.allclose(z[0], z[2]), "a sentence given twice gets two draws"
    again = vae.encode([REPEATED[i] for i in ORDER], sample=True)
    torch.testing.assert_close(again.sort(0).values, z.sort(0).values)
    torch.testing.assert_close(again[[0, 2]], z[[3, 1]])


def test_drawn_words_follow_their_sentence(vae: TextVAE) -> None:
    """In `reconstruct`, `shifted` and `decode`."""
    other = [REPEATED[i] for i in ORDER]

    def pairs(texts: list[str]) -> list[tuple[str, str]]:
        return sorted((r.text, r.reconstruction) for r in vae.reconstruct(texts, WORDS_DRAWN, sample=True))

    assert pairs(REPEATED) == pairs(other)
    step = torch.full((4,), 0.3)
    shifted = vae.shift(REPEATED, step, WORDS_DRAWN)
    assert sorted(shifted) == sorted(vae.shift(other, step, WORDS_DRAWN))
    z = vae.encode(SENTENCES)
    written = vae.decode(z, WORDS_DRAWN)
    assert vae.decode(z.flip(0), WORDS_DRAWN) == written[::-1]
    assert len(set(vae.decode(z[:1].expand(20, -1), WORDS_DRAWN))) > 1, "one code, many draws"
    assert len(set(hash_codes(z).tolist())) == len(z)


def test_an_evaluation_does_not_depend_on_the_order_of_the_lines(vae: TextVAE, tmp_path: Path) -> None:
    lines = [f"{text}\n" for text in SENTENCES * 3]
    reports = []
    for name, rows in (("one", lines), ("other", lines[::-1])):
        (tmp_path / f"{name}.txt").write_text("".join(rows))
        _, batches, measures = vae.evaluation_inputs(str(tmp_path / f"{name}.txt"), 4, None)
        settings = EvaluationSettings(mi_examples=7)
        reports.append(evaluate(vae.vae, batches, samples=5, measures=measures, settings=settings))
    one, other = reports
    for key in one.keys() - {"seconds", "precision", "cautions", "active_units_outlying"}:
        assert other[key] == pytest.approx(one[key], rel=1e-5, abs=1e-5), key


def test_scores_and_evaluations_draw_the_same_codes(vae: TextVAE, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("".join(f"{text}\n" for text in SENTENCES))
    scored = [score.iw_nll or 0.0 for score in vae.score(SENTENCES, 5)]
    assert sum(scored) / 4 == pytest.approx(vae.evaluate(str(file), samples=5)["iw_nll"], rel=1e-5)


def test_validation_in_training_keeps_its_stream(vae: TextVAE) -> None:
    data = load_data(vae.config.data, vae.tokenizer)
    for batch in TextBatchSource(data, 16, 1, 0).valid(50):
        assert torch.equal(batch.random.index, batch.index)


def test_pictures_too(pictures: ImageVAE, tmp_path: Path) -> None:
    given = grey(4, *pictures.codec.shape[1:])
    repeated, order = given[[0, 1, 0, 2]], [3, 2, 1, 0]
    found = [score.iw_nll for score in pictures.score(repeated, 5)]
    assert found[0] == pytest.approx(found[2], rel=1e-6)
    assert found[0] != pytest.approx(found[1])
    again = [score.iw_nll for score in pictures.score(repeated[order], 5)]
    assert again == pytest.approx([found[i] for i in order], rel=1e-5)
    z = pictures.encode(repeated, sample=True)
    assert not torch.allclose(z[0], z[2])
    torch.testing.assert_close(pictures.encode(given[::-1].copy()).flip(0), pictures.encode(given))
    reports = []
    for name, rows in (("one", given), ("other", given[::-1])):
        file = write_idx(tmp_path / f"{name}-idx3-ubyte", rows[:, 0].copy())
        reports.append(pictures.evaluate(str(file), samples=3))
    for key in ("iw_nll", "mi", "rate", "shuffle_gap", "squared_error"):
        assert reports[0][key] == pytest.approx(reports[1][key], rel=1e-5, abs=1e-5), key


def test_pictures_of_a_split_are_keyed_by_content(pictures: ImageVAE) -> None:
    _, store = pictures.evaluation_store(None)
    batches = list(measured_pictures(store, pictures.codec, 64, 20))
    assert not torch.equal(batches[0].random.index, batches[0].index)


def test_rows_of_a_picture_file_keep_their_places(pictures: ImageVAE, tmp_path: Path) -> None:
    """Binarisation is keyed by content; the places of rows are those of the file."""
    file = write_idx(tmp_path / "some-idx3-ubyte", grey(5, *pictures.codec.shape[1:])[:, 0].copy())
    found = examples_in(pictures, str(file), 3)
    assert list(found.places or ()) == [0, 1, 2]
    assert len(found.x) == 3
