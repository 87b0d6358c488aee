"""Freed memory is reused inside and released outside; missing memory is one line."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest
import torch
from tiny import assert_same_runs, config, tiny_run

from seqvae.cli import main
from seqvae.errors import LocalError
from seqvae.training.loop import resume, train
from seqvae.training.trainer import Trainer
from seqvae.utils.atomic_files import list_checkpoints
from seqvae.utils.malloc import memory_errors, missing_memory, retain_freed_memory

NUMBERS = 1 << 24  # 64 MB, above what glibc keeps by itself


def faults(times: int = 12) -> int:
    """Pages that the system had to find while as much was asked for, filled and freed again and again."""
    for _ in range(times):  # until the heap has room for it
        torch.ones(NUMBERS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(NUMBERS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_is_used_again_inside() -> None:
    outside = faults()
    with retain_freed_memory() as known:
        if not known:
            pytest.skip("another C library")
        inside = faults()
    assert inside < max(100, outside / 10)


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(ValueError, match="mine"), retain_freed_memory():
        raise ValueError("mine")


ON_GPU = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.80 GiB of which 1.20 "
    "GiB is free. Of the allocated memory 130.11 GiB is allocated by PyTorch"
)
ON_CPU = (
    "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
    "allocate 8000000000000 bytes. Error code 12 (Cannot allocate memory)"
)
LOWER = "in a new run lower train.batch_size or data.max_tokens, raise train.accumulate or use"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError(ON_GPU), "out of memory on the GPU (2.00 GiB were asked for)"),
        (RuntimeError("CUDA error: out of memory"), "out of memory on the GPU"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out of memory on the GPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of memory on the GPU"),
        (RuntimeError(ON_CPU), "out of memory on the host (8000000000000 bytes were asked for)"),
        (MemoryError("Unable to allocate 7.28 TiB for an array with shape (1000000000000,)"),
         "out of memory on the host (7.28 TiB were asked for)"),
        (MemoryError(), "out of memory on the host"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValueError("out of memory"), None),
    ],
)  # fmt: skip
def test_errors_about_memory_are_known_by_what_they_say(error: Exception, expected: str | None) -> None:
    assert missing_memory(error) == expected


def test_a_real_allocation_that_fails_is_known() -> None:
    with (
        pytest.raises(
            LocalError, match=r"^out of memory on the host \(\d+ bytes were asked for\): take less$"
        ),
        memory_errors(lambda: "take less"),
    ):
        torch.empty(1 << 58)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^mine$"), memory_errors(lambda: "take less"):
        raise RuntimeError("mine")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(ON_GPU), RuntimeError(ON_CPU)])
@pytest.mark.parametrize("failing", [2, 25])
def test_training_without_memory_costs_no_checkpoint(
    error: Exception, failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = Trainer.update, tmp_path / "run"

    def update(trainer: Trainer) -> None:
        if trainer.progress.step == failing:
            raise error
        whole(trainer)

    monkeypatch.setattr(Trainer, "update", update)
    with pytest.raises(LocalError) as told:
        train(config(), run)
    monkeypatch.undo()
    assert str(told.value).startswith("out of memory on the ")
    assert LOWER in str(told.value)
    assert "\n" not in str(told.value)
    if failing == 2:
        assert "no checkpoint was written yet" in str(told.value)
        return
    assert f"the last good checkpoint is {run / 'checkpoints' / 'step-20'}; " in str(told.value)
    assert [folder.name for folder in list_checkpoints(run)] == ["step-20"]
    resume(run)
    assert_same_runs(run, train(config(), tmp_path / "straight"))


def test_a_command_without_memory_says_so_in_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tiny_run(tmp_path_factory)

    def evaluate(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError(ON_GPU)

    monkeypatch.setattr("seqvae.inference.pretrained.evaluate", evaluate)
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(run), "--device", "cpu"])
    heard = capsys.readouterr()
    assert (end.value.code, heard.out) == (2, "")
    assert heard.err.splitlines() == [
        "seqvae: out of memory on the GPU (2.00 GiB were asked for): ask for less at once (--samples, "
        "--examples, -n), where the command has it use --precision bf16, or compute with --device cpu"
    ]
