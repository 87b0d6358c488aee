"""The state of a pretrained decoder between two words: growing, or in memory at fixed addresses.

Shapes: N rows, P positions read (including slots and prefix), L positions of fixed memory, G key-value heads,
C numbers per head, W width of embeddings, H features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqvae.models.pretrained.causal import KeysValues
from seqvae.models.text.kernels.buffers import copy_of, overwrite
from seqvae.models.text.kernels.precision import compute_dtype

_ALIGNED = 8  # alignment of fixed memory, which kernels read in groups


@dataclass(frozen=True)
class CausalState:
    """The words read so far, and the term of z at the softmax.

    `past` holds keys and values; a model with other memory reads the embeddings `seen` again at every step.
    `length` is P; in fixed memory of L positions it is a tensor (), and later positions are not read.
    """

    past: tuple[KeysValues, ...] = ()  # (N, G, P or L, C) of each layer
    seen: Tensor | None = None  # (N, P or L, W)
    length: int | Tensor = 0
    skip: Tensor | None = None  # (N, 1, H)

    def select(self, index: Tensor) -> CausalState:
        """The state of the rows at `index`."""
        seen, skip = (x if x is None else x[index] for x in (self.seen, self.skip))
        return replace(self, past=tuple((k[index], v[index]) for k, v in self.past), seen=seen, skip=skip)

    def allocate(self, length: int) -> CausalState:
        """A copy of the state before the first word, with room for `length` words."""
        if isinstance(self.length, Tensor):
            return copy_of(self)
        room = -(-(self.length + length) // _ALIGNED) * _ALIGNED

        def empty(x: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
            size = list(x.shape)
            size[dim] = room
            return x.new_zeros(size, dtype=dtype)

        device = next(x.device for x in (self.skip, self.seen, *(k for k, _ in self.past)) if x is not None)
        low = compute_dtype(device)
        made = CausalState(
            tuple((empty(k, 2, low), empty(v, 2, low)) for k, v in self.past),
            None if self.seen is None else empty(self.seen, 1, self.seen.dtype),
            torch.zeros((), dtype=torch.long, device=device),
            None if self.skip is None else copy_of(self.skip),
        )
        made.copy_from(self)
        return made

    def copy_from(self, other: CausalState) -> None:
        """Copy into this fixed state, in place, another fixed one or one before the first word."""
        if isinstance(other.length, Tensor):
            overwrite(self, other)
            return
        assert isinstance(self.length, Tensor)
        self.length.fill_(other.length)
        for mine, theirs in zip(self.past, other.past, strict=True):
            for buffer, values in zip(mine, theirs, strict=True):
                buffer[:, :, : other.length] = values
        if self.seen is not None and other.seen is not None:
            self.seen[:, : other.length] = other.seen
        overwrite(self.skip, other.skip)
