"""Corpora drawn from known factors: the embedded defaults, made anew from a seed, never downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from seqvae.synthetic import sentences


@dataclass(frozen=True)
class SentenceCorpus:
    """Splits of distinct sentences that share none; `factors` names each label and its values."""

    sizes: Mapping[str, int]
    factors: Mapping[str, tuple[str, ...]]
    seed: int = 0

    def examples(self, split: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The sentences of `split` (train, valid or test) with their labels, in the order of `factors`."""
        start = 0
        for name, size in self.sizes.items():
            if name == split:
                return sentences.iter_sentences(size, self.seed, start)
            start += size
        raise KeyError(split)


CORPORA: dict[str, SentenceCorpus] = {
    "sentences": SentenceCorpus({"train": 20_000, "valid": 2_000, "test": 2_000}, sentences.FACTORS),
}
