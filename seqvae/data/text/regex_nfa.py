"""A regular expression, as Python's `re` parses it, as a non-deterministic automaton over bytes."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from seqvae.data.text.char_sets import Node, Ranges, category, complement, ignore_case, merge, utf8_tree
from seqvae.errors import UserError

_PARSER: Any = importlib.import_module("re._parser")  # the parser of `re` itself: one syntax, no other one
MOST_STATES = 200_000
_NEVER = "leave it out, or check texts by a function, python:module.function"
_NOT_REGULAR = {
    "GROUPREF": "a back-reference",
    "GROUPREF_EXISTS": "a condition on a group",
    "ASSERT": "look-around",
    "ASSERT_NOT": "look-around",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repetition",
}
_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_ENDS = {"AT_END", "AT_END_STRING"}
_STARTS = {"AT_BEGINNING", "AT_BEGINNING_STRING"}


@dataclass
class NFA:
    """Edges of each state: by bytes from first to last, or without one; some only at the text's ends."""

    bytes: list[list[tuple[int, int, int]]] = field(default_factory=list)  # first, last, target
    free: list[list[int]] = field(default_factory=list)
    at_start: list[list[int]] = field(default_factory=list)  # before the first byte
    at_end: list[list[int]] = field(default_factory=list)  # after the last byte
    start: int = 0
    end: int = 0

    def new(self) -> int:
        """One more state.

        Raises:
            UserError: there are too many.
        """
        if len(self.bytes) >= MOST_STATES:
            raise UserError(
                f"the regular expression has more than {MOST_STATES:,} parts: bound repetitions by smaller "
                "numbers"
            )
        for table in (self.bytes, self.free, self.at_start, self.at_end):
            table.append([])
        return len(self.bytes) - 1


def parse_regex(pattern: str) -> NFA:
    """The automaton of a pattern that has to match a whole text.

    Raises:
        UserError: no regular expression, or one with parts that are not regular.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of set operations that `re` may have one day
            tree = _PARSER.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{pattern!r} is not a regular expression ({error}): mend it") from None
    builder = _Builder(pattern, NFA())
    builder.nfa.start = builder.nfa.new()
    builder.nfa.end = builder.sequence(tree, builder.nfa.start, tree.state.flags)
    return builder.nfa


class _Builder:
    """Adds the parts of a pattern to an automaton; each method returns the state after its part."""

    def __init__(self, pattern: str, nfa: NFA) -> None:
        self.pattern, self.nfa = pattern, nfa

    def sequence(self, parts: Any, state: int, flags: int) -> int:
        for operator, argument in parts:
            state = self.part(str(operator), argument, state, flags)
        return state

    def part(self, name: str, argument: Any, state: int, flags: int) -> int:
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = argument
            return self.repeat(least, most, inner, state, flags)
        if name == "BRANCH":
            return self.branch(argument[1], state, flags)
        if name == "SUBPATTERN":
            _, added, removed, inner = argument
            return self.sequence(inner, state, (flags | added) & ~removed)
        if name == "AT":
            return self.anchor(str(argument), state, flags)
        if name in _NOT_REGULAR:
            raise UserError(f"{self.pattern!r} holds {_NOT_REGULAR[name]}, which is not regular: {_NEVER}")
        return self.character(self.ranges(name, argument, flags), state)

    def repeat(self, least: int, most: Any, inner: Any, state: int, flags: int) -> int:
        for _ in range(least):
            state = self.sequence(inner, state, flags)
        if most is _PARSER.MAXREPEAT or int(most) >= 1 << 31:
            loop = self.step(state)
            self.nfa.free[self.sequence(inner, loop, flags)].append(loop)
            return self.step(loop)
        ends = [state]
        for _ in range(least, int(most)):
            ends.append(self.sequence(inner, ends[-1], flags))
        after = self.nfa.new()
        for end in ends:
            self.nfa.free[end].append(after)
        return after

    def branch(self, ways: Sequence[Any], state: int, flags: int) -> int:
        ends = [self.sequence(way, self.step(state), flags) for way in ways]
        after = self.nfa.new()
        for end in ends:
            self.nfa.free[end].append(after)
        return after

    def step(self, state: int) -> int:
        """A new state behind this one."""
        after = self.nfa.new()
        self.nfa.free[state].append(after)
        return after

    def anchor(self, name: str, state: int, flags: int) -> int:
        if name not in _ENDS | _STARTS or (flags & re.MULTILINE and name in ("AT_BEGINNING", "AT_END")):
            raise UserError(
                f"{self.pattern!r} holds a word or line boundary, which has no automaton here: {_NEVER}"
            )
        after = self.nfa.new()
        (self.nfa.at_end if name in _ENDS else self.nfa.at_start)[state].append(after)
        return after

    def ranges(self, name: str, argument: Any, flags: int) -> Ranges:
        """The characters of a part that reads one."""
        if name == "ANY":
            return complement(() if flags & re.DOTALL else ((10, 10),))
        if name == "IN":
            negated = any(str(operator) == "NEGATE" for operator, _ in argument)
            items = [self.item(str(op), value, flags) for op, value in argument if str(op) != "NEGATE"]
        else:
            negated, items = name == "NOT_LITERAL", [((argument, argument),)]
        found = merge(r for item in items for r in item)
        found = ignore_case(found) if flags & re.IGNORECASE else found
        return complement(found) if negated else found

    def item(self, name: str, value: Any, flags: int) -> Ranges:
        """The characters of a part of a set in brackets."""
        if name == "CATEGORY":
            _, negation, kind = str(value).rpartition("NOT_")
            kind = kind.removeprefix("CATEGORY_")
            found = category(_CATEGORIES[kind], bool(flags & re.ASCII))
            return complement(found) if negation else found
        return (tuple(value),) if name == "RANGE" else ((value, value),)

    def character(self, ranges: Ranges, state: int) -> int:
        after = self.nfa.new()
        self.tree(utf8_tree(ranges), state, after, {})
        return after

    def tree(self, node: Node, state: int, after: int, known: dict[Node, int]) -> None:
        """The edges of a tree of bytes; equal parts become one state."""
        for first, last, rest in node:
            if rest is None:
                self.nfa.bytes[state].append((first, last, after))
                continue
            if rest not in known:
                known[rest] = self.nfa.new()
                self.tree(rest, known[rest], after, known)
            self.nfa.bytes[state].append((first, last, known[rest]))
