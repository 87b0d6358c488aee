"""Regular expressions as deterministic automata over the bytes of UTF-8 text.

Shapes: S states.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seqvae.data.text.regex_nfa import NFA, parse_regex
from seqvae.errors import UserError

States = npt.NDArray[np.int32]
DEAD = -1  # the state after which no text matches
MOST_STATES = 20_000


@dataclass(frozen=True, eq=False)
class ByteDFA:
    """A deterministic automaton: `moves` (S, 256) is the next state per byte, `DEAD` where there is none.

    State 0 is the start.

    Example:
        >>> digits = compile_regex("[0-9]+")
        >>> digits.accepts("2026"), digits.accepts(""), digits.accepts("20 26")
        (True, False, False)
    """

    moves: States  # (S, 256)
    accepting: npt.NDArray[np.bool_]  # (S,)

    def accepts(self, text: str) -> bool:
        """Whether the whole text matches."""
        state = 0
        for byte in text.encode("utf-8", "surrogatepass"):
            state = int(self.moves[state, byte])
            if state == DEAD:
                return False
        return bool(self.accepting[state])


@functools.lru_cache(maxsize=16)
def compile_regex(pattern: str) -> ByteDFA:
    """The automaton of the texts that a regular expression matches from first to last character.

    The syntax is Python's `re`; `^` and `$` mean the ends of the text. The subset construction over bytes, so
    that a token which holds a part of a character can be followed too.

    Raises:
        UserError: a pattern that is wrong, not regular or too large, or that no text matches.
    """
    nfa = parse_regex(pattern)
    first = _closure(nfa, _closure(nfa, [nfa.start], (nfa.free, nfa.at_start)), (nfa.free,))
    number, queue, rows = {first: 0}, [first], []
    for states in queue:  # grows while it is read
        row = np.full(256, DEAD, np.int32)
        for low, high, targets in _segments(nfa, states):
            closed = _closure(nfa, targets, (nfa.free,))
            if closed not in number:
                number[closed] = len(queue)
                queue.append(closed)
            row[low : high + 1] = number[closed]
        rows.append(row)
        if len(queue) > MOST_STATES:
            raise UserError(
                f"the regular expression {pattern!r} has more than {MOST_STATES:,} states: bound repetitions "
                "by smaller numbers"
            )
    accepting = [nfa.end in _closure(nfa, states, (nfa.free, nfa.at_end)) for states in queue]
    if not any(accepting):
        raise UserError(f"no text matches the regular expression {pattern!r}: check it")
    return ByteDFA(np.stack(rows), np.array(accepting))


def _closure(nfa: NFA, states: Iterable[int], tables: tuple[list[list[int]], ...]) -> frozenset[int]:
    """The states that are reached without a byte."""
    found, queue = set(states), list(states)
    while queue:
        state = queue.pop()
        for table in tables:
            for target in table[state]:
                if target not in found:
                    found.add(target)
                    queue.append(target)
    return frozenset(found)


def _segments(nfa: NFA, states: frozenset[int]) -> Iterable[tuple[int, int, frozenset[int]]]:
    """Runs of bytes that lead to the same states, and these."""
    edges = [edge for state in states for edge in nfa.bytes[state]]
    bounds = sorted({bound for low, high, _ in edges for bound in (low, high + 1)})
    for low, end in itertools.pairwise(bounds):
        targets = frozenset(target for a, b, target in edges if a <= low and end - 1 <= b)
        if targets:
            yield low, end - 1, targets
