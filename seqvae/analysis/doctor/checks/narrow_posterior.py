"""The posterior is much narrower than the decoder asks, so that few importance samples carry all weight."""

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
    setting,
)

NAME = "narrow_posterior"
EXPLAINS = frozenset({"holes", "poor_samples"})
HEAVY = 0.5  # share of the examples whose effective samples are below 2
CHEAP = 0.4  # nats of distortion per nat of rate saved, 1 where the width is right
GAIN = 0.05  # of -ELBO, saved by wider posteriors
FILLED = 0.5  # of the dims, that fill the prior


def check(m: Measurements) -> Finding | None:
    """Wider posteriors save more than they cost; the weights are heavy or the prior is not filled."""
    heavy, width, cost = m.value("heavy_weights") or 0.0, m.width, m.value("neg_elbo")
    filled = m.value("consistent_units")
    if width is None or not cost or filled is None or (heavy < HEAVY and filled >= FILLED * m.dim):
        return None
    if width.price > CHEAP or width.gain < GAIN * abs(cost):
        return None
    return Finding(
        NAME,
        "the posterior is too narrow for its decoder",
        (
            Evidence("nats of distortion per nat of rate saved by wider posteriors", width.price, "near 1"),
            Evidence("nats of -ELBO saved by wider posteriors", width.gain, f"{cost:.3g} in all"),
            Evidence("dims that fill the prior", filled, f"all {m.dim}"),
            Evidence("share of examples with effective samples below 2", heavy, f"below {HEAVY:g}"),
            Evidence("effective samples", m.value("ess"), f"of {m.report.get('iw_samples')}"),
        ),
        _lines(m),
        "-ELBO falls, importance weights even out, neighbouring codes decode alike",
        compare=("neg_elbo", "iw_nll", "ess", "heavy_weights", "rate"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    """The KL's full weight, and free bits of no more than 8 nats in all or than there were."""
    floor = setting(m.config, "free_bits", "nats") * m.dim
    plus = annealed_floor(min(8, floor) if floor else 8, m.dim)
    return (remedies_line(m.config, BETA | TARGETS | FLOORS, plus), *gaussian_line(m.config, m.dim))
