"""Decoding with words that must stand: the rest is greedy, and the score is that of teacher forcing."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_run

from seqvae.data.text.batching import batch_from_ids
from seqvae.inference import TextVAE
from seqvae.models.text.forced import FREE, place_words, write_forced
from seqvae.models.text.likelihood import TextDecoder


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> TextVAE:
    return TextVAE.from_pretrained(tiny_run(tmp_path_factory))


def _write(vae: TextVAE, z: torch.Tensor, forced: torch.Tensor) -> tuple[list[list[int]], torch.Tensor]:
    decoder = vae.vae.decoder
    assert isinstance(decoder, TextDecoder)
    return write_forced(decoder, vae.vae.likelihood(z[None]).start(), forced)


def test_nothing_forced_is_greedy_decoding(vae: TextVAE) -> None:
    z = torch.randn(6, 4)
    rows, _ = _write(vae, z, torch.full((6, 20), FREE))
    assert vae.tokenizer.decode_batch(rows) == vae.decode(z, vae.greedy_untruncated())


def test_score_is_that_of_teacher_forcing(vae: TextVAE) -> None:
    z = torch.randn(5, 4)
    word = vae.tokenizer.encode("umbrella")[0]
    forced = place_words([word], torch.full((20,), FREE))[:5]
    rows, total = _write(vae, z, forced)
    for i, row in enumerate(rows):
        assert row[i] == word
    ended = [i for i, row in enumerate(rows) if len(row) < 20]
    batch = batch_from_ids([rows[i] for i in ended], vae.tokenizer.special, 0)
    expected = vae.vae.likelihood(z[None, ended]).log_prob(batch)[0]
    assert ended
    assert torch.allclose(total[ended].float(), expected.detach(), atol=1e-3)


def test_no_sentence_ends_before_its_last_word(vae: TextVAE) -> None:
    word = vae.tokenizer.encode("umbrella")[0]
    forced = torch.full((1, 20), FREE)
    forced[0, 17] = word
    ((row,), _) = _write(vae, torch.randn(1, 4), forced)
    assert row[17] == word


def test_pieces_stand_after_the_last_fixed_word() -> None:
    fixed = torch.tensor([FREE, 5, FREE, FREE, FREE])
    found = place_words([7, 8], fixed)
    assert found.tolist() == [[FREE, 5, 7, 8, FREE], [FREE, 5, FREE, 7, 8]]
    assert len(place_words([7] * 4, fixed)) == 0
