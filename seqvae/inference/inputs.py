"""Inputs of a model: sentences or images, their labels, and the row of each in its source.

Shapes: N examples, M chosen ones, R rows of a source, C x H x W an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqvae.models.sampling import Condition

if TYPE_CHECKING:
    from seqvae.inference.pretrained import PretrainedVAE

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
    """The first `count` examples of a split of the run's data or of a file, as `encode` takes them.

    A model conditioned on labels, without values fixed for all, gets those of each example.

    Raises:
        UserError: the run has no such split, the file cannot be read, or a label is missing or unknown.
    """
    store = load_store(vae, data)
    n = len(store) if count is None else min(count, len(store))
    return Inputs(vae.store_examples(store, n), own_labels(vae, store.labels[:n]))


def load_store(vae: PretrainedVAE, data: str | Sequence[str] | None) -> Any:
    """All examples of a split of the run's data, of files, or by default of its test split.

    Raises:
        UserError: as `load_inputs`.
    """
    if not isinstance(data, str) or data not in SPLITS or Path(data).exists():
        return vae.evaluation_store(data)[1]
    return vae.split_store(data)


def own_labels(vae: PretrainedVAE, values: Any) -> Condition | None:
    """The label values (N, L) as a condition, if the model is conditioned on labels and none are fixed."""
    labels = vae.vae.labels
    if labels is None or labels.fixed:
        return None
    return labels.decode_columns(torch.tensor(values))


def examples_in(
    vae: PretrainedVAE,
    source: str | Sequence[str],
    count: int | None = None,
    id_column: str | None = None,
    note: Note = lambda line: None,
) -> Inputs:
    """The first `count` rows of a file, or of several: see `PretrainedVAE.read_inputs`.

    Raises:
        UserError: as there.
    """
    return vae.read_inputs(source, count, id_column, note)
