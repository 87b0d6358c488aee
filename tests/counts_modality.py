"""A third modality as somebody would add it: rows of counts, such as word or event counts, Poisson given z.

Shapes: N rows, S samples, B examples, W columns, D latent dims, H features, C conditions.
"""

# ruff: noqa: D102 - the protocols say what each method returns

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seqvae.config.schema import Component, DataConfig, Positive, RunConfig
from seqvae.data.labels import Categories, hash_labels
from seqvae.data.sampler import EVALUATION_SEED, EpochBatchSource, with_keyed_noise
from seqvae.data.splits import (
    Rows,
    SplitData,
    heldout_rows,
    heldout_shares,
    heldout_sources,
    keep_some_labels,
)
from seqvae.inference.inputs import Inputs, Note
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.interfaces import Batch, Decoder, Encoder, ModalityMetrics
from seqvae.interfaces.batch import MovableBatch
from seqvae.keyed_noise import KeyedNoise, Signed, hash_content
from seqvae.modalities import Modality


class CountDataConfig(DataConfig):
    """Rows of counts: a file of numbers in columns, the last of which may be labels."""

    columns: Positive = 6  # counts per row


class CountRunConfig(RunConfig):
    """A run on rows of counts."""

    modality: Literal["counts"] = "counts"
    data: CountDataConfig = CountDataConfig()
    encoder: Component = Component(name="mlp")
    decoder: Component = Component(name="poisson")


@dataclass(frozen=True)
class CountStore:
    """The rows of a split."""

    counts: npt.NDArray[np.int64]  # (N, W)
    labels: npt.NDArray[np.float32]  # (N, L)
    label_names: tuple[str, ...] = ()
    categories: Categories = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.counts)

    @cached_property
    def hashes(self) -> dict[str, str]:
        content = hashlib.blake2b(self.counts.tobytes(), digest_size=16).hexdigest()
        return {"examples": content, **hash_labels(self.label_names, self.labels)}


@dataclass(frozen=True)
class CountProcessor:
    """What a run keeps of its data: the number of columns."""

    columns: int
    unit: str = "rows"
    vocabulary: ClassVar[None] = None

    @property
    def sizes(self) -> dict[str, Any]:
        return {"columns": self.columns}

    @property
    def metadata(self) -> dict[str, Any]:
        return {"columns": self.columns}

    def save(self, folder: Path) -> None:
        (folder / "columns.json").write_text(json.dumps(self.metadata), encoding="utf-8")

    def raw_features(self, batch: CountBatch) -> Tensor:
        return batch.targets


@dataclass(frozen=True)
class CountBatch(MovableBatch):
    """B rows of counts."""

    source: Tensor  # (B, W)
    targets: Tensor  # (B, W)
    index: Tensor
    labels: Tensor
    random: KeyedNoise
    condition: Tensor | None = None

    @property
    def decoder_positions(self) -> int:
        return 1


@dataclass(frozen=True, kw_only=True)
class CountData(SplitData[CountStore]):
    """The splits of a run on counts."""

    codec: CountProcessor

    @property
    def fingerprint(self) -> str:
        return self.train.hashes["examples"]

    def report(self) -> list[str]:
        return [f"{name}: {len(store):,} rows" for name, store in self.splits.items()]


def collate(store: CountStore, rows: Rows, seed: int, step: int = 0) -> CountBatch:
    """The given rows of a store as a batch."""
    x, index = torch.from_numpy(store.counts[rows]).float(), torch.from_numpy(rows)
    labels = torch.from_numpy(store.labels[rows])
    return CountBatch(x, x, index, labels, KeyedNoise(seed, step, index))


def keys_of(batch: CountBatch) -> Signed:
    """(B,): hashes of the content of each row."""
    values = batch.targets.long().numpy()
    return hash_content(values.reshape(-1), np.full(len(values), values.shape[1]))


def evaluation_batches(store: CountStore, batch_size: int, examples: int | None) -> Iterator[CountBatch]:
    """All rows in order, or the first `examples`."""
    rows = np.arange(len(store))[:examples]
    for start in range(0, len(rows), batch_size):
        yield collate(store, rows[start : start + batch_size], EVALUATION_SEED)


class CountBatchSource(EpochBatchSource[CountData]):
    """Training batches of rows."""

    def valid(self, examples: int, batch_size: int = 64) -> Iterator[CountBatch]:
        return evaluation_batches(self.data.valid, batch_size, examples)

    def _make_batch(self, rows: Rows, step: int, epoch: int) -> Batch:
        return collate(self.data.train, rows, self.seed, step)


def read_rows(path: str, data: CountDataConfig) -> CountStore:
    """A file of numbers: `columns` counts per line, then the labels."""
    table = np.loadtxt(path, ndmin=2)
    labels = table[:, data.columns :].astype(np.float32)
    return CountStore(table[:, : data.columns].astype(np.int64), labels, tuple(data.labels))


