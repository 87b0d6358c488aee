"""What a modality brings besides its models: batches, what makes them of examples, data and measures.

Shapes: B examples of a batch, N of a split, D latent dims, L labels, P places in an example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

Batch = Any  # every wing brings its own type with size, units, cells, index, random, labels, condition


class Processor(Protocol):
    """What turns the things of one modality into batches and back; a run keeps it."""

    unit: str  # what `batch.units` counts: tokens | pictures

    @property
    def sizes(self) -> Mapping[str, Any]:
        """What encoders and decoders must be told of the data."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """The same for JSON: what config.json says of it."""
        ...

    @property
    def vocabulary(self) -> str | None:
        """A hash of what the numbers in a batch stand for; None where they mean the same in all data."""
        ...

    def save(self, folder: Path) -> None:
        """Write its own files, where it has any."""
        ...

    def raw_features(self, batch: Batch) -> Tensor:
        """(B, F): the examples as numbers that a classifier without any model reads."""
        ...


class LabeledSplit(Protocol):
    """Labels of a split: numbers, or the places of categories' names."""

    @property
    def labels(self) -> Any:
        """An array (N, L), NaN where a label is missing."""
        ...

    @property
    def categories(self) -> Mapping[str, Sequence[str]]:
        """The names, by label."""
        ...


class Data(Protocol):
    """What a run trains on."""

    @property
    def train(self) -> LabeledSplit:
        """The training split."""
        ...

    @property
    def codec(self) -> Processor:
        """What made batches of it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns of `batch.labels`."""
        ...

    @property
    def fingerprint(self) -> str:
        """The content of the training split: the same files and settings give the same one."""
        ...

    @property
    def splits(self) -> Mapping[str, LabeledSplit]:
        """The splits there are, by name."""
        ...

    def report(self) -> list[str]:
        """What became of the data, for people."""
        ...

    def collapse_cause(self) -> str | None:
        """What in the data keeps any code from carrying something, as a clause; None where nothing does."""
        ...


class BatchSource(Protocol):
    """The training loop's view of the data: batches as pure functions of (seed, step)."""

    @property
    def examples(self) -> int:
        """Training examples."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Updates in which each training example is read once."""
        ...

    def update(self, step: int, inner: int = 0) -> list[Batch]:
        """The parts of update `step`, of each the rows of this process.

        `inner` counts the encoder's own updates before it, from 1.
        """
        ...

    def valid(self, examples: int, batch_size: int = 64) -> Iterator[Batch]:
        """At most so many validation examples."""
        ...


class ModalityMetrics(Protocol):
    """What only one modality can measure of a model; nats, over the N evaluation examples."""

    def per_target(self, batches: Sequence[Batch], iw_nll: Tensor | None) -> dict[str, Any]:
        """How many units there are, and IW-NLL (N,), where there is one, a unit."""
        ...

    def position_log_probs(self, likelihood: Any, batch: Batch) -> Tensor:
        """(B, P): log p(x|z) of one sample by place; P = 1 where places do not come apart."""
        ...

    def position_gains(self, gains: Tensor, batch: Batch) -> Any:
        """What `summarise_positions` needs of one batch's gains (B, P)."""
        ...

    def summarise_positions(self, parts: Sequence[Any]) -> dict[str, Any]:
        """Where in an example the code gains: from what `position_gains` gave for each batch."""
        ...

    def compare_reconstructions(self, batch: Batch, codes: Tensor, drawn: Tensor) -> Any:
        """What `summarise_reconstructions` needs: what comes back from `codes` (B, D) and `drawn` ones."""
        ...

    def summarise_reconstructions(self, parts: Sequence[Any]) -> dict[str, Any]:
        """How well examples come back: from what `compare_reconstructions` gave for each batch."""
        ...

    def sample_metrics(self, n: int, seed: int) -> dict[str, Any]:
        """What `n` draws from the prior look like."""
        ...
