"""Regular expressions as automata over bytes, against Python's own `re` on every short text."""

from __future__ import annotations

import re
from itertools import product

import pytest

from seqvae.data.text.byte_dfa import compile_regex
from seqvae.errors import UserError

ALPHABET = "abé日 $A\n"
TEXTS = ["".join(text) for length in range(4) for text in product(ALPHABET, repeat=length)]
PATTERNS = [
    "", "[ab]*abb", "a{2,3}b?", "a|b(é|日)*", ".*", "(a|b)?(ab)+", "^a|b$", "[^a]+", "a.b", "(?i)AB", "a\\$",
    r"\w+ \w+", "(a|)b*", "a+?b", "[a-c]*", "^$|a", "(?s:.)a", "(?i:É)+", r"\W+", r"[^\w]a?", r"\D\d?",
    "(?x) a b  # c", "(a*)*b", "(?:a?){3}a{3}", r"[\s\S]*b", "(^a|b)*$", r"(?a)\w*",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_automaton_accepts_what_re_matches(pattern: str) -> None:
    dfa, known = compile_regex(pattern), re.compile(pattern)
    wrong = [text for text in TEXTS if dfa.accepts(text) != bool(known.fullmatch(text))]
    assert not wrong


@pytest.mark.parametrize("pattern", [r"\w", r"\s", r"(?a)\w", r"\D", "(?i)[a-zé]", "(?i)ſ", "(?i)[^k]", "."])
def test_characters_of_every_length_in_bytes(pattern: str) -> None:
    dfa, known = compile_regex(pattern), re.compile(pattern)
    points = [
        *range(0x3000),
        *range(0xD700, 0xD800),
        *range(0xE000, 0xE100),
        *range(0xFF00, 0x10400),
        0x10FFFF,
    ]
    wrong = [c for c in map(chr, points) if dfa.accepts(c) != bool(known.fullmatch(c))]
    assert not wrong


def test_long_repetitions_have_small_automata() -> None:
    assert len(compile_regex("([A-Za-z]{1,12} ){0,12}[a-z]+").moves) == 303


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "is not a regular expression"),
        ("a(?=b)", "holds look-around, which is not regular"),
        (r"(a)\1", "holds a back-reference"),
        (r"\bfoo\b", "holds a word or line boundary"),
        ("(?m)^a$", "holds a word or line boundary"),
        ("a++b", "holds a possessive repetition"),
        ("a^b", "no text matches"),
        ("[01]*1[01]{22}", "has more than 20,000 states"),
        ("(a{1000}){1000}", "has more than 200,000 parts"),
    ],
)
def test_what_has_no_automaton(pattern: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as stop:
        compile_regex(pattern)
    assert "\n" not in str(stop.value)