def load_data(config: CountRunConfig, codec: CountProcessor | None, how: object = None) -> CountData:
    """The splits: files that the config names, and shares of the training file for the others.

    `how` says how shards of text are prepared; a modality without shards takes no notice of it.
    """
    data = config.data
    whole = read_rows(str(data.train), data)
    held = {name: read_rows(str(path), data) for name, path in heldout_sources(data).items()}
    given = (len(whole), heldout_shares(data, held), data.max_heldout, data.split_seed, _row_keys, "the file")
    parts = heldout_rows(*given, "rows")
    parts["train"] = np.setdiff1d(np.arange(len(whole)), np.concatenate([*parts.values()]))
    stores = {k: CountStore(whole.counts[v], whole.labels[v], whole.label_names) for k, v in parts.items()}
    stores |= held
    stores["train"] = keep_some_labels(stores["train"], data)
    return CountData(
        codec=codec or CountProcessor(data.columns),
        train=stores["train"],
        valid=stores["valid"],
        test=stores.get("test"),
    )


def _row_keys(rows: Rows, seed: int) -> npt.NDArray[Any]:
    drawn: npt.NDArray[Any] = KeyedNoise(seed, 0, torch.from_numpy(rows)).uniform("shares").numpy()
    return drawn


class CountEncoder(Encoder[CountBatch]):
    """A perceptron on log(1 + x)."""

    paper, year = "of the tests", 2026

    def __init__(self, columns: int, hidden: int = 16) -> None:
        super().__init__()
        self.out_dim = hidden
        self.layer = nn.Linear(columns, hidden)

    def forward(self, batch: CountBatch) -> Tensor:
        return torch.tanh(self.layer(batch.source.log1p()))


@dataclass(frozen=True)
class PoissonCounts:
    """p(x|z): independent Poisson counts with these log rates (S, B, W)."""

    log_rates: Tensor
    support: str = "counts"

    def log_prob(self, batch: CountBatch) -> Tensor:
        x = batch.targets
        return (x * self.log_rates - self.log_rates.exp() - torch.lgamma(x + 1)).sum(-1)


class CountDecoder(Decoder[CountBatch]):
    """Log rates, linear in the code."""

    paper, year = "of the tests", 2026

    def __init__(self, columns: int, latent_dim: int, condition: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(latent_dim + condition, columns)

    def forward(self, z: Tensor, c: Tensor | None = None) -> PoissonCounts:
        read = z if c is None else torch.cat([z, c.expand(*z.shape[:-1], -1)], -1)
        return PoissonCounts(self.layer(read))


class CountMetrics:
    """What an evaluation reports about counts besides what it reports about all modalities."""

    def per_target(self, batches: Sequence[CountBatch], iw_nll: Tensor | None) -> dict[str, Any]:
        return {"rows": sum(batch.num_targets for batch in batches)}

    def position_log_probs(self, likelihood: Any, batch: CountBatch) -> Tensor:
        found: Tensor = likelihood.log_prob(batch)[0]
        return found[:, None]

    def position_gains(self, gains: Tensor, batch: CountBatch) -> None: ...

    def summarise_positions(self, parts: Sequence[Any]) -> dict[str, Any]:
        return {}

    def compare_reconstructions(self, batch: CountBatch, codes: Tensor, drawn: Tensor) -> None: ...

    def summarise_reconstructions(self, parts: Sequence[Any]) -> dict[str, Any]:
        return {}

    def sample_metrics(self, n: int, seed: int) -> dict[str, Any]:
        return {}


class CountVAE(PretrainedVAE, library_name="seqvae"):
    """A trained VAE of counts."""

    modality = "counts"

    def decode(self, z: Any) -> Tensor:
        """Expected counts (N, W) of codes (N, D)."""
        found: Any = self.vae.likelihood(self._codes(z)[None])
        rates: Tensor = found.log_rates[0].exp()
        return rates

    def _batches(
        self, examples: Sequence[Any], seed: int, repeats_differ: bool = False
    ) -> Iterator[CountBatch]:
        rows = np.asarray(examples, np.int64)
        store = CountStore(rows, np.zeros((len(rows), 0), np.float32))
        yield from with_keyed_noise([collate(store, np.arange(len(rows)), seed)], keys_of)

    def read_store(self, data: str | Sequence[str], id_column: str | None = None) -> CountStore:
        assert isinstance(data, str)
        assert isinstance(self.run.config, CountRunConfig)
        return read_rows(data, self.run.config.data)

    def store_examples(self, store: CountStore, count: int) -> Any:
        return store.counts[:count]

    def read_inputs(
        self, source: str | Sequence[str], count: int | None, id_column: str | None, note: Note
    ) -> Inputs:
        return Inputs(self.read_store(source).counts[:count])

    def evaluation_inputs(
        self, data: str | Sequence[str] | None, batch_size: int, examples: int | None
    ) -> tuple[str, Sequence[Batch], ModalityMetrics]:
        where, store = self.evaluation_store(data)
        batches = with_keyed_noise(list(evaluation_batches(store, batch_size, examples)), keys_of)
        return where, batches, CountMetrics()


def _load_codec(folder: Path, card: Mapping[str, Any]) -> CountProcessor:
    return CountProcessor(**card)


COUNTS = Modality(
    run_config=CountRunConfig,
    vae_class="counts_modality:CountVAE",
    data_sets={},
    default_data_set="",
    example="row",
    column="counts",
    is_image=False,
    unit="rows",
    attributes=(),
    size_key="",
    remedy_hint="the remedy free_bits {nats: 0.25}",
    encoders={"mlp": CountEncoder},
    decoders={"poisson": CountDecoder},
    load_data=load_data,
    load_codec=_load_codec,
    make_batch_source=CountBatchSource,
    read_examples=lambda codec, words: [json.loads(word) for word in words],
)
