"""Writing sentences word by word: one step is a function of tensors, asked now and then who goes on.

Shapes: N sentences, n of them that a step works on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from seqvae.numerics import Randomness
from seqvae.text.buffers import copy_of, overwrite
from seqvae.text.likelihood import DecoderState

Read = Callable[[Tensor, DecoderState], tuple[Tensor, DecoderState]]


@dataclass(frozen=True)
class Frame:
    """N sentences as far as they are written, n of which go on."""

    state: DecoderState
    words: Tensor  # (n, ...) to be read next
    going: Tensor  # (n,) bool: their end is not found
    rows: Tensor  # (n,) where among the N they are; N for a row that only fills up the n
    place: Tensor  # () how many words were read
    table: Tensor  # (N + 1, L) what is written of each

    tables: ClassVar[tuple[str, ...]] = ("table",)  # of all N, and one row more for those that fill up
    undivided: ClassVar[tuple[str, ...]] = ("place",)  # besides, what has no row for each of the n

    def _parts(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, index: Tensor) -> Self:
        """The chosen rows of the n."""
        kept = {*self.tables, *self.undivided}
        chosen: dict[str, Any] = {
            name: part[index] if isinstance(part, Tensor) else part.select(index)
            for name, part in self._parts().items()
            if name not in kept
        }
        return replace(self, **chosen)

    def packed(self) -> Self:
        """The same, whose state has the rows that are read next and no other."""
        return self

    def refilled(self, index: Tensor, count: int) -> Self:
        """The chosen rows, of which those from `count` on only fill up: they do not go on."""
        real = torch.arange(len(index), device=index.device) < count
        chosen, nowhere = self.select(index), len(self.table) - 1
        rows = torch.where(real, chosen.rows, nowhere)
        return replace(chosen, going=chosen.going & real, rows=rows).packed()

    def fixed(self, length: int) -> Self:
        """The same in memory of its own with room for `length` words; the tables stay shared."""
        shared = {"state", *self.tables}
        own = {name: copy_of(part) for name, part in self._parts().items() if name not in shared}
        return replace(self, **own, state=self.state.fixed(length))

    def take(self, other: Self) -> None:
        """Write the numbers of another frame of as many rows into this one."""
        for name, part in self._parts().items():
            given = getattr(other, name)
            part.take(given) if name == "state" else overwrite(part, given)


F = TypeVar("F", bound=Frame)


class Search(ABC, Generic[F]):
    """A way to find a sentence for each code."""

    steps: int  # words that are read at most
    full: bool  # whether sentences that have ended stay for some words, and all frames have one form

    @abstractmethod
    def begin(self, state: DecoderState, random: Randomness) -> F:
        """Before the first word of the N sentences whose chances are those of `random.index`."""

    @abstractmethod
    def step(self, frame: F) -> F:
        """Read a word of each of the n sentences and find the next.

        A function of tensors: no number leaves the device. The tables of all N are written in place.
        """

    @abstractmethod
    def finish(self, frame: F) -> Tensor:
        """(N, L): the sentences, when nothing goes on any more."""


class Stage(Generic[F]):
    """The steps of a search on n sentences; each leaves the frame before it alone."""

    def __init__(self, search: Search[F], frame: F) -> None:
        self.search, self.frame = search, frame

    def step(self) -> None:
        """One word of every sentence."""
        self.frame = self.search.step(self.frame)

    def keep(self, going: Tensor) -> Stage[F]:
        """The stage of those rows (m,) that go on."""
        if going.shape[0] < self.frame.going.shape[0]:
            self.frame = self.frame.select(going)
        return self


def run(search: Search[F], stage: Stage[F], interval: int) -> list[list[int]]:
    """The sentences (N, L) of a search from its first stage on, asked after every `interval` words."""
    for place in range(1, search.steps + 1):
        stage.step()
        if place % interval == 0 and place < search.steps:
            going = stage.frame.going.nonzero()[:, 0]  # the host waits for the device here, and here alone
            if not going.shape[0]:
                break
            stage = stage.keep(going)
    return search.finish(stage.frame).tolist()
