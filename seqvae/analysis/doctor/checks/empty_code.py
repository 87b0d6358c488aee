"""z is empty: the posterior is the same for all examples."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.prescriptions import (
    RATE,
    annealed_floor,
    gaussian_line,
    pooling_line,
    remedies_line,
    remedy,
)

NAME = "empty_code"
EXPLAINS = frozenset(
    {"rate_too_small", "unread_code", "holes", "narrow_posterior", "poor_samples", "length_only"}
)
LOW_MI, LOW_RATE, LOW_GAP = 0.5, 0.5, 0.5  # nats


def check(m: Measurements) -> Finding | None:
    """The mutual information is below half a nat, and so is the rate or the loss by a wrong code."""
    mi, gap, rate = m.value("mi_low"), m.value("shuffle_gap"), m.value("rate")
    if not m.dim or mi is None or gap is None or mi >= LOW_MI:
        return None
    if gap >= LOW_GAP and (rate is None or rate >= LOW_RATE):
        return None
    return Finding(
        NAME,
        "the code is empty: it carries nothing of its example",
        (
            Evidence("mutual information in nats", mi, f"above {LOW_MI:g}"),
            Evidence("nats lost with the code of another example", gap, f"above {LOW_GAP:g}"),
            Evidence("rate in nats", rate, f"above {LOW_RATE:g}"),
            Evidence("active units", m.value("active_units")),
        ),
        _lines(m),
        "rate and mutual information rise to some nats, and a wrong code costs nats",
        compare=("rate", "mi_low", "shuffle_gap", "active_units", "neg_elbo"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    """Free bits of 8 nats in all under a slow start of beta, and an encoder that reads the whole sentence."""
    plus = annealed_floor(8, m.dim)
    if m.config.modality == "text" and remedy(m.config, "word_dropout") is None:
        plus.append({"name": "word_dropout", "rate": 0.2})
    remedies = remedies_line(m.config, RATE, plus)
    return (remedies, *pooling_line(m.config), *gaussian_line(m.config, m.dim))
