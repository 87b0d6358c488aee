"""A sentence for a code that must hold some words, wherever they fit best.

Shapes: N tries, L words at most, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.inference import TextVAE
from seqvae.models.sampling import make_condition
from seqvae.models.text.forced import FREE, place_words, write_forced
from seqvae.models.text.likelihood import TextDecoder

LONGEST = 40  # places that are tried for a word


def decode_with_words(vae: TextVAE, z: Tensor, words: Sequence[str]) -> str:
    """The likeliest greedy sentence of a code (D,) that holds the words, in their order.

    Words that greedy decoding writes anyway cost nothing; each other one is tried at every place after the
    one before, and the place with the highest ln p(x|z) is taken.

    Raises:
        UserError: a word without a token, or more than fit into a sentence.
    """
    (plain,) = vae.decode(z[None])
    if _holds(plain, words):
        return plain
    length = min(vae.config.data.max_tokens, LONGEST)
    fixed = torch.full((length,), FREE)
    written: list[int] = []
    for word in words:
        written, fixed = _add(vae, z, fixed, word)
    return vae.tokenizer.decode(written)


def _holds(text: str, words: Sequence[str]) -> bool:
    """Whether the text holds the words in this order."""
    rest = iter(text.split())
    return all(word in rest for word in words)


def _add(vae: TextVAE, z: Tensor, fixed: Tensor, word: str) -> tuple[list[int], Tensor]:
    """The best sentence with one more word, and where its fixed words stand."""
    piece = vae.tokenizer.encode(word)
    if not piece:
        raise UserError(f"{word[:40]!r} holds no token: keep another word")
    tries = place_words(piece, fixed)
    if not len(tries):
        raise UserError(f"{word[:40]!r} does not fit into {len(fixed)} tokens: keep fewer words")
    decoder = vae.vae.decoder
    assert isinstance(decoder, TextDecoder)
    codes = z.expand(len(tries), -1).to(vae.device)
    c = make_condition(vae.vae, len(tries))
    likelihood: Any = vae.vae.likelihood(codes[None], None if c is None else c.to(vae.device))
    with torch.no_grad():
        rows, total = write_forced(decoder, likelihood.start(), tries.to(vae.device))
    best = int(total.argmax())
    return rows[best], tries[best]
