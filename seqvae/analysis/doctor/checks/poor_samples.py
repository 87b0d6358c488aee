"""Samples are worse sentences than those of a language model of the same corpus."""

from __future__ import annotations

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.prescriptions import remedies_line, setting

NAME = "poor_samples"
EXPLAINS: frozenset[str] = frozenset()
# nats per token over the language model's samples, forward and reverse
OVER_MODEL = (0.3, 0.1)
OVER_NGRAMS = (1.0, 0.4)  # whose samples n-grams score kindly
STRONG_DROPOUT = 0.5  # of words, from which the decoder unlearns to read them


def check(m: Measurements) -> Finding | None:
    """Less fluent than the language model's samples, and covering the corpus less well."""
    language = m.language
    if language is None or language.samples is None:
        return None
    ours, theirs, real = language.samples, language.baseline, language.real
    forward, reverse = OVER_NGRAMS if language.is_ngrams else OVER_MODEL
    if ours.forward - theirs.forward < forward or ours.reverse - theirs.reverse < reverse:
        return None
    return Finding(
        NAME,
        "samples are worse than the language model's",
        (
            Evidence(
                "nats per token of samples",
                ours.forward,
                f"{theirs.forward:.3g} of {language.model}, {real.forward:.3g} of real ones",
            ),
            Evidence(
                "nats per token of held-out text under n-grams of samples",
                ours.reverse,
                f"{theirs.reverse:.3g} under those of {language.model}",
            ),
            Evidence("token accuracy of reconstructions", m.value("token_accuracy")),
        ),
        _lines(m),
        "samples become as fluent as the language model's; reconstructions keep their example",
        compare=("neg_elbo", "iw_nll", "ppl", "distinct_samples"),
    )


def _lines(m: Measurements) -> tuple[str, ...]:
    """A wider decoder that reads its words."""
    decoder = m.config.decoder
    lines = []
    if setting(m.config, "word_dropout", "rate") > STRONG_DROPOUT:
        lines.append(remedies_line(m.config, plus=[{"name": "word_dropout", "rate": 0.2}]))
    if decoder.name in ("gru", "lstm"):
        sizes = {key: int(decoder.arguments.get(key, 256)) for key in ("embed", "hidden")}
        lines += [f"decoder.{key}={max(128, 2 * size)}" for key, size in sizes.items()]
    if decoder.name == "transformer":
        lines.append(f"decoder.width={2 * int(decoder.arguments.get('width', 256))}")
    return tuple(lines)
