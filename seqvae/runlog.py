"""What a run writes down while it trains: metrics.jsonl, TensorBoard, and the sums in between."""

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

from seqvae.disk import disk_errors, write_atomically
from seqvae.distributed import is_main
from seqvae.registry import UserError


@dataclass
class Meter:
    """Sums since the last logged line, kept on the device so that the loop need not wait for them."""

    total: Tensor | None = None
    updates: int = 0
    units: int = 0  # predicted tokens, or pictures
    began: float = 0.0

    def add(self, values: Tensor, units: int) -> None:
        """One update's numbers."""
        self.total = values if self.total is None else self.total + values
        self.updates, self.units = self.updates + 1, self.units + units

    def state(self) -> dict[str, Any]:
        """What was added, as plain values; fp32 sums survive them exactly."""
        total = None if self.total is None else self.total.tolist()
        return {"total": total, "updates": self.updates, "units": self.units}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up what `state` gave."""
        total = state.get("total")
        self.total = None if total is None else torch.tensor(total, device=device)
        self.updates, self.units = state.get("updates", 0), state.get("units", 0)

    def means(self, names: list[str], unit: str) -> dict[str, float]:
        """What was added, as means an update, and units a second; then start afresh."""
        assert self.total is not None
        values = dict(zip(names, (self.total / self.updates).tolist(), strict=True))
        values[f"{unit}_per_s"] = self.units / max(1e-9, time.monotonic() - self.began)
        self.total, self.updates, self.units, self.began = None, 0, 0, time.monotonic()
        return values


class RunLog:
    """metrics.jsonl, and TensorBoard's files where they are asked for; the first process alone writes.

    Raises:
        UserError: TensorBoard is asked for and not installed; said before any work is done.
    """

    def __init__(self, path: Path, tensorboard: bool) -> None:
        self.path = path
        self.writer: Any = None
        self.make_writer = _summary_writer() if tensorboard else None

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """One line, `kind` is train or valid."""
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
        """While open TensorBoard is written too; what it holds back is written at the end."""
        if self.make_writer is None or not is_main():
            yield
            return
        self.writer = self.make_writer(str(self.path / "tensorboard"))
        try:
            yield
        finally:
            self.writer.close()


def append_metrics(path: Path, line: dict[str, Any]) -> None:
    """One line more in metrics.jsonl."""
    with disk_errors(path), (path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics.jsonl; a half-written or damaged one is passed over."""
    file = path / "metrics.jsonl"
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict) and isinstance(found.get("step"), int) and "kind" in found:
                yield found


def forget_metrics_after(path: Path, step: int) -> None:
    """Drop lines of steps that a resumed run will take again."""
    kept = [json.dumps(m) + "\n" for m in read_metrics(path) if m["step"] <= step]
    with disk_errors(path):
        write_atomically(path / "metrics.jsonl", lambda p: p.write_text("".join(kept), encoding="utf-8"))


def _summary_writer() -> Any:
    """TensorBoard's class.

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
