"""Training ended while the model was still getting better."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.measures.curve import Curve

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
PASSES = 2.0  # over the training data, below which a decoder may not know its language yet
RISE = 0.02  # of the best validation loss, from which training went wrong rather than ended early


def check(m: Measurements) -> Finding | None:
    """The loss falls to the end or is that of word frequencies, or the decoder lags after few passes."""
    curve, cost = m.curve, m.value("iw_nll") or m.value("distortion")
    if curve is None or cost is None:
        return None
    at_end = curve.best_step >= NEAR_END * curve.last_step
    late = at_end and (_falls(m, curve, cost) or _knows_frequencies_only(m))
    if not late and not _lags_after_few_passes(m, curve):
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
    if (needed := m.needed) is not None:
        known = f"{needed:.1f} under {m.language_model}"
        if m.language is not None:
            known += f", {m.language.by_frequency:.1f} by word frequencies"
        given = Evidence("nats per sentence given its code", m.value("distortion"), known)
        evidence = [given, Evidence("nats per sentence", cost), *evidence]
    return Finding(
        NAME,
        "training ended too early",
        tuple(evidence),
        _lines(m),
        "the validation loss goes on falling until it flattens; judge the code only then",
        compare=("neg_elbo", "iw_nll", "mi_low", "shuffle_gap"),
    )


def _falls(m: Measurements, curve: Curve, cost: float) -> bool:
    """The loss fell in the last quarter, and a sentence costs more than under the language model."""
    if m.needed is None:
        return curve.late_gain > ALONE
    return curve.late_gain > LATE_GAIN and cost > WORSE * m.needed


def _lags_after_few_passes(m: Measurements, curve: Curve) -> bool:
    """After few passes a sentence costs more, given its code, than under a language model.

    The curve need not fall: a learning rate that decays to 0 flattens it after any number of updates.
    """
    distortion = m.value("distortion")
    if m.needed is None or distortion is None or m.epochs >= PASSES or curve.rise >= RISE:
        return False
    return distortion > WORSE * m.needed and _generalises(m)


def _generalises(m: Measurements) -> bool:
    """Training examples cost about as much as held-out ones."""
    return m.train_cost > (1 - GAP) * m.held_cost


def _knows_frequencies_only(m: Measurements) -> bool:
    """Even given its code a sentence costs more than by word frequencies, in training data too."""
    distortion = m.value("distortion")
    if m.language is None or distortion is None:
        return False
    return distortion > m.language.by_frequency and _generalises(m)


def _lines(m: Measurements) -> tuple[str, ...]:
    steps = max(4 * m.steps, 1000)
    rate = m.config.train.lr
    faster = (f"train.lr={1e-3:g}",) if rate < 3e-4 else ()
    every = m.config.train.validate_every
    wider = (f"train.validate_every={max(every, steps // 20)}",) if every else ()
    return (f"train.steps={steps}", "train.epochs=null", "train.decay=cosine", *faster, *wider)
