"""The config holds the rate below what the corpus needs, and the decoder reads every nat of it."""

from __future__ import annotations

from typing import Any

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.measures.rates import requested_rate
from seqvae.analysis.doctor.prescriptions import remedies_line

NAME = "rate_too_small"
EXPLAINS = frozenset({"length_only"})
SHARE = 0.12  # of the nats that a sentence has
WANTED = 0.4  # the same of a code that keeps the gist
READ = 1.0  # nats lost with a wrong code per nat of rate, from which more rate would be read
ACCURACY = 0.5  # of reconstructions, above which the code suffices
LOST = 0.6  # share of the sentences that no rate of the range reconstructs


def check(m: Measurements) -> Finding | None:
    """Of a fixed rate: it is held down, small beside the corpus, and read. Of a range: sentences are lost."""
    if m.rates is not None:
        return _check_range(m)
    held, needed, rate = requested_rate(m.config), m.needed, m.value("rate")
    gap, accuracy = m.value("shuffle_gap") or 0.0, m.value("token_accuracy") or 0.0
    if held is None or needed is None or rate is None or rate > SHARE * needed:
        return None
    if gap < READ * rate or accuracy > ACCURACY or gap < 0.5:
        return None
    wanted = round(WANTED * needed)
    lines = (held.key.format(wanted),) if held.nats is not None else _without_weight(m, wanted)
    return Finding(
        NAME,
        "the config holds the rate below what this corpus needs",
        (
            Evidence("rate in nats", rate, f"a sentence has {needed:.3g} under {m.language_model}"),
            Evidence(
                "nats lost with a wrong code, per nat of rate",
                gap / max(rate, 1e-6),
                f"above {READ:g}: all is read",
            ),
            Evidence("token accuracy of reconstructions", accuracy, f"above {ACCURACY:g}"),
        ),
        lines,
        f"the code keeps about {WANTED:.0%} of each sentence; more of it is reconstructed, distortion falls",
        compare=("rate", "distortion", "token_accuracy", "shuffle_gap"),
    )


def _without_weight(m: Measurements, wanted: int) -> tuple[str, ...]:
    """No beta above 1, and free bits that keep the wanted rate."""
    plus: list[dict[str, Any]] = [{"name": "free_bits", "nats": round(wanted / max(1, m.dim), 3)}]
    return (remedies_line(m.config, frozenset({"constant_beta"}), plus),)


def _check_range(m: Measurements) -> Finding | None:
    """No rate of the range reconstructs most sentences, and it ends far below their nats."""
    rates, needed = m.rates, m.needed
    if rates is None or needed is None or rates.lost < LOST or rates.high > WANTED * needed:
        return None
    high = round(1.5 * needed)
    return Finding(
        NAME,
        "the range of rates ends below what this corpus needs",
        (
            Evidence("share of sentences that no rate reconstructs", rates.lost, f"below {LOST:g}"),
            Evidence("highest rate in nats", rates.high, f"a sentence has {needed:.3g}"),
        ),
        (f"latent.nats=[{rates.low:g}, {high}]",),
        "the highest rate reconstructs most sentences",
        compare=("rate", "token_accuracy", "exact_match"),
    )
