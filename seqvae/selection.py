"""Which weights a run keeps, and when it says that its code has collapsed."""

from __future__ import annotations

from typing import Any

from seqvae.checkpoint import Progress
from seqvae.config import TrainConfig
from seqvae.optim import PLATEAU

LOW_RATE = 0.5  # nats


def judge(progress: Progress, metrics: dict[str, Any], settings: TrainConfig, settled: bool) -> str | None:
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


def collapse_warning(metrics: dict[str, Any], dim: int) -> str | None:
    """What to say of a code of `dim` dims that carries nothing; None where all is well."""
    rate, units = metrics.get("rate"), metrics.get("active_units")
    if rate is None or not dim or (rate >= LOW_RATE and units != 0):
        return None
    return (
        f"the code has collapsed: rate {rate:.2f} nats, {units} active units, so the decoder writes "
        "without reading z and all samples look alike. Try the remedies free_bits {nats: 0.25}, "
        "word_dropout {rate: 0.4} or cyclical_annealing, pooling: max in the encoder, or a "
        "constant_beta below 1"
    )
