"""Texts of vectors, improved in rounds: write, embed what was written, correct.

Shapes: N vectors, W their width, D latent dims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Array]  # the embedder that made the vectors: texts to (N, W)


@dataclass(frozen=True)
class Recovered:
    """The nearest text to each of N vectors so far, after each round, and the cosines of its embedding.

    `history` has rounds + 1 lists of N texts, the first ones included; `cosines` (rounds + 1, N).
    """

    history: list[list[str]]
    cosines: Array

    @property
    def texts(self) -> list[str]:
        """Those after the last round, N."""
        return self.history[-1]


def recover(
    vae: Any, vectors: Any, embed: Embed, rounds: int = 5, step: float = 0.5, **decoding: Any
) -> Recovered:
    """Write a text for each of `vectors` (N, W), and correct it by the embedder's answer in each round.

    t <- t + step (v - embed(text)), and the next text is that of t: what the last one said too little of v is
    asked for more. Of all texts so far the one whose embedding has the greatest cosine with v is kept, so no
    round makes any text worse. The idea of correction by embedding again is that of Morris et al. 2023 (there
    a second model learns it).

    Args:
        vae: a `TextVAE` of encoder `vectors`, or anything with `encode(vectors)` and `decode(z)`.
        vectors: (N, W) numbers.
        embed: the embedder that made the vectors.
        rounds: corrections after the first text.
        step: how much of the difference is added to what is asked for.
        decoding: further arguments of `vae.decode`.
    """
    wanted = np.asarray(vectors, np.float32)
    asked = wanted.copy()
    texts = list(vae.decode(vae.encode(asked), **decoding))
    found = np.asarray(embed(texts), np.float32)
    best = cosines(found, wanted)
    history, shown, last = [best], [texts], found
    for _ in range(rounds):
        asked = asked + step * (wanted - last)
        written = list(vae.decode(vae.encode(asked), **decoding))
        last = np.asarray(embed(written), np.float32)
        now = cosines(last, wanted)
        texts = [new if a > b else old for new, old, a, b in zip(written, texts, now, best, strict=True)]
        best = np.maximum(best, now)
        history.append(best)
        shown.append(texts)
    return Recovered(shown, np.stack(history))


def cosines(a: Array, b: Array) -> Array:
    """(N,) the cosine of each row of a (N, W) with that of b; 0 where one of them is zero."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: Array = (a * b).sum(1) / np.where(lengths > 0, lengths, 1.0)
    return found
