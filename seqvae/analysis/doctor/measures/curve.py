"""The validation curve of a training, and what its batches cost meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqvae.runs.metrics_log import read_metrics

MIDDLE, LATE = 0.5, 0.75  # of the updates
FEWEST = 3  # logged batches of a quarter, of which a mean is taken
LATEST = 0.6  # of the updates, until which beta settles or counts as never settling


@dataclass(frozen=True)
class Curve:
    """The validation curve after the schedules settled; `values` in nats at `steps`.

    `start` is the value at the first validation of all, `middle` the one in the middle of the training, and
    `late` the one where its last quarter begins. `learned` is the share by which batches of the last quarter
    cost less than those of the second one, KL at full weight; None where too few were logged.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]
    start: float
    middle: float
    late: float
    learned: float | None = None

    @property
    def best(self) -> float:
        """The lowest value."""
        return min(self.values)

    @property
    def best_step(self) -> int:
        """The update of the lowest value."""
        return self.steps[self.values.index(self.best)]

    @property
    def last_step(self) -> int:
        """The update of the last validation."""
        return self.steps[-1]

    @property
    def late_gain(self) -> float:
        """Improvement in the last quarter of the training, as a share of the value that it began with."""
        return _saved(self.late, self.values[-1])

    @property
    def second_half_gain(self) -> float:
        """The same from the middle of the training on."""
        return _saved(self.middle, self.values[-1])

    @property
    def rise(self) -> float:
        """How far the last value lies above the best one, as a share of that."""
        return (self.values[-1] - self.best) / abs(self.best) if self.best else 0.0


def read_curve(path: Path) -> Curve | None:
    """The curve of a run folder; None where fewer than three validations were logged."""
    lines = list(read_metrics(path))
    valid = [line for line in lines if line["kind"] == "valid"]
    key = "neg_elbo" if all(line.get("neg_elbo") is not None for line in valid) else "distortion"
    points = [(line["step"], float(line[key])) for line in valid if line.get(key) is not None]
    if len(points) < 3:
        return None
    begin = settled_step(lines, points[-1][0])
    kept = [point for point in points if point[0] >= begin] or points[-1:]
    steps, values = zip(*kept, strict=True)
    middle, late = (_value_at(points, share) for share in (MIDDLE, LATE))
    return Curve(steps, values, points[0][1], middle, late, _learned(lines, points[-1][0]))


def _value_at(points: Sequence[tuple[int, float]], share: float) -> float:
    """The value at the last validation of the first `share` of the updates."""
    before = [value for step, value in points if step <= share * points[-1][0]]
    return before[-1] if before else points[0][1]


def _saved(before: float, after: float) -> float:
    """By which share of the value before the one after it is lower."""
    return (before - after) / abs(before) if before else 0.0


def _learned(lines: Sequence[dict[str, Any]], last: int) -> float | None:
    """By which share the logged batches of the last quarter cost less than those of the second quarter."""
    costs = [
        (line["step"] / last, line["distortion"] + (line.get("rate") or 0.0))
        for line in lines
        if line["kind"] == "train" and line.get("distortion") is not None
    ]
    quarters = [[cost for at, cost in costs if low < at <= low + 0.25] for low in (0.25, 0.75)]
    if min(map(len, quarters)) < FEWEST:
        return None
    before, after = (sum(quarter) / len(quarter) for quarter in quarters)
    return _saved(before, after)


def settled_step(lines: Sequence[dict[str, Any]], last: int) -> int:
    """The update from which beta had its final value; half of the training where it never stays the same."""
    betas = [(line["step"], line["beta"]) for line in lines if line["kind"] == "train" and "beta" in line]
    if not betas:
        return 0
    moved = [step for step, beta in betas if abs(beta - betas[-1][1]) > 1e-6]
    if not moved:
        return 0
    return moved[-1] + 1 if moved[-1] < LATEST * last else last // 2
