"""The code holds the length of its sentence and little else."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.prescriptions import FLOORS, TARGETS, annealed_floor, pooling_line, remedies_line

NAME = "length_only"
EXPLAINS = frozenset({"rate_too_small", "poor_samples", "holes"})
RATE_SHARE = 0.6  # of the rate, in dims by what the length explains of them
ALIKE = 0.35  # nats lost with the code of a sentence as long, per nat lost with that of any other
TIED = frozenset({"attribute_regularization", "constant_beta"})
READ = 0.3  # nats lost with the code of any other sentence, below which nothing is read


def check(m: Measurements) -> Finding | None:
    """Length explains the dims, and the code of another sentence of the same length serves as well."""
    test = m.length
    if test is None or test.gap < READ:
        return None
    share = test.rate_share(m.report.get("kl_per_dim") or ())
    if share < RATE_SHARE or test.gap_alike > ALIKE * test.gap:
        return None
    return Finding(
        NAME,
        "the code holds the length of its sentence and little else",
        (
            Evidence("share of the rate that length explains", share, f"below {RATE_SHARE:g}"),
            Evidence(
                "nats lost with the code of a sentence of the same length",
                test.gap_alike,
                f"{test.gap:.3g} with any other",
            ),
            Evidence("rate in nats", m.value("rate")),
            Evidence("active units", m.value("active_units")),
        ),
        _lines(m),
        "more dims carry what the sentence says; a code of the same length costs nats too",
        compare=("rate", "mi_low", "active_units", "shuffle_gap", "token_accuracy"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    """A wider code without what ties its dims to the length, and an encoder that reads the words."""
    dim = max(16, m.dim)
    remedies = remedies_line(m.config, TIED | TARGETS | FLOORS, annealed_floor(8, dim))
    attributes = ("attributes={}",) if m.config.attributes else ()
    words = ('encoder={"name": "gru", "pooling": "max"}', "data.vectors=null")
    reads = words if m.config.encoder.name == "vectors" else pooling_line(m.config)
    return (f'latent={{"name": "gaussian", "dim": {dim}}}', remedies, *reads, *attributes)
