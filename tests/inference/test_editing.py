"""Edits of the fewest words, on a code whose right answers are known."""

from __future__ import annotations

from typing import Any

import pytest
from grammar_code import GrammarVAE

from seqvae.analysis.grammar_edits import (
    EditBenchmark,
    benchmark_edits,
    draw_labelled,
    judge_edit,
    minimal_edit,
    summarise,
)
from seqvae.data.synthetic.sentences import NAMES, factors_of
from seqvae.errors import UserError
from seqvae.inference.editing import (
    blank_changes,
    edit_minimally,
    find_direction,
    revert_changes,
    word_changes,
)

GRAMMAR: Any = GrammarVAE()


@pytest.mark.parametrize("attribute", ["number", "question", "tense"])
def test_every_edit_is_the_minimal_one_where_the_code_is_exact(attribute: str) -> None:
    groups = [[t for t, _ in draw_labelled("train", attribute, v, 60, 0)] for v in (1, 0)]
    held = draw_labelled("test", attribute, 0, 10, 0)
    direction = find_direction(GRAMMAR, *groups)
    assert direction.accuracy == 1
    found = edit_minimally(GRAMMAR, [text for text, _ in held], direction)
    for edit, (text, labels) in zip(found, held, strict=True):
        assert edit.edited == minimal_edit(labels, attribute, 1)
        assert edit.reached
        assert edit.changed == word_changes(text, edit.edited) > 0


def test_an_edit_that_is_out_of_reach_says_so() -> None:
    groups = [[t for t, _ in draw_labelled("train", "number", v, 30, 0)] for v in (1, 0)]
    direction = find_direction(GRAMMAR, *groups)
    found = edit_minimally(GRAMMAR, ["nothing of the grammar"], direction)[0]
    assert found.changed == word_changes(found.text, found.edited)
    assert found.reached == (found.score >= 0.15)


def test_changes_undone_and_found_anew() -> None:
    assert list(revert_changes([1, 2, 3], [1, 9, 3])) == []  # it is the only one
    assert list(revert_changes([1, 2, 3, 4], [9, 2, 8, 4])) == [[1, 2, 8, 4], [9, 2, 3, 4]]
    assert list(revert_changes([1, 2, 3], [0, 1, 2])) == [[1, 2], [0, 1, 2, 3]]
    assert list(blank_changes([1, 2, 3], [9, 2, 8, 7])) == [[-1, 2, 8, 7], [9, 2, -1, 7], [9, 2, 8, -1]]
    assert list(blank_changes([1, 2], [1, 2])) == []
    assert word_changes("a b c", "a c d e") == 3


def test_judgements_of_edits() -> None:
    labels = factors_of("the old dog sees a ball in the park .")
    assert labels is not None
    right = judge_edit(labels, "number", 1, "the old dogs see a ball in the park .")
    assert (right.success, right.exact, right.lost, right.drift) == (True, True, 0, 0)
    drifted = judge_edit(labels, "number", 1, "the old cats see an egg in the park .")
    assert (drifted.success, drifted.exact) == (True, False)
    assert drifted.drift == pytest.approx(3 / 10)  # cats, an, egg
    assert drifted.lost == pytest.approx(2 / 8)  # a, ball: dog and sees are to change
    broken = judge_edit(labels, "number", 1, "the old dogs sees a ball in the park .")
    assert (broken.success, broken.lost) == (False, 0)


def test_the_benchmark_is_perfect_on_an_exact_code() -> None:
    rows = benchmark_edits(GRAMMAR, EditBenchmark(examples=12, group=40, strengths=(1.0,), seeds=2))
    assert len(rows) == 2 * 2 * 6
    by_method = {row["method"]: row for row in summarise(rows)}
    assert by_method["search"]["exact"] == 1
    assert by_method["search"]["success"] == 1
    assert by_method["search"]["lost"] == 0
    assert by_method["search"]["seeds"] == 2
    assert by_method["arithmetic 1"]["success"] <= 1


def test_the_benchmark_needs_the_grammar() -> None:
    other = GrammarVAE()
    other.embedded_factors = ()  # type: ignore[misc]
    with pytest.raises(UserError, match="not trained on the embedded sentences"):
        benchmark_edits(other)  # type: ignore[arg-type]
    assert "number" in NAMES
