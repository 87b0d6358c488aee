"""Base class of trained models that read data: the splits of their run, or other files, as it read them.

Shapes: N examples.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from seqvae.build import modality_of
from seqvae.config.registry import lookup
from seqvae.data.input_files import in_words
from seqvae.distributed.collectives import is_main
from seqvae.errors import UserError
from seqvae.inference.codec import LatentCodec
from seqvae.inference.inputs import Inputs, Note
from seqvae.interfaces import Batch, ModalityMetrics
from seqvae.runs.run_data import check_split, load_run_data, with_corpus

LOG = logging.getLogger("seqvae")  # if the user adds no handler, Python prints its warnings on stderr


class DataAccess(LatentCodec, library_name="seqvae"):
    """A trained model that reads data as its training did; subclasses know the files of a modality."""

    def with_labels(self, names: Sequence[str]) -> Self:
        """The same model with these label columns read from its data."""
        return self.with_data(labels=list(names))

    def with_data(self, **changes: Any) -> Self:
        """The same model with other values of its config's `data` block, which say how files are read."""
        data = self.run.config.data.model_copy(update=changes)
        config = self.run.config.model_copy(update={"data": data})
        return type(self)(replace(self.run, config=config), self.device)

    def with_corpus(self, place: str) -> Self:
        """The same model with its corpus read from `place`: a file, or the folder of its files.

        Raises:
            UserError: nothing is there, or the run was trained on embedded data.
        """
        return type(self)(with_corpus(self.run, place), self.device)

    def check_labels(self, store: Any, notes: Sequence[str]) -> None:
        """Log `notes` and label values unknown to training.

        Raises:
            UserError: the data lack a label that the model is conditioned on.
        """
        labels = self.vae.labels
        if labels is not None and not labels.fixed and self.vae.classifier is None:
            held = torch.from_numpy(np.array(store.labels))
            labels.require(held)
            notes = [*notes, *labels.describe_unknown(held)]
        for note in notes if is_main() else ():
            # file names may hold bytes that are not UTF-8
            LOG.warning("%s", note.encode("utf-8", "backslashreplace").decode())

    @property
    def categories(self) -> dict[str, Sequence[str]]:
        """Class names of each label in training, so that other data number their classes alike."""
        return {} if self.vae.labels is None else self.vae.labels.categories

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label columns of the run's data."""
        names: tuple[str, ...] = load_run_data(self.run).labels
        return names

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label of each example (N,), NaN where it is missing.

        Raises:
            UserError: no label of that name.
        """
        names = self.label_names
        lookup("label", dict.fromkeys([*names, *modality_of(self.run.config).attributes]), name)
        return torch.cat([batch.labels for batch in batches])[:, names.index(name)]

    @property
    def embedded_factors(self) -> Sequence[str]:
        """Names of the factors of the embedded data of the run; empty for other data."""
        return modality_of(self.run.config).embedded_factors(self.run.config.data)

    def evaluation_store(self, data: str | Sequence[str] | None) -> tuple[str, Any]:
        """The name and the examples of the evaluation data: `data`, else the run's test or validation split.

        Raises:
            UserError: they cannot be read, or have changed since training.
        """
        if data is not None:
            return in_words(data), self.read_store(data)
        splits = load_run_data(self.run)
        name = "test" if "test" in splits.splits else "valid"
        check_split(self.run.path, self.run.card, splits, name)
        return name, splits.splits[name]

    def split_store(self, name: str) -> Any:
        """The examples of the split `name` of the run's data.

        Raises:
            UserError: there is no such split, or it has changed since training.
        """
        splits = load_run_data(self.run, name).splits
        if name not in splits:
            raise UserError(f"{self.run.path} has no {name} split: it has {', '.join(splits)}")
        return splits[name]

    @abstractmethod
    def read_store(self, data: str | Sequence[str], id_column: str | None = None) -> Any:
        """The examples of other data than the run's, from one source or several, read as the config says.

        Raises:
            UserError: they cannot be read, or lack a label that the model needs.
        """

    @abstractmethod
    def store_examples(self, store: Any, count: int) -> Any:
        """The first `count` examples of a store, as `encode` takes them."""

    @abstractmethod
    def read_inputs(
        self, source: str | Sequence[str], count: int | None, id_column: str | None, note: Note
    ) -> Inputs:
        """The first `count` rows of a source, including rows without an example.

        Args:
            source: one source or several.
            count: rows at most.
            id_column: a column whose values identify the rows.
            note: called with lines about what was recognised and what was left out.

        Raises:
            UserError: the source cannot be read or holds no example, or a label of the condition is missing.
        """

    @abstractmethod
    def evaluation_inputs(
        self, data: str | Sequence[str] | None, batch_size: int, examples: int | None
    ) -> tuple[str, Sequence[Batch], ModalityMetrics]:
        """The name of the evaluation data, its batches, and the metrics of the modality."""
