"""Tokenized, lower-cased text made plain again: a pretrained model has seldom seen the other kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from seqvae.data.text.readers import Example
from seqvae.data.text.splits import Split

_RULES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r" @-@ ", "-"),  # Moses
        (r"``|''", '"'),  # the Penn Treebank
        (r"-lrb-|-LRB-", "("),
        (r"-rrb-|-RRB-", ")"),
        (r" +([.,!?;:%)\]}])", r"\1"),
        (r"([(\[{$#]) +", r"\1"),
        (r"(?i)(\w) +(n't|'(?:s|re|ve|ll|d|m))\b", r"\1\2"),
        (r"(?i)(n) 't\b", r"\1't"),  # Tanaka
    )
)
_QUOTED = re.compile(r'" *([^"]*?) *"')
_ALONE = re.compile(r"\bi\b(?=$|[ '.,!?;:])")
_TOKENIZED = re.compile(r"\w +[.,!?]( |$)| n't\b|n 't\b")


def detokenize(text: str) -> str:
    """Text without the spaces that a tokenizer put around marks; with capitals where it has none at all.

    Example:
        >>> detokenize("a man , who did n't see it , is n't here .")
        "A man, who didn't see it, isn't here."
    """
    for pattern, new in _RULES:
        text = pattern.sub(new, text)
    text = _QUOTED.sub(r'"\1"', text)
    if text == text.lower():
        text = _ALONE.sub("I", text[:1].upper() + text[1:])
    return text


def detokenized(split: Split) -> Split:
    """The same split of detokenized texts."""

    def examples() -> Iterator[Example]:
        return (example._replace(text=detokenize(example.text)) for example in split.examples())

    shards = tuple(map(detokenized, split.shards))
    return replace(split, examples=examples, key=f"{split.key}|detokenized", shards=shards)


def share_tokenized(texts: Iterable[str]) -> float:
    """Which share of texts has a mark with a space before it, as tokenizers write it."""
    found = [bool(_TOKENIZED.search(text)) for text in texts]
    return sum(found) / max(1, len(found))
