"""Protocols of a modality: its processor, data, batches and metrics.

Shapes: B examples of a batch, N of a split, D latent dims, F features, L labels, P positions in an example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from seqvae.interfaces.batch import Batch, ReadBatchT


class Processor(Protocol[ReadBatchT]):
    """Converts raw examples of one modality to batches and back; saved with the run."""

    unit: str  # the unit of `batch.num_targets`: tokens | pictures

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Constructor arguments of encoders and decoders that depend on the data, such as vocabulary size."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """JSON-serialisable description, stored in config.json."""
        ...

    @property
    def vocabulary(self) -> str | None:
        """Hash of the mapping from ids to tokens; None where values mean the same in all data sets."""
        ...

    def save(self, folder: Path) -> None:
        """Write the files it needs to be loaded again, if any."""
        ...

    def raw_features(self, batch: ReadBatchT) -> Tensor:
        """(B, F): model-free features of the examples, the baseline input of a linear probe."""
        ...


class LabeledSplit(Protocol):
    """Labels of a split: numbers, or indices into the names of categories."""

    @property
    def labels(self) -> Any:
        """Array (N, L), NaN where a label is missing."""
        ...

    @property
    def categories(self) -> Mapping[str, Sequence[str]]:
        """Category names per label."""
        ...


class Data(Protocol):
    """A data set of one modality, ready for training."""

    @property
    def train(self) -> LabeledSplit:
        """The training split."""
        ...

    @property
    def codec(self) -> Processor:
        """The processor that makes batches of it."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns of `batch.labels`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the training split: equal for the same files and settings."""
        ...

    @property
    def splits(self) -> Mapping[str, LabeledSplit]:
        """Splits by name."""
        ...

    def split_fingerprint(self, name: str) -> dict[str, str]:
        """Hashes of the `examples` of a split and of each of its labels."""
        ...

    def report(self) -> list[str]:
        """Human-readable lines about how the data were read, split and filtered."""
        ...

    def check(self) -> list[str]:
        """Warnings before a training.

        Raises:
            UserError: data that nothing can be learned from.
        """
        ...

    def collapse_cause(self) -> str | None:
        """A property of the data that makes every code useless, as a clause; None if there is none."""
        ...


class BatchSource(Protocol):
    """Batches for the training loop, each a pure function of (seed, step): resuming needs no state."""

    @property
    def examples(self) -> int:
        """Number of training examples."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Number of updates per epoch."""
        ...

    def update(self, step: int, inner: int = 0) -> list[Batch]:
        """The micro-batches of update `step`, each with the rows of this rank only.

        Args:
            step: number of the update, from 0.
            inner: 0 for the update itself, else the number, from 1, of an extra encoder update before it.
        """
        ...

    def valid(self, examples: int, batch_size: int = 64) -> Iterator[Batch]:
        """Batches of at most `examples` validation examples."""
        ...


class ModalityMetrics(Protocol[ReadBatchT]):
    """Metrics that only one modality defines, in nats, over the N evaluation examples."""

    def per_target(self, batches: Sequence[ReadBatchT], iw_nll: Tensor | None) -> dict[str, Any]:
        """Number of targets, and the importance-weighted NLL `iw_nll` (N,) per target where it is given."""
        ...

    def position_log_probs(self, likelihood: Any, batch: ReadBatchT) -> Tensor:
        """(B, P): log p(x|z) of one sample per position; P = 1 where it does not factorise over positions."""
        ...

    def position_gains(self, gains: Tensor, batch: ReadBatchT) -> Any:
        """Per-batch statistics of the gains (B, P), as input of `summarise_positions`."""
        ...

    def summarise_positions(self, parts: Sequence[Any]) -> dict[str, Any]:
        """Gain of the code per position, from the outputs of `position_gains` for all batches."""
        ...

    def compare_reconstructions(self, batch: ReadBatchT, codes: Tensor, drawn: Tensor) -> Any:
        """Compare x with reconstructions from point estimates `codes` and samples `drawn`, both (B, D)."""
        ...

    def summarise_reconstructions(self, parts: Sequence[Any]) -> dict[str, Any]:
        """Reconstruction quality, from the outputs of `compare_reconstructions` for all batches."""
        ...

    def sample_metrics(self, n: int, seed: int) -> dict[str, Any]:
        """Metrics of `n` samples from the prior."""
        ...
