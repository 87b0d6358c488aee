"""Which words a search may write next: none that is never said, no endless repetition, and a constraint.

Shapes: n sentences that are continued, V words, L words at most, Q states of an automaton, K classes of
words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seqvae.data.text.batch import SpecialIds
from seqvae.data.text.byte_dfa import DEAD
from seqvae.data.text.token_automaton import NEVER, START, TokenMoves

if TYPE_CHECKING:
    from seqvae.models.text.decoding import GenerationConfig

ORDER = 4  # of the n-grams whose repetition is limited


@dataclass(frozen=True)
class Automaton:
    """`TokenMoves` as tensors; the last state, Q - 1, is the one after which nothing matches."""

    moves: Tensor  # (Q, K)
    classes: Tensor  # (V,)
    distance: Tensor  # (Q,) words to a sentence that matches

    @classmethod
    def of(cls, tables: TokenMoves, words: int, device: torch.device) -> Automaton:
        """The automaton for an output layer of V `words`; those without a token are never written."""
        dead = len(tables.moves)
        moves = np.pad(tables.moves, ((0, 1), (0, 1)), constant_values=DEAD)
        moves = np.where(moves == DEAD, dead, moves)
        classes = np.full(words, tables.moves.shape[1])
        classes[: len(tables.classes)] = tables.classes
        distance = np.append(tables.distance, NEVER)
        return cls(*(torch.from_numpy(x.astype(np.int64)).to(device) for x in (moves, classes, distance)))

    def allowed(self, states: Tensor, left: Tensor, end: int) -> Tensor:
        """(n, V): the words after which at most `left` () more ones make a sentence that matches.

        Where there is none, as for a beam of probability 0, all are: a row must have a word.
        """
        near = self.distance[self.moves[states]] <= left  # (n, K)
        found = near[:, self.classes]
        found[:, end] = self.distance[states] == 0
        return found | ~found.any(1, keepdim=True)


class Restrictions:
    """What `how` forbids at each place, as masks over the next word."""

    def __init__(self, how: GenerationConfig, special: SpecialIds, words: int, device: torch.device) -> None:
        self.never = () if how.unknown else (special.unk,)
        self.end, self.words, self.length = special.eos, words, how.longest
        self.most = how.repeats or 0  # times that an n-gram may occur; 0: any
        self.automaton = None if how.moves is None else Automaton.of(how.moves, words, device)

    def begin(self, *shape: int, device: torch.device) -> Tensor:
        """States of the constraint before the first word."""
        return torch.full(shape, START, dtype=torch.long, device=device)

    def advance(self, states: Tensor, words: Tensor) -> Tensor:
        """The states after some more words, of the same shape."""
        if self.automaton is None:
            return states
        return self.automaton.moves[states, self.automaton.classes[words]]

    def allowed(self, written: Tensor, position: Tensor, states: Tensor) -> Tensor | None:
        """(n, V) the words that may follow the first `position` () of `written` (n, L); None: all.

        The constraint has precedence: where repetition leaves it no word, it is not limited.
        """
        fits = None
        if self.automaton is not None:
            fits = self.automaton.allowed(states, self.length - 1 - position, self.end)
        if not self.most or written.shape[1] < ORDER:
            return fits
        fresh = count_continuations(written, position, self.words) < self.most
        if fits is None:
            return fresh
        both = fits & fresh
        return torch.where(both.any(1, keepdim=True), both, fits)

    def mask(self, logits: Tensor, allowed: Tensor | None) -> Tensor:
        """The logits (n, V) with -inf for each word that may not follow; they may be overwritten."""
        if allowed is not None:
            logits = logits.masked_fill_(~allowed, -torch.inf)
        for word in self.never:
            logits[:, word].fill_(-torch.inf)
        return logits


def count_continuations(written: Tensor, position: Tensor, words: int, order: int = ORDER) -> Tensor:
    """(n, V): how often each word has followed, in its sentence, the last `order` - 1 words.

    Args:
        written: word ids (n, L), of which the first `position` count.
        position: ().
        words: V.
        order: of the n-grams that end in the word, at most L.
    """
    before, places = order - 1, torch.arange(written.shape[1], device=written.device)
    last = (position - before + places[:before]).clamp(min=0)
    grams = written.unfold(1, before, 1)[:, :-1]  # (n, L - order + 1, order - 1)
    same = (grams == written.index_select(1, last)[:, None]).all(-1)
    same = same & (places[before:] < position)
    counts = torch.zeros(len(written), words, device=written.device)
    return counts.scatter_add_(1, written[:, before:], same.float())
