"""Checkpoint selection by a validation metric, and detection of posterior collapse."""

from __future__ import annotations

import math
from typing import Any

from seqvae.config.schema import TrainConfig
from seqvae.runs.checkpoint import TrainState
from seqvae.training.optim import PLATEAU

LOW_RATE = 0.5  # nats
LOW_MI = 0.5  # nats of I(x; z), or this fraction of its maximum ln N if that is below 1
MI_EXAMPLES = 500  # validation examples over which MI is estimated


def select_checkpoint(
    progress: TrainState, metrics: dict[str, Any], settings: TrainConfig, settled: bool
) -> str | None:
    """The reason to keep the weights of this validation, or None; updates the best value in `progress`.

    Before the schedules have settled, the latest weights are kept and none counts as best: plain -ELBO would
    select the collapsed start of training.
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
    """Whether a code of `dim` dims carries no information about its example.

    True for a rate below `LOW_RATE`, no active unit, or a mutual information below `LOW_MI`. The rate alone
    does not suffice: a code may cost nats and be the same for all examples.
    """
    rate, units = metrics.get("rate"), metrics.get("active_units")
    if rate is None or dim == 0:
        return False
    return bool(rate < LOW_RATE or units == 0 or _has_low_mi(metrics))


def _has_low_mi(metrics: dict[str, Any]) -> bool:
    mi, n = metrics.get("mi_low"), metrics.get("mi_n", 0)
    return mi is not None and n > 1 and mi < LOW_MI * min(1.0, math.log(n))


def collapse_message(
    progress: TrainState, metrics: dict[str, Any], dim: int, remedies: str, cause: str | None = None
) -> str | None:
    """The message when a code of `dim` dims collapses or recovers; None while nothing changes.

    `progress` holds the last state, also over a resume; `remedies` is what to try, `cause` the reason in the
    data why no code can carry information, if one is known.
    """
    before, progress.collapsed = progress.collapsed, is_collapsed(metrics, dim)
    if progress.collapsed == before:
        return None
    found = f"rate {metrics['rate']:.2f} nats, {metrics['active_units']} active units"
    if metrics.get("mi_low") is not None:
        found += f", MI {metrics['mi_low']:.2f} nats"
    if before:
        return f"the code is no longer collapsed: {found}"
    if cause is not None:
        return f"the code carries nothing ({found}), as {cause}"
    if metrics["rate"] >= LOW_RATE and metrics["active_units"] and _has_low_mi(metrics):
        return f"the code has collapsed: {found}, so it is almost the same for all examples. Try {remedies}"
    return (
        f"the code has collapsed: {found}, so the decoder does not read z and all samples look alike. "
        f"Try {remedies}"
    )
