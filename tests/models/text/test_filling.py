"""Blanks filled by beam search against the best of all sentences."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from tiny import tiny_run
from tiny_text import DECODERS, SAYABLE, tiny_vae

from seqvae.data.text.batching import batch_from_ids
from seqvae.inference import TextVAE
from seqvae.models.text.filling import BLANK, Pattern, fill_blanks
from seqvae.models.text.likelihood import TextDecoder

WORDS = [word for word in SAYABLE if word > 3]  # no special ones
PATTERNS = [[4, BLANK, 5], [BLANK, BLANK], [6, 5, 4, 4], [BLANK]]


@pytest.mark.parametrize("name", ["gru-state+steps+softmax", "lstm-tied-2", "transformer-slots"])
def test_a_wide_beam_finds_the_likeliest_sentence(name: str) -> None:
    vae = tiny_vae(decoder=DECODERS[name])
    z = torch.randn(len(PATTERNS), 2)
    found, scores = fill_blanks(vae.decoder, vae.likelihood(z[None]).start(), PATTERNS, beam=9)
    for i, pattern in enumerate(PATTERNS):
        blanks = [WORDS if word == BLANK else [word] for word in pattern]
        every = [list(words) for words in product(*blanks)]
        batch = batch_from_ids(every, vae.decoder.special)
        with torch.no_grad():
            nats = vae.likelihood(z[i].expand(1, len(every), -1)).log_prob(batch)[0]
        assert found[i][0] == every[int(nats.argmax())]
        assert float(scores[i, 0]) == pytest.approx(float(nats.max()), abs=1e-4)
        assert sorted(found[i]) == sorted(every)  # 9 beams hold all sentences of two blanks
        assert scores[i, : len(every)].tolist() == sorted(scores[i, : len(every)].tolist(), reverse=True)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    vae = tiny_vae()
    z = torch.randn(len(PATTERNS), 2)
    whole = fill_blanks(vae.decoder, vae.likelihood(z[None]).start(), PATTERNS, beam=2)[0]
    alone = [
        fill_blanks(vae.decoder, vae.likelihood(z[None, i : i + 1]).start(), PATTERNS[i : i + 1], beam=2)[0][
            0
        ]
        for i in range(len(PATTERNS))
    ]
    assert whole == alone


LONGEST = 20


@pytest.fixture(scope="module")
def trained_vae(tmp_path_factory: pytest.TempPathFactory) -> TextVAE:
    return TextVAE.from_pretrained(tiny_run(tmp_path_factory))


def _write(vae: TextVAE, z: torch.Tensor, patterns: list[Pattern]) -> tuple[list[list[int]], torch.Tensor]:
    decoder = vae.vae.decoder
    assert isinstance(decoder, TextDecoder)
    found, scores = fill_blanks(decoder, vae.vae.likelihood(z[None]).start(), patterns, 1, LONGEST)
    return [beams[0] for beams in found], scores[:, 0]


def test_an_open_pattern_without_words_is_greedy_decoding(trained_vae: TextVAE) -> None:
    z = torch.randn(6, 4)
    rows, _ = _write(trained_vae, z, [[]] * 6)
    assert trained_vae.tokenizer.decode_batch(rows) == trained_vae.decode(z, trained_vae.greedy_untruncated())


def test_the_score_is_that_of_teacher_forcing(trained_vae: TextVAE) -> None:
    vae, z = trained_vae, torch.randn(5, 4)
    word = vae.tokenizer.encode("umbrella")[0]
    rows, scores = _write(vae, z, [[*[BLANK] * i, word] for i in range(5)])
    assert [row[i] for i, row in enumerate(rows)] == [word] * 5
    ended = [i for i, row in enumerate(rows) if len(row) < LONGEST]
    assert ended
    batch = batch_from_ids([rows[i] for i in ended], vae.tokenizer.special, 0)
    expected = vae.vae.likelihood(z[None, ended]).log_prob(batch)[0]
    assert torch.allclose(scores[ended], expected.detach(), atol=1e-3)


def test_no_sentence_ends_before_its_last_word(trained_vae: TextVAE) -> None:
    word = trained_vae.tokenizer.encode("umbrella")[0]
    ((row,), _) = _write(trained_vae, torch.randn(1, 4), [[*[BLANK] * 17, word]])
    assert row[17] == word


def test_a_wider_beam_finds_no_worse_sentence(trained_vae: TextVAE) -> None:
    vae, z = trained_vae, torch.randn(8, 4)
    decoder = vae.vae.decoder
    assert isinstance(decoder, TextDecoder)
    scores = [
        fill_blanks(decoder, vae.vae.likelihood(z[None]).start(), [[BLANK, 7]] * 8, beam, LONGEST)[1][:, 0]
        for beam in (1, 8)
    ]
    assert bool((scores[1] >= scores[0] - 1e-4).all())
    assert bool((scores[1] > scores[0] + 1e-3).any())
