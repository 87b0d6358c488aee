"""The code costs more nats than a sentence has."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.measures.rates import requested_rate
from seqvae.analysis.doctor.prescriptions import (
    BETA,
    FLOORS,
    TARGETS,
    annealed_floor,
    gaussian_line,
    remedies_line,
)

NAME = "rate_too_large"
EXPLAINS = frozenset({"narrow_posterior", "holes", "poor_samples"})
TIMES = 1.2  # the nats of a sentence
COST = 1.2  # -ELBO over the nats of a sentence
WANTED = 0.8  # of the nats of a sentence, which reconstruct nearly all of it
UNUSED = 0.2  # the nats that the median sentence needs, as a share of the highest rate of a range


def check(m: Measurements) -> Finding | None:
    """Rate and -ELBO exceed the nats of a sentence, or most of a range of rates does."""
    if m.rates is not None:
        return _check_range(m)
    needed, rate, cost = m.needed, m.value("rate"), m.value("neg_elbo")
    if needed is None or rate is None or cost is None or rate < TIMES * needed or cost < COST * needed:
        return None
    width = (
        ()
        if m.width is None
        else (
            Evidence("nats of distortion per nat of rate saved by wider posteriors", m.width.price, "near 1"),
        )
    )
    return Finding(
        NAME,
        "the code costs more nats than a sentence has",
        (
            Evidence("rate in nats", rate, f"a sentence has {needed:.3g} under {m.language_model}"),
            Evidence("-ELBO in nats", cost, f"{needed:.3g} without any code"),
            *width,
            Evidence("distortion in nats", m.value("distortion")),
        ),
        _lines(m, round(WANTED * needed)),
        "reconstructions stay, -ELBO falls by the nats that were paid for nothing, and codes come closer",
        compare=("rate", "neg_elbo", "distortion", "token_accuracy", "ess"),
    )


def _lines(m: Measurements, wanted: int) -> tuple[str, ...]:
    """The wanted rate, where the config names one; else free bits of it."""
    held = requested_rate(m.config)
    if held is not None and held.nats is not None:
        return (held.key.format(wanted),)
    plus = annealed_floor(wanted, m.dim)
    return (remedies_line(m.config, BETA | FLOORS | TARGETS, plus), *gaussian_line(m.config, m.dim))


def _check_range(m: Measurements) -> Finding | None:
    rates, needed = m.rates, m.needed
    if rates is None or needed is None or rates.median is None or rates.lost > 0.5:
        return None
    if rates.median > UNUSED * rates.high or rates.high < 2 * TIMES * needed:
        return None
    return Finding(
        NAME,
        "most of the range of rates lies above what a sentence has",
        (
            Evidence("nats that reconstruct the median sentence", rates.median),
            Evidence("highest rate in nats", rates.high, f"a sentence has {needed:.3g}"),
        ),
        (f"latent.nats=[{rates.low:g}, {max(round(TIMES * needed), round(2 * rates.low))}]",),
        "training spends its updates on rates that are used",
        compare=("rate", "iw_nll", "token_accuracy"),
    )
