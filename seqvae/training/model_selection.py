"""Which weights a run keeps, and when it says that its code has collapsed."""

from __future__ import annotations

from typing import Any

from seqvae.config.schema import TrainConfig
from seqvae.runs.checkpoint import TrainState
from seqvae.training.optim import PLATEAU

LOW_RATE = 0.5  # nats


def select_checkpoint(
    progress: TrainState, metrics: dict[str, Any], settings: TrainConfig, settled: bool
) -> str | None:
    """Why the weights of this validation are kept, or None; `progress` remembers the best.

    Before the schedules have settled the last ones are kept and none is the best: a plain -ELBO would
    choose the collapsed start.
    """
    if settings.select == "last":
        return "the last validated"
    if not settled:
        return "schedules have not settled yet"
    name = settings.select if settings.select in metrics else "distortion"
    value = metrics[name]
    if progress.best is None or value < progress.best:
        progress.best, progress.best_step, progress.worse = value, progress.step, 0
        return f"lowest validation {name}: {value:.3f}"
    progress.worse += 1
    if settings.decay == "plateau":
        progress.lr_factor *= PLATEAU
    return None


def is_collapsed(metrics: dict[str, Any], dim: int) -> bool:
    """Whether a code of `dim` dims carries nothing: less than `LOW_RATE` nats, or no active unit."""
    rate, units = metrics.get("rate"), metrics.get("active_units")
    return rate is not None and dim > 0 and (rate < LOW_RATE or units == 0)


def collapse_message(progress: TrainState, metrics: dict[str, Any], dim: int, cures: str) -> str | None:
    """What to say when a code of `dim` dims begins or ceases to carry nothing; None while that stays so.

    `progress` remembers which it was, over a stop of the run too; `cures` is what to try.
    """
    before, progress.collapsed = progress.collapsed, is_collapsed(metrics, dim)
    if progress.collapsed == before:
        return None
    found = f"rate {metrics['rate']:.2f} nats, {metrics['active_units']} active units"
    if before:
        return f"the code is no longer collapsed: {found}"
    return (
        f"the code has collapsed: {found}, so the decoder does not read z and all samples look alike. "
        f"Try {cures}"
    )
