"""The posterior is much narrower than the decoder asks, so that few importance samples carry all weight."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.prescriptions import BETA, FLOORS, TARGETS, remedies_line, setting

NAME = "narrow_posterior"
EXPLAINS = frozenset({"holes", "poor_samples"})
HEAVY = 0.5  # share of the examples whose effective samples are below 2
CHEAP = 0.5  # nats of distortion per nat of rate saved, 1 where the width is right
GAIN = 0.03  # of -ELBO, saved by wider posteriors


def check(m: Measurements) -> Finding | None:
    """Importance weights are heavy, and wider posteriors save more rate than they cost distortion."""
    heavy, width, cost = m.value("heavy_weights"), m.width, m.value("neg_elbo")
    if heavy is None or width is None or not cost or heavy < HEAVY:
        return None
    if width.price > CHEAP or width.gain < GAIN * abs(cost):
        return None
    return Finding(
        NAME,
        "the posterior is too narrow for its decoder",
        (
            Evidence("share of examples with effective samples below 2", heavy, f"below {HEAVY:g}"),
            Evidence("nats of distortion per nat of rate saved by wider posteriors", width.price, "near 1"),
            Evidence("nats of -ELBO saved by wider posteriors", width.gain),
            Evidence("effective samples", m.value("ess"), f"of {m.report.get('iw_samples')}"),
        ),
        _lines(m),
        "-ELBO falls, importance weights even out, neighbouring codes decode alike",
        compare=("neg_elbo", "iw_nll", "ess", "heavy_weights", "rate"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    """The KL's full weight; free bits of a nat per dim at most."""
    nats = round(min(1.0, max(0.1, 8 / m.dim)), 3)
    floor = setting(m.config, "free_bits", "nats")
    plus = [{"name": "linear_annealing"}, {"name": "free_bits", "nats": min(nats, floor) if floor else nats}]
    latent = () if m.config.latent.name == "gaussian" else (f'latent={{"name": "gaussian", "dim": {m.dim}}}',)
    return (remedies_line(m.config, BETA | TARGETS | FLOORS, plus), *latent)
