"""z is full but the decoder does not read it: any other example's code serves as well."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.prescriptions import RATE, annealed_floor, remedies_line

NAME = "unread_code"
EXPLAINS = frozenset(
    {"rate_too_large", "rate_too_small", "narrow_posterior", "holes", "length_only", "poor_samples"}
)
FULL = 1.0  # nats of mutual information
READ = 0.3  # nats lost with a wrong code, per nat of mutual information


def check(m: Measurements) -> Finding | None:
    """The code distinguishes examples, and a wrong code costs next to nothing."""
    mi, gap, error = m.value("mi_low"), m.value("shuffle_gap"), m.value("shuffle_gap_se") or 0.0
    if mi is None and m.report.get("active_units"):
        mi = FULL  # a code without a density: its dims move with the example
    if mi is None or gap is None or mi < FULL or gap > READ * mi + 2 * error:
        return None
    return Finding(
        NAME,
        "the code is full but the decoder does not read it",
        (
            Evidence("mutual information in nats", m.value("mi_low"), f"from {FULL:g} on the code is full"),
            Evidence("nats lost with the code of another example", gap, f"above {READ * mi:.2g}"),
            Evidence("rate in nats", m.value("rate")),
            Evidence("token accuracy of reconstructions", m.value("token_accuracy")),
        ),
        _lines(m),
        "a wrong code costs as many nats as the code carries, and reconstructions follow their example",
        compare=("shuffle_gap", "mi_low", "rate", "token_accuracy"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    """Take away what hides z from the decoder, and let it need z: z at every step, words dropped."""
    plus = annealed_floor(8, m.dim)
    if m.config.modality == "text":
        plus.append({"name": "word_dropout", "rate": 0.3})
    recurrent = m.config.decoder.name in ("gru", "lstm")
    places = ('decoder.z_to=["state", "steps", "softmax"]',) if recurrent else ()
    return (remedies_line(m.config, RATE | {"latent_dropout"}, plus), *places)
