"""Every command that takes a device, and a comparison, on a GPU: `pytest -m cuda`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from device_checks import on
from device_verbs import KINDS, OTHERS, PLOTS, TEXT, make_runs, run_verb

from seqvae.config.loading import dump_config
from seqvae.experiments.compare import Comparison, compare
from seqvae.utils.jobs.scheduler import Slot

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("cuda"), "cuda")


@pytest.mark.parametrize("name", [*TEXT, *OTHERS, *PLOTS])
def test_a_command(name: str, folder: Path) -> None:
    assert not run_verb(folder, "cuda", {**TEXT, **OTHERS, **PLOTS}[name])


def test_a_comparison_in_two_processes(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(dump_config(on(KINDS["text"], "cuda")))
    variants = {"plain": {}, "free": {"remedies": [{"name": "free_bits"}]}}
    made = {"base": str(tmp_path / "base.yaml"), "seeds": [0], "samples": 2, "test_examples": 8}
    found = Comparison.model_validate({**made, "columns": ["neg_elbo"], "variants": variants})
    table = compare(found, tmp_path / "out", where=[Slot("cuda", 1), Slot("cuda", 1)])
    assert table.failed == {}
    assert [row["seeds"] for row in table.rows] == [1, 1]
