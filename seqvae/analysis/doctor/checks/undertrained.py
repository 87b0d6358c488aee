"""Training ended while the model was still getting better."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements

NAME = "undertrained"
EXPLAINS = frozenset(
    {
        "empty_code",
        "unread_code",
        "holes",
        "poor_samples",
        "narrow_posterior",
        "length_only",
        "rate_too_small",
    }
)
LATE_GAIN = 0.02  # of the validation loss, in the last quarter of the training
ALONE = 0.04  # the same, where no language model says what a sentence should cost
NEAR_END = 0.85  # of the training, after which the best validation came
WORSE = 1.05  # cost over that of the language model


def check(m: Measurements) -> Finding | None:
    """The curve still falls at its end, and sentences cost more than a language model asks."""
    curve = m.curve
    if curve is None or curve.best_step < NEAR_END * curve.last_step:
        return None
    cost, needed = m.value("iw_nll") or m.value("distortion"), m.needed
    if curve.late_gain < (ALONE if needed is None else LATE_GAIN) or (
        needed is not None and cost is not None and cost < WORSE * needed
    ):
        return None
    evidence = [
        Evidence(
            "validation loss saved in the last quarter of the training",
            curve.late_gain,
            f"below {LATE_GAIN:g}",
        ),
        Evidence("updates", m.steps),
        Evidence("passes over the training data", round(m.epochs, 2)),
    ]
    if needed is not None:
        evidence.insert(1, Evidence("nats per sentence", cost, f"{needed:.1f} under {m.language_model}"))
    return Finding(
        NAME,
        "training ended too early",
        tuple(evidence),
        _lines(m),
        "the validation loss goes on falling until it flattens; judge the code only then",
        compare=("neg_elbo", "iw_nll", "mi_low", "shuffle_gap"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    steps = max(4 * m.steps, 1000)
    rate = m.config.train.lr
    faster = (f"train.lr={1e-3:g}",) if rate < 3e-4 else ()
    every = m.config.train.validate_every
    wider = (f"train.validate_every={max(every, steps // 20)}",) if every else ()
    return (f"train.steps={steps}", "train.epochs=null", "train.decay=cosine", *faster, *wider)
