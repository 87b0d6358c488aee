"""Sums of codes: how they are written, and what they come to where the code is exact."""

from __future__ import annotations

from typing import Any

import pytest
from grammar_code import GrammarVAE

from seqvae.analysis.grammar_arithmetic import benchmark_arithmetic
from seqvae.errors import UserError
from seqvae.inference.arithmetic import calculate, parse_expression

GRAMMAR: Any = GrammarVAE()


def test_expressions() -> None:
    assert parse_expression("a b . - c d . + e") == [(1, "a b ."), (-1, "c d ."), (1, "e")]
    assert parse_expression('"a - b" - 0.5 * c') == [(1, "a - b"), (-0.5, "c")]
    assert parse_expression("well-known + 2*x") == [(1, "well-known"), (2, "x")]
    with pytest.raises(UserError, match="adds and subtracts nothing"):
        parse_expression("a b c")
    with pytest.raises(UserError, match="holds no sentence"):
        parse_expression('a - ""')


def test_a_known_sum() -> None:
    a = "the old dog sees a ball in the park ."
    b, c = "a young cat found an egg by the sea .", "some young cats found an egg by the sea ."
    assert calculate(GRAMMAR, f"{a} - {b} + {c}") == "the old dogs see a ball in the park ."


def test_the_benchmark_is_perfect_for_minimal_pairs_of_an_exact_code() -> None:
    done: list[int] = []
    rows = benchmark_arithmetic(GRAMMAR, 12, 2, lambda n, total, what: done.append(n))
    assert done == list(range(1, 13))
    whole = {row["method"]: row for row in rows if row["attribute"] == "all"}
    assert whole["minimal pair"]["exact"] == whole["minimal pair"]["success"] == 1
    assert whole["copy"]["success"] == 0
    assert whole["copy"]["lost"] == 0
    assert whole["two sentences"]["exact"] < 1  # all else in which b and c differ comes along
    assert len(rows) == 3 * 7
