"""Blanks filled by beam search against the best of all sentences."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from tiny_text import DECODERS, SAYABLE, tiny_vae

from seqvae.data.text.batching import batch_from_ids
from seqvae.models.text.filling import BLANK, fill_blanks

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
