"""TextVAE: sentences to codes and codes to sentences, independent of batch and folder."""

from __future__ import annotations

import gc
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import SENTENCES, autoencoder, language_model

from seqvae.errors import UserError
from seqvae.evaluation.evaluate import KEYS
from seqvae.inference import RUN_FILES, TextVAE
from seqvae.models.text.decoding import GenerationConfig
from seqvae.models.vae import VAE

A, B = SENTENCES[:2]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> TextVAE:
    return TextVAE.from_pretrained(language_model(tmp_path_factory))


@pytest.fixture(scope="module")
def ae(tmp_path_factory: pytest.TempPathFactory) -> TextVAE:
    return TextVAE.from_pretrained(autoencoder(tmp_path_factory))


@pytest.fixture
def sentences_file(tmp_path: Path) -> str:
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join(SENTENCES * 5) + "\n")
    return str(file)


def test_the_embedded_sentences_have_factors(vae: TextVAE) -> None:
    assert vae.label_names == ()  # it was trained without
    found = vae.factor_scores(examples=110)
    assert found["factors"][:2] == ["question", "negation"]
    assert len(found["factors"]) == len(found["nats_per_factor"]) == 11
    assert vae.label_names == ()


def test_plain_lines_have_none(vae: TextVAE, sentences_file: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no example has a label: factors need question, negation"):
        vae.factor_scores(sentences_file)


def test_shapes(vae: TextVAE) -> None:
    z = vae.encode(SENTENCES)
    assert (z.shape, z.dtype, z.device.type) == ((4, 4), torch.float32, "cpu")
    assert vae.encode([]).shape == (0, 4)
    assert vae.decode(vae.encode([])) == []
    assert len(vae.decode(z)) == 4
    assert len(vae.sample(7)) == 7
    assert all(isinstance(text, str) for text in vae.sample(2))
    points = vae.interpolate(A, B, steps=5)
    assert [point.t for point in points] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_once_more_is_the_same(run: Path, vae: TextVAE) -> None:
    again = TextVAE.from_pretrained(str(run))
    z = vae.encode(SENTENCES)
    assert torch.equal(z, again.encode(SENTENCES))
    assert vae.decode(z) == again.decode(z)
    assert vae.sample(9, seed=3) == again.sample(9, seed=3)
    assert vae.sample(9, seed=3) != again.sample(9, seed=4)
    drawn = vae.encode(SENTENCES, sample=True, seed=1)
    assert torch.equal(drawn, again.encode(SENTENCES, sample=True, seed=1))
    assert not torch.equal(drawn, vae.encode(SENTENCES, sample=True, seed=2))
    assert not torch.equal(drawn, z)


def test_a_code_does_not_depend_on_its_batch(vae: TextVAE) -> None:
    many = SENTENCES * 20  # more than one batch
    together, backwards = vae.encode(many), vae.encode(many[::-1]).flip(0)
    alone = torch.cat([vae.encode([text]) for text in many])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together, backwards, atol=1e-5, rtol=0)
    assert together[:4].std(0).min() > 1e-4, "the codes of different sentences differ"


def test_a_sample_does_not_depend_on_its_number(vae: TextVAE) -> None:
    assert vae.sample(3, seed=5) == vae.sample(300, seed=5)[:3]


def test_models_are_for_use_not_for_training(vae: TextVAE) -> None:
    assert not vae.vae.training
    assert not vae.encode([A]).requires_grad


def test_codes_serve_the_users_own_gradients(vae: TextVAE) -> None:
    z = vae.encode(SENTENCES).requires_grad_()
    (z**2).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, 2 * z.detach())
    moved = (z - 0.1 * z.grad).requires_grad_()
    assert len(vae.decode(moved)) == 4, "codes that carry gradients are decoded"


def test_reconstructions(vae: TextVAE) -> None:
    pairs = vae.reconstruct([A, "the unheard-of word"])
    assert [pair.text for pair in pairs] == [A, "the <unk> <unk>"]
    assert [pair.reconstruction for pair in pairs] == vae.decode(vae.encode([A, "the unheard-of word"]))
    assert [pair.exact for pair in pairs] == [pair.text == pair.reconstruction for pair in pairs]


