"""Inputs of a model: sentences or images, their labels, and the row of each in its source.

Shapes: N examples, M chosen ones, R rows of a source, C x H x W an image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqvae.data.image.dataset import load_examples
from seqvae.data.input_files import in_words, regular_files
from seqvae.data.text.corpus import is_table, read_corpus
from seqvae.data.text.readers import Example
from seqvae.data.text.splits import read_options
from seqvae.errors import UserError
from seqvae.inference import ImageVAE, PretrainedVAE, TextVAE
from seqvae.models.sampling import Condition
from seqvae.runs.run_data import load_run_data

SPLITS = ("train", "valid", "test")
Note = Callable[[str], object]


@dataclass(frozen=True)
class Inputs:
    """Sentences, or images (N, C, H, W), with their labels if the model is conditional.

    The examples are the rows `places` of the R rows of their source, or all rows if `places` is None. `ids`
    and `columns` have one value per row of the source.
    """

    x: Any
    condition: Condition | None = None  # {label: one value, or a list of N}
    places: Sequence[int] | None = None
    total: int | None = None
    ids: Sequence[Any] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def names(self) -> list[str]:
        """A name per example for output: the sentence itself, or the number of an image."""
        return self.x if isinstance(self.x, list) else [str(place) for place in range(len(self))]

    @property
    def left_out(self) -> int:
        """Number of rows of the source that are not examples: empty texts, or broken images."""
        return 0 if self.total is None else self.total - len(self)

    def spread(self, values: Sequence[Any], missing: Any = None) -> list[Any]:
        """One value per row of the source, `missing` for rows that are not examples."""
        if self.places is None or self.total is None:
            return list(values)
        found = [missing] * self.total
        for place, value in zip(self.places, values, strict=True):
            found[place] = value
        return found

    def with_column(self, name: str, values: Sequence[Any]) -> Inputs:
        """Add a column of the source's rows (R,), unless there is one of that name."""
        return replace(self, columns={**self.columns, name: self.columns.get(name, values)})

    @property
    def identified(self) -> list[dict[str, Any]]:
        """{"id": ...} per row of the source, or {} if no id column was chosen."""
        if self.ids is None:
            return [{} for _ in range(len(self) if self.total is None else self.total)]
        return [{"id": each} for each in self.ids]

    def rows(self, rows: Tensor) -> Inputs:
        """The examples at the positions `rows` (M,)."""
        places = rows.tolist()
        chosen = [self.x[row] for row in places] if isinstance(self.x, list) else self.x[rows.numpy()]
        if self.condition is None:
            return Inputs(chosen)
        labels = self.condition.items()
        each = {k: [v[row] for row in places] if isinstance(v, list | tuple) else v for k, v in labels}
        return Inputs(chosen, each)


def load_inputs(vae: PretrainedVAE, data: str | Sequence[str] | None, count: int | None = None) -> Inputs:
    """Load the first `count` sentences, or images uint8 (N, C, H, W), of a split or a file.

    A conditional model without fixed labels gets each example's own labels.

    Raises:
        UserError: the run has no such split, the file cannot be read, or a label is missing or unknown.
    """
    store, labels = _store(vae, data), vae.vae.labels
    rows = range(len(store) if count is None else min(count, len(store)))
    condition = None
    if labels is not None and not labels.fixed:
        condition = labels.decode_columns(torch.tensor(store.labels[: len(rows)]))
    if isinstance(vae, TextVAE):
        return Inputs(list(vae.tokenizer.decode_batch(store.tokens(i).tolist() for i in rows)), condition)
    return Inputs(store.pixels[: len(rows)], condition)


def examples_in(
    vae: PretrainedVAE,
    source: str | Sequence[str],
    count: int | None = None,
    id_column: str | None = None,
    note: Note = lambda line: None,
) -> Inputs:
    """Read the first `count` rows of one file or several: texts, or images.

    A row without a text is not an example, but counts as a row. `note` is called with lines about the
    detected format and the rows that were left out.

    Raises:
        UserError: a file cannot be read or holds no example, or a label of the condition is missing.
    """
    if isinstance(vae, ImageVAE):
        return _pictures_in(vae, source, count, id_column)
    assert isinstance(vae, TextVAE)
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


def _pictures_in(
    vae: ImageVAE, source: str | Sequence[str], count: int | None, id_column: str | None
) -> Inputs:
    store = load_examples(source, vae.codec, vae.config.data, vae._categories, id_column)
    vae._check_labels(store, [f"{label}: {why}" for label, why in store.lost.items()])
    total = store.total if count is None else min(count, store.total)
    places = [place for place in store.places.tolist() if place < total]
    labels = vae.vae.labels
    condition = None
    if labels is not None and not labels.fixed:
        condition = labels.decode_columns(torch.tensor(store.labels[: len(places)]))
    return Inputs(store.pixels[: len(places)], condition, places, total, store.ids and store.ids[:total])


def _condition(
    vae: PretrainedVAE, names: Sequence[str], rows: Sequence[Example], note: Note
) -> Condition | None:
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


def _store(vae: Any, data: str | Sequence[str] | None) -> Any:
    if not isinstance(data, str) or data not in SPLITS or Path(data).exists():
        return vae._store(data)[1]
    splits = load_run_data(vae.run, data).splits
    if data not in splits:
        raise UserError(f"{vae.run.path} has no {data} split: it has {', '.join(splits)}")
    return splits[data]
