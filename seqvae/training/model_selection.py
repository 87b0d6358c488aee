"""Which weights a run keeps, and when it says that its code has collapsed."""

from __future__ import annotations

import math
from typing import Any

from seqvae.config.schema import TrainConfig
from seqvae.runs.checkpoint import TrainState
from seqvae.training.optim import PLATEAU

LOW_RATE = 0.5  # nats
LOW_MI = 0.5  # nats that a code tells of its example, or this share of the ln N that it could
MI_EXAMPLES = 500  # validation examples among which that is told


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
    """Whether a code of `dim` dims carries nothing of its example.

    Less than `LOW_RATE` nats, no active unit, or a mutual information below `LOW_MI`: a code may cost nats
    that are the same for all examples.
    """
    rate, units = metrics.get("rate"), metrics.get("active_units")
    if rate is None or dim == 0:
        return False
    return bool(rate < LOW_RATE or units == 0 or _tells_nothing(metrics))


def _tells_nothing(metrics: dict[str, Any]) -> bool:
    mi, n = metrics.get("mi_low"), metrics.get("mi_n", 0)
    return mi is not None and n > 1 and mi < LOW_MI * min(1.0, math.log(n))


def collapse_message(
    progress: TrainState, metrics: dict[str, Any], dim: int, cures: str, cause: str | None = None
) -> str | None:
    """What to say when a code of `dim` dims begins or ceases to carry nothing; None while that stays so.

    `progress` remembers which it was, over a stop of the run too; `cures` is what to try, `cause` what in the
    data keeps any code from carrying something, where that is known.
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
    if metrics["rate"] >= LOW_RATE and metrics["active_units"] and _tells_nothing(metrics):
        return (
            f"the code has collapsed: {found}, so what it costs is the same for all examples and tells them "
            f"not apart. Try {cures}"
        )
    return (
        f"the code has collapsed: {found}, so the decoder does not read z and all samples look alike. "
        f"Try {cures}"
    )
