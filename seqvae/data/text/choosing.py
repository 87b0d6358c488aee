"""Choice of a tokenizer and a maximum length for a corpus, from a sample, with reasons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from seqvae.config.schema import Component
from seqvae.data.text.splits import Split
from seqvae.data.text.token_store import TokenStore
from seqvae.data.text.tokenizer import UNKNOWN_WORDS
from seqvae.data.text.tokenizer_training import DEFAULT_SIZE, SPECIALS

SAMPLE, HELD_OUT = 200_000, 2_000  # texts in the sample
SAMPLE_CHARACTERS = 50_000_000  # characters in the sample, at most
FEW_UNKNOWN = 0.05  # fraction of unknown held-out words up to which the word tokenizer is chosen
MANY_UNKNOWN = 0.1  # fraction of unknown held-out tokens from which another tokenizer is suggested
WORDS_A_STRING = 1.5  # mean words per text up to which texts are short strings
FEW_SYMBOLS, SHORT = 200, 512  # maximum distinct characters and length for the character tokenizer
BPE_SIZES = (512, 8000)  # minimum and maximum vocabulary
CHARACTERS_A_PIECE = 200  # characters of the sample per piece, so that each piece is frequent enough
PERCENTILE = 99  # of the lengths that the maximum length covers


@dataclass(frozen=True)
class Seen:
    """Statistics of a sample of a corpus."""

    unknown: float  # fraction of held-out words outside a vocabulary of default size
    words: float  # per text
    symbols: int  # distinct characters
    longest: int  # 99th percentile of the length in characters
    characters: int  # in total

    @property
    def is_strings(self) -> bool:
        """Whether texts are short strings of few symbols: names, molecules, peptides."""
        return self.words <= WORDS_A_STRING and self.symbols <= FEW_SYMBOLS and self.longest <= SHORT


def look_at(train: Iterable[str], held_out: Iterable[str], vocab_size: int = DEFAULT_SIZE) -> Seen:
    """Statistics of the first 200,000 training texts (or 50 million characters) and 2,000 held-out ones."""
    counts: Counter[str] = Counter()
    symbols: set[str] = set()
    lengths: list[int] = []
    characters = 0
    for text in islice(train, SAMPLE):
        counts.update(text.split())
        symbols.update(text)
        lengths.append(len(text))
        characters += len(text)
        if characters > SAMPLE_CHARACTERS:
            break
    known = {word for word, _ in counts.most_common(vocab_size - len(SPECIALS))} | set(UNKNOWN_WORDS)
    held = Counter(word for text in islice(held_out, HELD_OUT) for word in text.split())
    lacking = sum(n for word, n in held.items() if word not in known)
    return Seen(
        unknown=lacking / max(held.total(), 1),
        words=counts.total() / max(len(lengths), 1),
        symbols=len(symbols),
        longest=percentile(lengths),
        characters=characters,
    )


def choose_tokenizer(seen: Seen) -> tuple[Component, str]:
    """The tokenizer for a corpus, and the reason.

    Words if held-out text has few unknown words, else characters for short strings of few symbols, else
    byte-level BPE.
    """
    share = f"{seen.unknown:.1%} of the held-out words"
    if seen.unknown < FEW_UNKNOWN:
        return Component(name="word"), f"tokenizer word: {share} are unknown to it"
    if seen.is_strings:
        why = f"short strings of {seen.symbols} different characters; as words, {share} would be unknown"
        return Component(name="char"), f"tokenizer char: {why}"
    low, high = BPE_SIZES
    size = min(high, max(low, 100 * round(seen.characters / CHARACTERS_A_PIECE / 100)))
    why = f"as words, {share} would be unknown; pieces spell any text"
    return Component(name="bpe", vocab_size=size), f"tokenizer bpe of {size:,} pieces: {why}"  # type: ignore[call-arg]


def percentile(lengths: Sequence[int]) -> int:
    """The length that 99 % of the texts do not exceed; 1 without texts."""
    return max(1, math.ceil(np.percentile(lengths, PERCENTILE))) if len(lengths) else 1


def unknown_share(store: TokenStore) -> float:
    """Fraction of a split's tokens that are out of vocabulary."""
    return store.counts.unknown / max(store.counts.tokens, 1)


def advice(splits: Mapping[str, Split], valid: TokenStore) -> str:
    """A suggested tokenizer, if many held-out tokens are unknown; else empty."""
    if unknown_share(valid) < MANY_UNKNOWN:
        return ""
    train, held = ((example.text for example in splits[name].examples()) for name in ("train", "valid"))
    spec, _ = choose_tokenizer(look_at(train, held))
    wanted = {"name": spec.name, **spec.arguments} if spec.name != "word" else {"name": "bpe"}
    return f"take tokenizer={{{', '.join(f'{k}: {v}' for k, v in wanted.items())}}}"
