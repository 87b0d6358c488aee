"""The prior draws codes that no example is encoded to."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.prescriptions import (
    BETA,
    FLOORS,
    TARGETS,
    annealed_floor,
    gaussian_line,
    remedies_line,
)

NAME = "holes"
EXPLAINS = frozenset({"poor_samples"})
SHARE = 0.4  # of the prior draws that fall below the density of 99 % of the held-out codes
TEXT_GAP = 0.1  # nats per token by which texts of prior draws are worse than those of held-out codes
TEXT_SHARE = 0.5  # of the nats by which they are worse than the language model's samples
LOST_SHARE = 0.4  # of the rate, that goes into moving all codes away from the prior


def check(m: Measurements) -> Finding | None:
    """Most prior draws are outliers among the codes, and what is decoded from them suffers."""
    if m.holes is None or m.holes.share < SHARE or not _samples_suffer(m):
        return None
    evidence = [
        Evidence("share of prior draws where no held-out code lies", m.holes.share, f"below {SHARE:g}")
    ]
    if m.language is not None and m.language.prior_text is not None:
        held = f"{m.language.code_text:.3g} of those decoded from held-out codes"
        evidence.append(
            Evidence("nats per token of texts decoded from prior draws", m.language.prior_text, held)
        )
    if (units := m.value("consistent_units")) is not None:
        evidence.append(Evidence("dims that fill the prior", units, f"all {m.dim}"))
    evidence.append(Evidence("rate in nats", m.value("rate")))
    evidence.append(Evidence("mutual information in nats", m.value("mi_low")))
    return Finding(
        NAME,
        "the prior draws codes that no example has",
        tuple(evidence),
        _lines(m),
        "samples of the prior read like decoded examples; -ELBO falls by the nats between codes and prior",
        advice="without a new training: `seqvae fit-prior RUN` fits a prior to the codes, and "
        "`seqvae sample RUN --prior NAME` draws from it",
        compare=("rate", "mi_low", "consistent_units", "distinct_samples", "neg_elbo"),
    )


def _samples_suffer(m: Measurements) -> bool:
    """Texts of prior draws are worse than those of held-out codes, and mostly for that reason."""
    language = m.language
    if language is None or language.prior_text is None or language.code_text is None:
        return _rate_lost(m)
    worse = language.prior_text - language.code_text
    return worse > max(TEXT_GAP, TEXT_SHARE * (language.prior_text - language.baseline.forward))


def _rate_lost(m: Measurements) -> bool:
    """A part of the rate carries nothing of the example: it only moves or narrows all codes."""
    rate, mi = m.value("rate"), m.value("mi_high")
    if rate is None or mi is None:
        return True  # nothing else can be asked of a code without a density
    return rate - mi > LOST_SHARE * rate and (m.value("consistent_units") or 0.0) < m.dim / 2


def _lines(m: Measurements) -> tuple[str, ...]:
    """A Gaussian code whose KL has its full weight at the end, with few free bits."""
    plus = annealed_floor(8, m.dim)
    return (remedies_line(m.config, BETA | TARGETS | FLOORS, plus), *gaussian_line(m.config, m.dim))
