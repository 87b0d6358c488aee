"""A sentence for a code that must hold some words, wherever they fit best.

Shapes: D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.inference import TextVAE
from seqvae.models.sampling import make_condition
from seqvae.models.text.filling import BLANK, Pattern, fill_blanks
from seqvae.models.text.likelihood import start_decoder

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
    fixed: list[int] = []
    written: list[int] = []
    for word in words:
        written, fixed = _add(vae, z, fixed, word, length)
    return vae.tokenizer.decode(written)


def _holds(text: str, words: Sequence[str]) -> bool:
    """Whether the text holds the words in this order."""
    rest = iter(text.split())
    return all(word in rest for word in words)


def _add(vae: TextVAE, z: Tensor, fixed: Pattern, word: str, length: int) -> tuple[list[int], list[int]]:
    """The best sentence with one more word, and the pattern that ends with it."""
    piece = vae.tokenizer.encode(word)
    if not piece:
        raise UserError(f"{word[:40]!r} holds no token: keep another word")
    tries = place_words(piece, fixed, length)
    if not tries:
        raise UserError(f"{word[:40]!r} does not fit into {length} tokens: keep fewer words")
    codes = z.expand(len(tries), -1).to(vae.device)
    c = make_condition(vae.vae, len(tries))
    with torch.no_grad():
        decoder, state = start_decoder(vae.vae, codes, None if c is None else c.to(vae.device))
        found, scores = fill_blanks(decoder, state, tries, beam=1, longest=length)
    best = int(scores[:, 0].argmax())
    return found[best][0], tries[best]


def place_words(piece: Sequence[int], fixed: Pattern, length: int) -> list[list[int]]:
    """Patterns of at most `length` words: `fixed`, and the piece right after it or after some blanks.

    Example:
        >>> place_words([7, 8], [5], length=4)
        [[5, 7, 8], [5, -1, 7, 8]]
    """
    return [[*fixed, *[BLANK] * n, *piece] for n in range(length - len(fixed) - len(piece) + 1)]
