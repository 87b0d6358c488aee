"""Every row of every table on a GPU, in fp32 and bf16: `pytest -m cuda`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from device_checks import check_that_it_goes_on_elsewhere, check_that_it_lives, check_that_losses_are_the_cpus
from device_rows import ALL, Row, row_id

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
rows = pytest.mark.parametrize("row", ALL, ids=row_id)
FEW = [row for row in ALL if row[2] in ("gru", "transformer", "conv", "both directions", "variable rate")]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """No TF32: fp32 is fp32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@rows
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_and_resumes_and_is_measured(row: Row, precision: str, tmp_path: Path) -> None:
    check_that_it_lives(row, "cuda", precision, tmp_path)


@rows
def test_losses_are_those_of_a_cpu(row: Row, tmp_path: Path, record_property: pytest.FixtureRequest) -> None:
    apart = check_that_losses_are_the_cpus(row, "cuda", tmp_path)
    print(f"{row_id(row)}: losses of 50 updates differ by {apart:.1e} at most")  # shown by pytest -rP


@pytest.mark.parametrize("row", FEW, ids=row_id)
def test_it_goes_on_elsewhere(row: Row, tmp_path: Path) -> None:
    check_that_it_goes_on_elsewhere(row, "cuda", tmp_path)
