"""The log of a training: metrics.jsonl, TensorBoard, and the running sums between logged lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqvae.distributed.collectives import is_main
from seqvae.errors import UserError
from seqvae.utils.atomic_files import explain_disk_errors, write_atomically


@dataclass
class Meter:
    """Sums since the last logged line, kept on the device so that the loop need not wait for them."""

    total: Tensor | None = None
    updates: int = 0
    units: int = 0  # predicted tokens, or pictures
    began: float = 0.0

    def add(self, values: Tensor, units: int) -> None:
        """Add the numbers of one update."""
        self.total = values if self.total is None else self.total + values
        self.updates, self.units = self.updates + 1, self.units + units

    def state(self) -> dict[str, Any]:
        """The sums as plain values (a Python float holds every fp32 exactly)."""
        total = None if self.total is None else self.total.tolist()
        return {"total": total, "updates": self.updates, "units": self.units}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what `state` returned."""
        total = state.get("total")
        self.total = None if total is None else torch.tensor(total, device=device)
        self.updates, self.units = state.get("updates", 0), state.get("units", 0)

    def means(self, names: list[str], unit: str) -> dict[str, float]:
        """Return means per update and units per second since the last call, and reset."""
        assert self.total is not None
        values = dict(zip(names, (self.total / self.updates).tolist(), strict=True))
        values[f"{unit}_per_s"] = self.units / max(1e-9, time.monotonic() - self.began)
        self.total, self.updates, self.units, self.began = None, 0, 0, time.monotonic()
        return values


class RunLog:
    """Writer of metrics.jsonl and, if `tensorboard`, of TensorBoard's files; only rank 0 writes.

    Raises:
        UserError: `tensorboard` and it is not installed; raised before any work is done.
    """

    def __init__(self, path: Path, tensorboard: bool) -> None:
        self.path = path
        self.writer: Any = None
        self.make_writer = _summary_writer() if tensorboard else None

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Write one line; `kind` is train or valid."""
        if not is_main():
            return
        append_metrics(self.path, {"kind": kind, "step": step, **values})
        if self.writer is None:
            return
        for name, value in values.items():
            if isinstance(value, int | float):
                self.writer.add_scalar(f"{kind}/{name}", value, step)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Context in which TensorBoard is written too; its buffer is flushed at the end."""
        if self.make_writer is None or not is_main():
            yield
            return
        self.writer = self.make_writer(str(self.path / "tensorboard"))
        try:
            yield
        finally:
            self.writer.close()


def append_metrics(path: Path, line: dict[str, Any]) -> None:
    """Append one line to metrics.jsonl."""
    with explain_disk_errors(path), (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl; half-written or damaged lines are skipped."""
    file = path / "metrics.jsonl"
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict) and isinstance(found.get("step"), int) and "kind" in found:
                yield found


def forget_metrics_after(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run will repeat."""
    kept = [json.dumps(m) + "\n" for m in read_metrics(path) if m["step"] <= step]
    with explain_disk_errors(path):
        write_atomically(path / "metrics.jsonl", lambda p: p.write_text("".join(kept), encoding="utf-8"))


def _summary_writer() -> Any:
    """Import TensorBoard's `SummaryWriter`.

    Raises:
        UserError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "train.tensorboard needs the package tensorboard: `pip install tensorboard`, or set it to false"
        ) from None
    return SummaryWriter
