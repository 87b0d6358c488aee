"""Searches that write sentences word by word; each step uses tensors only, so that a GPU can capture it.

Shapes: N sentences, n of them that a step works on, L words at most.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.kernels.buffers import copy_of, overwrite
from seqvae.models.text.likelihood import DecoderState

Read = Callable[[Tensor, DecoderState], tuple[Tensor, DecoderState]]


@dataclass(frozen=True)
class SearchState:
    """N partly written sentences, of which n are continued."""

    decoder: DecoderState
    words: Tensor  # (n, ...) read by the next step
    active: Tensor  # (n,) bool: not ended yet
    rows: Tensor  # (n,) index among the N; N for rows of padding
    position: Tensor  # () words read so far
    output: Tensor  # (N + 1, L) words written so far

    shared: ClassVar[tuple[str, ...]] = ("output",)  # tables of all N, plus a row for padding
    without_rows: ClassVar[tuple[str, ...]] = ("position",)  # other fields without one row for each of the n

    def _parts(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, index: Tensor) -> Self:
        """The state of the rows at `index` among the n."""
        kept = {*self.shared, *self.without_rows}
        chosen: dict[str, Any] = {
            name: part[index] if isinstance(part, Tensor) else part.select(index)
            for name, part in self._parts().items()
            if name not in kept
        }
        return replace(self, **chosen)

    def select_padded(self, index: Tensor, count: int) -> Self:
        """The state of the rows at `index`; those from `count` on are padding and are not continued."""
        real = torch.arange(len(index), device=index.device) < count
        chosen, nowhere = self.select(index), len(self.output) - 1
        rows = torch.where(real, chosen.rows, nowhere)
        return replace(chosen, active=chosen.active & real, rows=rows).compacted()

    def compacted(self) -> Self:
        """The same state whose decoder holds exactly the rows that the next step reads."""
        return self

    def allocate(self, length: int) -> Self:
        """A copy with room for `length` words; the tables of all N stay shared."""
        apart = {"decoder", *self.shared}
        own = {name: copy_of(part) for name, part in self._parts().items() if name not in apart}
        return replace(self, **own, decoder=self.decoder.allocate(length))

    def copy_from(self, other: Self) -> None:
        """Overwrite this state, in place, by another one of as many rows."""
        self.decoder.copy_from(other.decoder)
        for name, part in self._parts().items():
            if name != "decoder":
                overwrite(part, getattr(other, name))


S = TypeVar("S", bound=SearchState)


class Search(ABC, Generic[S]):
    """A way to find a sentence for each code.

    With `fixed_shapes` every step has the same shapes, and sentences that have ended may stay for some steps.
    """

    steps: int  # most words that are read
    fixed_shapes: bool

    @abstractmethod
    def begin(self, decoder: DecoderState, random: KeyedNoise) -> S:
        """The state before the first word of N sentences, with noise for each of `random.index` (N,)."""

    @abstractmethod
    def step(self, state: S) -> S:
        """Read a word of each of the n sentences and choose the next.

        Uses tensors only: the host reads no value. The tables of all N are written in place.
        """

    @abstractmethod
    def finish(self, state: S) -> Tensor:
        """(N, L): the sentences, after the last step."""


class Stepper(Generic[S]):
    """Runs the steps of a search; each step makes a new state."""

    def __init__(self, search: Search[S], state: S) -> None:
        self.search, self.state = search, state

    def step(self) -> None:
        """Write one word of every sentence."""
        self.state = self.search.step(self.state)

    def drop_ended(self, active: Tensor) -> Stepper[S]:
        """The stepper that continues with the rows `active` (m,)."""
        if active.shape[0] < self.state.active.shape[0]:
            self.state = self.state.select(active)
        return self


def run_search(search: Search[S], stepper: Stepper[S], interval: int) -> list[list[int]]:
    """The sentences (N, L) of a search.

    After every `interval` words the host checks which sentences have not ended; it waits for the device only
    then.
    """
    for number in range(1, search.steps + 1):
        stepper.step()
        if number % interval == 0 and number < search.steps:
            active = stepper.state.active.nonzero()[:, 0]
            if not active.shape[0]:
                break
            stepper = stepper.drop_ended(active)
    return search.finish(stepper.state).tolist()
