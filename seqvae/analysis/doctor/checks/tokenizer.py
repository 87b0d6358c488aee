"""The tokenizer does not fit the corpus: many unknown tokens, one token per line, or sentences cut short."""

from __future__ import annotations

from json import dumps

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.measures.tokens import TokenFacts

NAME = "tokenizer"
EXPLAINS = frozenset(
    {
        "empty_code",
        "unread_code",
        "rate_too_small",
        "rate_too_large",
        "poor_samples",
        "length_only",
    }
    | {"duplicates", "narrow_posterior", "holes", "undertrained"}
)
UNKNOWN = 0.08  # share of the held-out tokens
SINGLE, CHARACTERS = 0.6, 4.0  # share of sentences of one token, and characters from which one is no letter
CUT = 0.1  # share of the training sentences


def check(m: Measurements) -> Finding | None:
    """Unknown tokens, sentences of one token, sentences that are cut."""
    facts = m.tokens
    if facts is None:
        return None
    unknown = facts.unknown > UNKNOWN
    single = facts.single > SINGLE and facts.characters > CHARACTERS
    if unknown or single:
        return _other_tokens(facts, m)
    return _longer(facts) if facts.cut > CUT else None


def _other_tokens(facts: TokenFacts, m: Measurements) -> Finding:
    better = {"name": facts.better.name, **facts.better.arguments}
    if better == {"name": m.config.tokenizer.name}:  # type: ignore[attr-defined]
        better = {"name": "bpe"}
    return Finding(
        NAME,
        "the tokenizer does not fit this corpus",
        (
            Evidence("share of unknown tokens", facts.unknown, f"at most {UNKNOWN:g}"),
            Evidence("share of sentences that are one token", facts.single, f"at most {SINGLE:g}"),
            Evidence("tokens per sentence", facts.tokens),
            Evidence("characters per token", facts.characters),
        ),
        (f"tokenizer={dumps(better)}", f"data.max_tokens={_length(facts, better['name'])}"),
        "unknown tokens vanish, so the code and the decoder see the words; per-token numbers are not "
        "comparable with those before, bits_per_char are",
        advice=facts.reason,
        compare=("unknown_share", "bits_per_char", "token_accuracy", "mi_low"),
    )


def _length(facts: TokenFacts, name: str) -> int:
    """The longest length in the new tokens: by the characters that a sentence has."""
    characters = max(facts.characters * facts.max_tokens, facts.characters * facts.tokens * 2, 16)
    per_token = {"char": 1.0, "bpe": 3.0, "unigram": 3.0}.get(name, 5.0)
    return max(16, min(512, round(characters / per_token)))


def _longer(facts: TokenFacts) -> Finding:
    return Finding(
        NAME,
        "many training sentences are cut short",
        (
            Evidence("share of cut sentences", facts.cut, f"at most {CUT:g}"),
            Evidence("longest length in tokens", facts.max_tokens),
            Evidence("words that 99 % of the sentences stay below", facts.wanted_tokens),
        ),
        (f"data.max_tokens={max(facts.wanted_tokens, 2 * facts.max_tokens)}",),
        "sentences are read and written to their end; costs per sentence rise, as there is more of it",
        compare=("neg_elbo", "ppl", "token_accuracy"),
    )
