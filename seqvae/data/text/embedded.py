"""The embedded text corpora as splits."""

from __future__ import annotations

from collections.abc import Iterator

from seqvae.config.registry import lookup
from seqvae.config.schema import TextDataConfig
from seqvae.data.splits import PARTS, heldout_sources
from seqvae.data.synthetic import CORPORA, SentenceCorpus
from seqvae.data.text.readers import Example
from seqvae.data.text.splits import Split, file_split
from seqvae.errors import UserError, suggest

DEFAULT_CORPUS = "sentences"


def embedded_splits(data: TextDataConfig) -> dict[str, Split]:
    """The splits of the embedded corpus of a data block, or the files that the block names instead.

    Raises:
        UserError: no such corpus, or it lacks a label.
    """
    name = data.name or DEFAULT_CORPUS
    made = lookup("corpus", CORPORA, name)
    for label in data.labels:
        if label not in made.factors:
            raise UserError(f"corpus {name!r} has no label {label!r}: {suggest(label, made.factors)}")
    splits = {part: _embedded_split(name, made, part, tuple(data.labels)) for part in PARTS}
    held = heldout_sources(data)
    files = {k: file_split(k, v, data, tuple(data.labels)) for k, v in held.items()}
    return splits | files


def _embedded_split(name: str, made: SentenceCorpus, part: str, labels: tuple[str, ...]) -> Split:
    chosen = [(list(made.factors).index(label), made.factors[label]) for label in labels]

    def examples() -> Iterator[Example]:
        for text, codes in made.examples(part):
            yield Example(text, tuple(values[codes[i]] for i, values in chosen))

    key = f"embedded {name} {part} {made.sizes} {made.seed} {made.factors}"
    return Split(part, examples, key, labels, {label: made.factors[label] for label in labels})
