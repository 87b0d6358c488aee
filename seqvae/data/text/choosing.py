"""Which tokenizer a corpus asks for, and how long its texts are: from a sample, with the reason in words."""

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

SAMPLE, HELD_OUT = 200_000, 2_000  # texts that are looked at
SAMPLE_CHARACTERS = 50_000_000  # and characters of them
FEW_UNKNOWN = 0.05  # share of held-out words up to which words are the tokens
MANY_UNKNOWN = 0.1  # share of unknown held-out tokens from which another tokenizer is advised
WORDS_A_STRING = 1.5  # words per text, on average, up to which a text is a string
FEW_SYMBOLS, SHORT = 200, 512  # kinds of characters, and characters of a string, that are read one by one
BPE_SIZES = (512, 8000)  # the smallest and the largest vocabulary of pieces
CHARACTERS_A_PIECE = 200  # of the sample, for each piece of the vocabulary: it is then seen often enough
PERCENTILE = 99  # of the lengths, which the longest that is read covers


@dataclass(frozen=True)
class Seen:
    """What a sample of a corpus looks like."""

    unknown: float  # share of held-out words outside a vocabulary of the usual size
    words: float  # per text
    symbols: int  # kinds of characters
    longest: int  # characters, of 99 % of the texts
    characters: int  # in all

    @property
    def is_strings(self) -> bool:
        """Whether texts are short strings of few symbols: names, molecules, peptides."""
        return self.words <= WORDS_A_STRING and self.symbols <= FEW_SYMBOLS and self.longest <= SHORT


def look_at(train: Iterable[str], held_out: Iterable[str], vocab_size: int = DEFAULT_SIZE) -> Seen:
    """The figures of the first 200,000 training texts (or 50 million characters) and 2,000 held-out ones."""
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
    """The tokenizer for a corpus, and why.

    Words where held-out text has few unknown ones, else characters for short strings of few symbols, else
    byte-level BPE.
    """
    share = f"{seen.unknown:.1%} of the held-out words"
    if seen.unknown < FEW_UNKNOWN:
        return Component(name="word"), f"tokenizer word: {share} are unknown to it"
    if seen.is_strings:
        why = f"strings of {seen.symbols} kinds of characters, as words {share} would be unknown"
        return Component(name="char"), f"tokenizer char: {why}"
    low, high = BPE_SIZES
    size = min(high, max(low, round(seen.characters / CHARACTERS_A_PIECE, -2)))
    why = f"{share} would be unknown as words, to pieces of bytes nothing is"
    return Component(name="bpe", vocab_size=size), f"tokenizer bpe of {size:,} pieces: {why}"  # type: ignore[call-arg]


def percentile(lengths: Sequence[int]) -> int:
    """The length that 99 % of the texts do not exceed; 1 of none."""
    return max(1, math.ceil(np.percentile(lengths, PERCENTILE))) if len(lengths) else 1


def unknown_share(store: TokenStore) -> float:
    """Of the tokens of a split, how many the vocabulary lacks."""
    return store.counts.unknown / max(store.counts.tokens, 1)


def advice(splits: Mapping[str, Split], valid: TokenStore) -> str:
    """The better choice, where many held-out tokens are unknown."""
    if unknown_share(valid) < MANY_UNKNOWN:
        return ""
    train, held = ((example.text for example in splits[name].examples()) for name in ("train", "valid"))
    spec, _ = choose_tokenizer(look_at(train, held))
    wanted = {"name": spec.name, **spec.arguments} if spec.name != "word" else {"name": "bpe"}
    return f"take tokenizer={{{', '.join(f'{k}: {v}' for k, v in wanted.items())}}}"
