"""Sets of Unicode characters as code point ranges, and as the bytes of their UTF-8 forms."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

Range = tuple[int, int]  # code points, both ends included
Ranges = tuple[Range, ...]  # sorted and disjoint
LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)  # no UTF-8 text holds them
# code points of one, two, three and four bytes
_BY_LENGTH = ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xFFFF), (0x10000, LAST))
_FIRST_BYTE = (0x00, 0xC0, 0xE0, 0xF0)


def merge(ranges: Iterable[Range]) -> Ranges:
    """Sorted, disjoint ranges of the same code points.

    Example:
        >>> merge([(97, 99), (100, 101), (65, 70), (98, 98)])
        ((65, 70), (97, 101))
    """
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)


def complement(ranges: Ranges) -> Ranges:
    """All other code points, surrogates left out."""
    start, found = 0, []
    for low, high in merge([*ranges, _SURROGATES]):
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    return (*found, (start, LAST)) if start <= LAST else tuple(found)


@functools.cache
def category(escape: str, ascii_only: bool) -> Ranges:
    r"""The characters of `\d`, `\s` or `\w`, as Python's `re` has them."""
    matches = re.finditer(f"{escape}+", _every_character(), re.ASCII if ascii_only else 0)
    # every_character() has no surrogates, so that a position is no code point: ask the characters
    return merge(r for match in matches for r in _runs(match.group()))


def _runs(text: str) -> Iterator[Range]:
    """Ranges of a run of ascending characters, which may jump over the surrogates."""
    low, high = ord(text[0]), ord(text[-1])
    if low < _SURROGATES[0] and high > _SURROGATES[1]:
        yield low, _SURROGATES[0] - 1
        low = _SURROGATES[1] + 1
    yield low, high


@functools.cache
def _every_character() -> str:
    return "".join(chr(c) for c in range(LAST + 1) if not _SURROGATES[0] <= c <= _SURROGATES[1])


def ignore_case(ranges: Ranges) -> Ranges:
    """The characters that differ from some of these by case at most."""
    keys = {_case_key(chr(c)) for low, high in ranges for c in range(low, high + 1)}
    variants = _case_variants()
    others = [(ord(c), ord(c)) for key in keys for c in variants.get(key, ())]
    return merge([*ranges, *others])


def _case_key(character: str) -> str:
    upper = character.upper()
    return (upper if len(upper) == 1 else character).lower()[0]  # that of U+0130 has two characters


@functools.cache
def _case_variants() -> dict[str, list[str]]:
    """The characters of each key that have a case."""
    found: dict[str, list[str]] = {}
    for character in _every_character():
        key = _case_key(character)
        if key != character or character.upper() != character:
            found.setdefault(key, []).append(character)
    return found


Node = tuple[tuple[int, int, "Node | None"], ...]  # (first byte, last byte, what follows; None: the end)


@functools.lru_cache(maxsize=64)
def utf8_tree(ranges: Ranges) -> Node:
    """The UTF-8 forms of the characters: edges from bytes to what follows them, equal parts shared.

    Example:
        >>> utf8_tree(((0x61, 0x7A), (0xE9, 0xE9)))
        ((97, 122, None), (195, 195, ((169, 169, None),)))
    """
    edges: list[tuple[int, int, Node | None]] = []
    for length, (low, high) in enumerate(_BY_LENGTH, 1):
        part = _clip(ranges, low, high)
        if part:
            edges += _tree(part, length, _FIRST_BYTE[length - 1])
    return tuple(edges)


def _clip(ranges: Ranges, low: int, high: int) -> Ranges:
    return tuple((max(a, low), min(b, high)) for a, b in ranges if a <= high and b >= low)


@functools.lru_cache(maxsize=4096)
def _tree(ranges: Ranges, length: int, prefix: int) -> Node:
    """Edges for the last `length` bytes; `prefix` is the part of the first one that says so."""
    if length == 1:
        return tuple((prefix | a, prefix | b, None) for a, b in ranges)
    size = 1 << 6 * (length - 1)  # code points that share the first of these bytes
    edges: list[tuple[int, int, Node | None]] = []
    for lead in sorted({k for a, b in ranges for k in range(a // size, b // size + 1)}):
        inside = _clip(ranges, lead * size, (lead + 1) * size - 1)
        rest = _tree(tuple((a - lead * size, b - lead * size) for a, b in inside), length - 1, 0x80)
        if edges and edges[-1][2] == rest and edges[-1][1] == (prefix | lead) - 1:
            edges[-1] = (edges[-1][0], prefix | lead, rest)
        else:
            edges.append((prefix | lead, prefix | lead, rest))
    return tuple(edges)
