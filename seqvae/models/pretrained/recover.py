"""Recover texts from their embedding vectors, by iterated decoding, embedding and correction.

Shapes: N vectors, W vector width, D latent dims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Array]  # the embedder of the vectors: texts to (N, W)


@dataclass(frozen=True)
class Recovered:
    """The best text for each of N vectors after each round, and its cosine similarity.

    `history` has rounds + 1 lists of N texts, first those before any correction; `cosines` (rounds + 1, N).
    """

    history: list[list[str]]
    cosines: Array

    @property
    def texts(self) -> list[str]:
        """The N texts after the last round."""
        return self.history[-1]


def recover(
    vae: Any, vectors: Any, embed: Embed, rounds: int = 5, step: float = 0.5, **decoding: Any
) -> Recovered:
    """Decode each of `vectors` (N, W) to a text, and correct it with the embedder in each round.

    t <- t + step (v - embed(text)), and the next text is decoded from t, which compensates for the deviation
    of the last one. The text whose embedding has the highest cosine similarity with v is kept, so no round
    makes a text worse. Correction by embedding again is the idea of Morris et al. 2023 (there with a second,
    learned model).

    Args:
        vae: a `TextVAE` of encoder `vectors`, or anything with `encode(vectors)` and `decode(z)`.
        vectors: (N, W) numbers.
        embed: the embedder of the vectors.
        rounds: corrections after the first text.
        step: fraction of the difference that is added to t.
        decoding: further arguments of `vae.decode`.
    """
    wanted = np.asarray(vectors, np.float32)
    target = wanted.copy()
    texts = list(vae.decode(vae.encode(target), **decoding))
    found = np.asarray(embed(texts), np.float32)
    best = cosines(found, wanted)
    history, shown, last = [best], [texts], found
    for _ in range(rounds):
        target = target + step * (wanted - last)
        written = list(vae.decode(vae.encode(target), **decoding))
        last = np.asarray(embed(written), np.float32)
        now = cosines(last, wanted)
        texts = [new if a > b else old for new, old, a, b in zip(written, texts, now, best, strict=True)]
        best = np.maximum(best, now)
        history.append(best)
        shown.append(texts)
    return Recovered(shown, np.stack(history))


def cosines(a: Array, b: Array) -> Array:
    """(N,) cosine similarity of the rows of a (N, W) and b; 0 if one of them is zero."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: Array = (a * b).sum(1) / np.where(lengths > 0, lengths, 1.0)
    return found
