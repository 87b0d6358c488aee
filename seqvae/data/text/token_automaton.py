"""Which tokens may follow, so that the whole text matches a regular expression.

Shapes: V tokens, Q states, K classes of tokens that move alike.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.text.byte_dfa import DEAD, ByteDFA, States
from seqvae.data.text.token_bytes import TokenBytes
from seqvae.errors import UserError

START = 0
NEVER = np.iinfo(np.int32).max // 2  # tokens to a text that matches, where there is none
MOST_MOVES = 1 << 28  # in fp32-sized numbers, a gigabyte
_BLOCK = 1 << 22  # moves that are computed at once


@dataclass(frozen=True, eq=False)
class TokenMoves:
    """An automaton over tokens; state 0 is before the first one.

    `moves` (Q, K) is the next state per class of tokens, `DEAD` where no text that matches can follow.
    `classes` (V,) is the class of each token. `distance` (Q,) is the least number of tokens to a text that
    matches, 0 where the text so far does.
    """

    moves: States
    classes: States
    distance: States

    def follow(self, ids: Any) -> int:
        """The state after some tokens."""
        state = START
        for token in ids:
            state = int(self.moves[state, self.classes[token]])
            if state == DEAD:
                break
        return state


@functools.lru_cache(maxsize=8)
def token_moves(dfa: ByteDFA, spelled: TokenBytes, never: tuple[int, ...] = ()) -> TokenMoves:
    """The automaton over tokens of a regular expression: its states are those that whole tokens reach.

    Tokens of `never` are not written.

    Raises:
        UserError: no sequence of tokens matches, or there are too many states.
    """
    first, later = _Table(spelled.first, never), _Table(spelled.later, never)
    rows, number, queue = [first.moves(dfa, np.zeros(1, np.int32))], {}, []  # type: ignore[var-annotated]

    def meet(row: States) -> None:
        for state in np.unique(row[row != DEAD]).tolist():
            if state not in number:
                number[state] = len(queue) + 1  # 0 is the state before the first token
                queue.append(state)

    meet(rows[0])
    done, block = 0, max(1, _BLOCK // max(1, len(spelled.later)))
    while done < len(queue):
        some = np.array(queue[done : done + block], np.int32)
        rows.append(later.moves(dfa, some))
        done += len(some)
        meet(rows[-1])
        if len(queue) * len(spelled.later) > MOST_MOVES:
            raise UserError(
                f"the constraint has over {len(queue):,} states for {len(spelled.later):,} tokens: bound "
                "repetitions by smaller numbers, or use it as a filter (--filter)"
            )
    renumber = np.full(len(dfa.moves) + 1, DEAD, np.int32)  # the last place is that of DEAD
    renumber[queue] = np.arange(1, len(queue) + 1)
    accepting = dfa.accepting[[0, *queue]]
    return _trim(*_group(np.concatenate([renumber[part] for part in rows])), accepting)


def _group(moves: States) -> tuple[States, States]:
    """Moves (Q, V) as those of classes (Q, K), and the class of each token (V,)."""
    columns = np.ascontiguousarray(moves.T)
    known: dict[bytes, int] = {}
    classes = np.array([known.setdefault(column.tobytes(), len(known)) for column in columns], np.int32)
    _, chosen = np.unique(classes, return_index=True)
    return moves[:, chosen], classes


def _trim(moves: States, classes: States, accepting: npt.NDArray[np.bool_]) -> TokenMoves:
    """With distances, and without moves to states from which no text matches."""
    distance = np.where(accepting, 0, NEVER).astype(np.int32)
    while True:
        after = np.where(moves == DEAD, NEVER, distance[moves]).min(1, initial=NEVER) + 1
        nearer = np.minimum(distance, np.minimum(after, NEVER))
        if np.array_equal(nearer, distance):
            break
        distance = nearer.astype(np.int32)
    if distance[START] == NEVER:
        raise UserError(
            "no text of this run's tokens matches the constraint: it needs characters that they do not have"
        )
    dead = (moves != DEAD) & (distance[moves] == NEVER)
    return TokenMoves(np.where(dead, DEAD, moves).astype(np.int32), classes, distance)


class _Table:
    """The bytes of all tokens (V, longest), so that states follow them all at once."""

    def __init__(self, pieces: tuple[bytes | None, ...], never: tuple[int, ...]) -> None:
        lengths = np.array([-1 if piece is None else len(piece) for piece in pieces])
        lengths[list(never)] = -1
        self.silent = lengths < 0
        self.columns: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]] = []
        for place in range(int(lengths.max(initial=0))):
            here = np.flatnonzero(lengths > place)
            values = np.array([pieces[i][place] for i in here], np.uint8)  # type: ignore[index]
            self.columns.append((here, values))

    def moves(self, dfa: ByteDFA, states: States) -> States:
        """(n, V): where each of the states (n,) is after each token."""
        table = np.concatenate([dfa.moves, np.full((1, 256), DEAD, np.int32)])  # DEAD is its last row
        found = np.repeat(states[:, None], len(self.silent), 1)
        for here, values in self.columns:
            found[:, here] = table[found[:, here], values]
        found[:, self.silent] = DEAD
        return found
