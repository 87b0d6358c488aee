"""Sentences of a file as inputs of a trained model, with their labels and row numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from seqvae.data.input_files import in_words, regular_files
from seqvae.data.text.corpus import is_table, read_corpus
from seqvae.data.text.readers import Example
from seqvae.data.text.splits import read_options
from seqvae.errors import UserError
from seqvae.inference.inputs import Inputs, Note
from seqvae.models.sampling import Condition

if TYPE_CHECKING:
    from seqvae.inference.text_model import TextModel


def read_sentences(
    vae: TextModel, source: str | Sequence[str], count: int | None, id_column: str | None, note: Note
) -> Inputs:
    """The first `count` rows of a source that hold text: see `PretrainedVAE.read_inputs`.

    Raises:
        UserError: as there.
    """
    source = regular_files(source)
    data = vae.config.data
    labels = tuple(data.labels) if is_table(source, read_options(data)) else ()
    options = replace(read_options(data, labels, lenient=True), id_column=id_column, note=note)
    found = list(islice(read_corpus(source, options), count))
    lengths = vae.tokenizer.encode_flat([row.text for row in found])[1]
    places = np.flatnonzero(lengths).tolist()
    if not places:
        raise UserError(f"{in_words(source)} holds no sentence: write one per line")
    return Inputs(
        [found[place].text for place in places],
        _condition(vae, labels, [found[place] for place in places], note),
        places,
        len(found),
        None if id_column is None else [row.id for row in found],
        {label: [row.labels[i] for row in found] for i, label in enumerate(labels)},
    )


def _condition(vae: TextModel, names: Sequence[str], rows: Sequence[Example], note: Note) -> Condition | None:
    """Each row's labels for a conditional model without fixed labels, otherwise None."""
    labels = vae.vae.labels
    if labels is None or labels.fixed or not names:
        return None
    condition: dict[str, list[Any]] = {}
    for label in labels.specs:
        place = names.index(label.name)
        values = [row.labels[place] for row in rows]
        known = [value if label.accepts(value) else None for value in values]
        strange = Counter(str(v) for v, k in zip(values, known, strict=True) if k is None and v is not None)
        if known.count(None) == len(known):
            raise label.missing_error
        if lost := known.count(None):
            unknown = f" ({', '.join(map(repr, list(strange)[:3]))} unknown to training)" if strange else ""
            note(f"{lost:,} of {len(rows):,} rows without label {label.name!r}{unknown}")
        condition[label.name] = known
    return condition
