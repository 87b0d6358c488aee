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
GAP = 0.1  # of the held-out cost, by which training examples are cheaper at most


def check(m: Measurements) -> Finding | None:
    """The best validation is at the end, and the loss still falls or is that of word frequencies."""
    curve, needed = m.curve, m.needed
    cost = m.value("iw_nll") or m.value("distortion")
    if curve is None or cost is None or curve.best_step < NEAR_END * curve.last_step:
        return None
    falls = curve.late_gain > (ALONE if needed is None else LATE_GAIN)
    falls = falls and (needed is None or cost > WORSE * needed)
    if not falls and not _knows_frequencies_only(m):
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
        known = f"{needed:.1f} under {m.language_model}"
        if m.language is not None:
            known += f", {m.language.by_frequency:.1f} by word frequencies"
        evidence.insert(0, Evidence("nats per sentence", cost, known))
    return Finding(
        NAME,
        "training ended too early",
        tuple(evidence),
        _lines(m),
        "the validation loss goes on falling until it flattens; judge the code only then",
        compare=("neg_elbo", "iw_nll", "mi_low", "shuffle_gap"),
    )


def _knows_frequencies_only(m: Measurements) -> bool:
    """Even given its code a sentence costs more than by word frequencies, in training data too."""
    distortion = m.value("distortion")
    if m.language is None or distortion is None:
        return False
    return distortion > m.language.by_frequency and m.train_cost > (1 - GAP) * m.held_cost


def _lines(m: Measurements) -> tuple[str, ...]:
    steps = max(4 * m.steps, 1000)
    rate = m.config.train.lr
    faster = (f"train.lr={1e-3:g}",) if rate < 3e-4 else ()
    every = m.config.train.validate_every
    wider = (f"train.validate_every={max(every, steps // 20)}",) if every else ()
    return (f"train.steps={steps}", "train.epochs=null", "train.decay=cosine", *faster, *wider)