@pytest.mark.parametrize("path", ["linear", "slerp"])
def test_the_ends_of_a_path_are_reconstructions(vae: TextVAE, path: Any) -> None:
    points = vae.interpolate(A, B, steps=3, path=path)
    ends = [pair.reconstruction for pair in vae.reconstruct([A, B])]
    assert [points[0].text, points[-1].text] == ends


def test_how_sentences_are_written(vae: TextVAE) -> None:
    z = vae.encode(SENTENCES)
    assert vae.decode(z, GenerationConfig(top_k=1, max_length=20)) == vae.decode(z), (
        "one word to choose from is greedy"
    )
    assert vae.decode(z, GenerationConfig(beam=3)) == vae.decode(z, GenerationConfig(beam=3), seed=9), (
        "no chance in a beam"
    )
    assert all(len(text.split()) <= 3 for text in vae.sample(20, GenerationConfig(max_length=3)))
    assert vae.decode(z.tolist()) == vae.decode(z)


def test_what_is_refused(vae: TextVAE, sentences_file: str) -> None:
    for shape in ((4,), (2, 3), (1, 1, 4)):
        expected = re.escape(f"codes have shape {shape}: this model reads (N, 4)")
        with pytest.raises(UserError, match=expected):
            vae.decode(torch.zeros(shape))
    with pytest.raises(UserError, match="'  ' holds no token: give a sentence with at least one word"):
        vae.encode([A, "  "])
    with pytest.raises(UserError, match="steps got 1: a path has at least its 2 ends"):
        vae.interpolate(A, B, steps=1)
    with pytest.raises(UserError, match="samples must be at least 1, got 0"):
        vae.evaluate(sentences_file, samples=0)


def test_an_evaluation(vae: TextVAE, sentences_file: str) -> None:
    told: list[str] = []
    result = vae.evaluate(sentences_file, samples=3, progress=lambda done, total, what: told.append(what))
    assert set(KEYS) <= result.keys()
    assert (result["n"], result["iw_samples"]) == (20, 3)
    assert result["tokens"] == sum(len(text.split()) + 1 for text in SENTENCES * 5)
    assert result["neg_elbo"] == pytest.approx(result["rate"] + result["distortion"], rel=1e-5)
    assert told, "progress was reported"
    again = vae.evaluate(sentences_file, samples=3, batch_size=2)
    for key in ("neg_elbo", "iw_nll", "mi"):
        assert again[key] == pytest.approx(result[key], abs=1e-4), key
    json.dumps(result, allow_nan=False)


def test_a_model_is_held_once(run: Path) -> None:
    """The Hub's mixin keeps what it is made of; of a model on a GPU that would be a second one there."""

    def models() -> int:
        return sum(type(found) is VAE for found in gc.get_objects())

    before = models()
    vae = TextVAE.from_pretrained(run)
    assert models() == before + 1
    assert vae.with_labels(["tense"]).vae is vae.vae
    assert models() == before + 1


def test_prior_samples_may_be_left_out(vae: TextVAE) -> None:
    full, without = (vae.evaluate(samples=2, examples=8, draws=draws) for draws in (3, 0))
    assert full["distinct_of"] == 3
    assert without["distinct_samples"] is None
    assert {k: full[k] for k in ("iw_nll", "bleu", "shuffle_gap")} == {
        k: without[k] for k in ("iw_nll", "bleu", "shuffle_gap")
    }


def test_saved_elsewhere_it_is_the_same(vae: TextVAE, tmp_path: Path) -> None:
    folder = tmp_path / "saved" / "here"
    vae.save_pretrained(folder)
    assert {p.name for p in folder.iterdir()} == {*RUN_FILES, "README.md"}
    again = TextVAE.from_pretrained(folder)
    assert torch.equal(again.encode(SENTENCES), vae.encode(SENTENCES))
    assert again.sample(5) == vae.sample(5)
    again.save_pretrained(tmp_path / "third")
    assert torch.equal(TextVAE.from_pretrained(tmp_path / "third").encode([A]), vae.encode([A]))


