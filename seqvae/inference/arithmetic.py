"""Arithmetic on sentences through their codes: `a - b + c`.

Shapes: D latent dims.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.inference.text_vae import TextVAE

Term = tuple[float, str]  # factor, sentence
_OPERATOR = re.compile(r"\s+([+-])\s+(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")
_FACTOR = re.compile(r"^(\d+(?:\.\d+)?)\s*\*\s*(.+)$", re.DOTALL)


def parse_expression(expression: str) -> list[Term]:
    """The terms of `a - b + 0.5 * c`; a sentence in double quotes may hold + and - itself.

    Raises:
        UserError: a term without a sentence, or nothing to add or subtract.

    Example:
        >>> parse_expression('the dogs run . - the dog runs . + 2 * "a + b ."')
        [(1.0, 'the dogs run .'), (-1.0, 'the dog runs .'), (2.0, 'a + b .')]
    """
    first, *rest = _OPERATOR.split(expression.strip())
    if not rest:
        raise UserError(
            f'{expression!r} adds and subtracts nothing: write "a - b + c", with spaces around + and -'
        )
    return [
        _term(1.0, first),
        *(_term({"+": 1.0, "-": -1.0}[s], t) for s, t in zip(*[iter(rest)] * 2, strict=True)),
    ]


def _term(sign: float, written: str) -> Term:
    factor = _FACTOR.match(written.strip())
    number, text = (float(factor[1]), factor[2]) if factor else (1.0, written)
    text = text.strip()
    if text[:1] == text[-1:] == '"' and len(text) > 1:
        text = text[1:-1].strip()
    if not text:
        raise UserError("a term of the expression holds no sentence: write one between + and -")
    return sign * number, text


def combine_codes(vae: PretrainedVAE, terms: Sequence[tuple[float, Any]]) -> Tensor:
    """(D,): the sum of factor x code of each term's example, sentences or pictures.

    Raises:
        UserError: as `PretrainedVAE.encode`.
    """
    factors = torch.tensor([factor for factor, _ in terms])
    codes: Tensor = vae.encode([example for _, example in terms])
    return factors @ codes


def calculate(vae: TextVAE, expression: str) -> str:
    """The sentence at the code that an expression such as `a - b + c` comes to.

    Raises:
        UserError: as `parse_expression` and `TextVAE.encode`.
    """
    return vae.decode(combine_codes(vae, parse_expression(expression))[None])[0]
