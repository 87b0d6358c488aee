"""The CUDA tests on the pretended device: a few rows, and all with `-m long`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from device_checks import (
    assert_unstable_are_remedies,
    check_that_it_goes_on_elsewhere,
    check_that_it_lives,
    check_that_losses_are_the_cpus,
)
from device_rows import ALL, Row, row_id
from pretend_cuda import pretended_cuda

SOME = {
    ("text", "encoder", "gru"),
    ("text", "objective", "semi_supervised"),
    ("text", "remedy", "attribute_regularization"),
    ("text", "variant", "both directions"),
    ("image", "decoder", "conv"),
    ("image", "prior", "vamp"),
    ("image", "remedy", "learned_similarity"),
}
rows = pytest.mark.parametrize(
    "row", [pytest.param(row, marks=() if row in SOME else pytest.mark.long, id=row_id(row)) for row in ALL]
)
few = pytest.mark.parametrize("row", [("text", "encoder", "gru"), ("image", "decoder", "conv")], ids=row_id)


@pytest.fixture(autouse=True)
def _pretended() -> Iterator[None]:
    """There is a CUDA device, it seems."""
    with pretended_cuda():
        yield


@rows
def test_it_trains_and_resumes_and_is_measured(row: Row, tmp_path: Path) -> None:
    check_that_it_lives(row, "cuda", "fp32", tmp_path)


@few
def test_it_trains_in_bf16(row: Row, tmp_path: Path) -> None:
    check_that_it_lives(row, "cuda", "bf16", tmp_path)


@few
def test_losses_are_those_of_a_cpu(row: Row, tmp_path: Path) -> None:
    check_that_losses_are_the_cpus(row, "cuda", tmp_path, steps=6)


@few
def test_it_goes_on_elsewhere(row: Row, tmp_path: Path) -> None:
    check_that_it_goes_on_elsewhere(row, "cuda", tmp_path)


def test_rows_are_those_of_the_tables() -> None:
    assert set(ALL) >= SOME
    assert_unstable_are_remedies()