def test_a_run_is_not_saved_into_itself(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    with pytest.raises(UserError, match="is this run already: save into another folder"):
        TextVAE.from_pretrained(copy).save_pretrained(copy)
    assert TextVAE.from_pretrained(copy).latent_dim == 4, "nothing of it was lost"


def test_pushing_sends_the_right_files(vae: TextVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    class Hub:
        """Takes what comes."""

        def __init__(self, token: str | None = None) -> None:
            sent["token"] = token

        def create_repo(self, repo_id: str, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> str:
            sent["repo"], sent["files"] = repo_id, {p.name: p.read_bytes() for p in folder_path.rglob("*")}
            return "https://hub/commit"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    assert vae.push_to_hub("somebody/tiny", token="t") == "https://hub/commit"
    assert (sent["repo"], sent["token"]) == ("somebody/tiny", "t")
    assert sent["files"].keys() == {*RUN_FILES, "README.md"}
    for name in RUN_FILES:
        assert sent["files"][name] == (vae.run.path / name).read_bytes(), name
    assert b"library_name: seqvae" in sent["files"]["README.md"]


@pytest.mark.parametrize("name", ["no-such-run", "runs/no-such-run", "/no/such/run", "not a name"])
def test_what_is_nowhere(name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} is neither a run folder nor a model on the Hub \(.+\)$"):
        TextVAE.from_pretrained(name)


def test_folders_that_are_no_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run folder: it has no config.json"):
        TextVAE.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="was not written by seqvae"):
        TextVAE.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="device got 'gpu'"):
        TextVAE.from_pretrained(run, device="gpu")


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_every_weight_must_be_there(run: Path, tmp_path: Path, change: str) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    weights = load_file(copy / "model.safetensors")
    if change == "missing":
        del weights["latent.mean.bias"]
    else:
        weights["latent.third.bias"] = torch.zeros(4)
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(UserError, match="cannot be read as this model's weights"):
        TextVAE.from_pretrained(copy)


def test_a_language_model(lm: TextVAE, sentences_file: str) -> None:
    assert lm.latent_dim == 0
    assert len(set(lm.sample(20))) > 1, "its samples differ by their words"
    assert lm.sample(3) == lm.sample(3)
    no_code = r"this run is a language model \(latent: none\): it has no code to encode into"
    for refused in (lm.encode, lm.reconstruct, lambda texts: lm.interpolate(*texts)):
        with pytest.raises(UserError, match=no_code):
            refused([A, B])
    with pytest.raises(UserError, match=r"codes have shape \(2, 4\): this model reads \(N, 0\)"):
        lm.decode(torch.zeros(2, 4))
    result = lm.evaluate(sentences_file, samples=2)
    assert result["rate"] == 0
    assert result["iw_nll"] == pytest.approx(result["distortion"], rel=1e-5)
    assert result["mi"] == 0
    assert [result[key] for key in ("bleu", "shuffle_gap", "active_units")] == [None, None, 0]


def test_an_autoencoder(ae: TextVAE, sentences_file: str) -> None:
    z = ae.encode(SENTENCES)
    assert torch.equal(z, ae.encode(SENTENCES, sample=True)), "there is nothing to draw"
    assert len(ae.decode(z)) == len(ae.reconstruct(SENTENCES)) == len(ae.interpolate(A, B, 4)) == 4
    result = ae.evaluate(sentences_file, samples=2)
    assert [result[key] for key in ("neg_elbo", "rate", "iw_nll", "ppl", "mi")] == [None] * 5
    assert result["distortion"] > 0
    assert result["bleu"] is not None


def test_refinement_is_measured_on_the_same_noise(vae: TextVAE, sentences_file: str) -> None:
    report = vae.evaluate(sentences_file, samples=3, refine=4)
    assert report["amortisation_gap"] == pytest.approx(
        report["neg_elbo"] - report["neg_elbo_refined"], abs=1e-4
    )
    assert "amortisation_gap" not in vae.evaluate(sentences_file, samples=3)
