"""Image data sets: splits with pixels and labels, from a config's data block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from seqvae.config.registry import lookup
from seqvae.config.schema import ImageDataConfig
from seqvae.data.image.batching import keys_of
from seqvae.data.image.binarize import binarize_fixed
from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.columns import Column
from seqvae.data.image.image_store import ImageStore, iter_chunks
from seqvae.data.image.labels import align_labels
from seqvae.data.image.pixels import ImageSpec, with_channels
from seqvae.data.image.readers import RawImages, ReadOptions, find_heldout_source, load_source
from seqvae.data.input_files import in_words, regular_files
from seqvae.data.labels import Categories
from seqvae.data.splits import (
    PARTS,
    Rows,
    SplitData,
    heldout_rows,
    heldout_shares,
    heldout_sources,
    keep_some_labels,
    require_one_source,
)
from seqvae.data.synthetic import PICTURES, PictureSet
from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise

DEFAULT_PICTURES = "blob"


@dataclass(frozen=True, kw_only=True)
class ImageData(SplitData[ImageStore]):
    """The splits of a run's images, and their processor."""

    codec: ImageProcessor

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the training split and the processor."""
        return f"{self.train.fingerprint}-{self.codec.fingerprint[:8]}"

    def report(self) -> list[str]:
        """Summary lines: one per split, then pixel values, labels and binarisation."""
        lines = [f"{name}: {describe(store)}" for name, store in self.splits.items()]
        lines += [f"pixels: {self.train.levels}; binarisation: {self.codec.protocol}"]
        return [*lines, f"labels: {', '.join(self.labels)}"] if self.labels else lines

    def collapse_cause(self) -> str | None:
        """A message if all validation images are equal, since then every code collapses."""
        return "all validation pictures are the same: check the data" if same_pictures(self.valid) else None


def same_pictures(store: ImageStore) -> bool:
    """Whether all images of a store are equal."""
    return all(bool((part == store.pixels[:1]).all()) for part in iter_chunks(store.pixels))


def describe(store: ImageStore) -> str:
    """Summary of one split in one line."""
    channels, height, width = store.pixels.shape[1:]
    words = [f"{len(store):,} pictures of {height} x {width} x {channels}"]
    if store.left_out:
        words += [f"{len(store.left_out):,} broken ones left out ({store.left_out[0]} for one)"]
    for name, column in zip(store.label_names, store.labels.T, strict=True):
        missing, lost = int(np.isnan(column).sum()), store.lost.get(name)
        known = lost is not None and lost.count == missing  # not of a part, or with labels taken away
        words += (
            [lost.words(name) if lost and known else f"{missing:,} without label {name!r}"] if missing else []
        )
    return ", ".join(words)


def load_data(data: ImageDataConfig, trained: ImageProcessor | None = None) -> ImageData:
    """Load the splits; fixed binarisation is sampled here, stochastic binarisation in every batch.

    `trained` is the processor of an existing run, whose number of channels is used.

    Raises:
        UserError: any problem with the files or the labels.
    """
    require_one_source(data)
    stores = _file_stores(data, data.train) if data.train else _embedded_stores(data)
    if trained is not None:
        stores = {
            name: replace(store, pixels=with_channels(store.pixels, trained.channels))
            for name, store in stores.items()
        }
    if data.examples is not None:
        stores["train"] = _take_rows(stores["train"], np.arange(min(data.examples, len(stores["train"]))))
    stores["train"] = keep_some_labels(stores["train"], data)
    channels, height, width = stores["train"].pixels.shape[1:]
    bits = stores["train"].bits
    codec = ImageProcessor(channels, height, width, data.binarize, data.binarize_seed, bits)
    ready = {name: _prepare(store, codec, name) for name, store in stores.items()}
    return ImageData(codec=codec, train=ready["train"], valid=ready["valid"], test=ready.get("test"))


def load_examples(
    source: str | Sequence[str],
    codec: ImageProcessor,
    data: ImageDataConfig,
    categories: Categories | None = None,
    id_column: str | None = None,
) -> ImageStore:
    """Load other sources with the settings of `data`; labels that they lack are missing (NaN).

    `categories` are those of training, with no names for labels that are numbers. Binarisation is keyed by
    content, not by position.

    Raises:
        UserError: any problem with the source, or images of another shape.
    """
    source = regular_files(source)
    loaded = load_source(source, _read_options(data, id_column, codec.bits))
    store = align_labels(loaded, data.labels, categories or None, None, data.label_columns)
    return _prepare(replace(store, keys=keys_of(store.pixels)), codec, in_words(source))


def _read_options(
    data: ImageDataConfig, id_column: str | None = None, bits: bool | None = None
) -> ReadOptions:
    size = (data.size[0], data.size[1]) if data.size else None
    columns = tuple(data.label_columns.get(name, name) for name in data.labels)
    return ReadOptions(
        ImageSpec(size, data.channels, bits),
        data.image_column,
        data.on_bad_image == "skip",
        id_column,
        columns,
    )


def _file_stores(data: ImageDataConfig, source: str | Sequence[str]) -> dict[str, ImageStore]:
    """Splits from the given files, the source's own splits, or held-out parts of its images."""
    how = _read_options(data)
    whole = align_labels(load_source(source, how), data.labels, None, in_words(source), data.label_columns)
    known = {name: whole.categories.get(name, ()) for name in data.labels}
    files = heldout_sources(data, lambda part: find_heldout_source(source, part))
    how = _read_options(data, bits=whole.bits)
    held = {
        name: align_labels(load_source(path, how), data.labels, known, in_words(path), data.label_columns)
        for name, path in files.items()
    }
    wanted = heldout_shares(data, held)
    if not wanted:
        return {"train": whole, **held}
    given = (len(whole), wanted, data.max_heldout, data.split_seed, draw_rows, in_words(source))
    rows = heldout_rows(*given, "pictures")
    train = np.setdiff1d(np.arange(len(whole)), np.concatenate([*rows.values()]))
    return {name: _take_rows(whole, some) for name, some in {"train": train, **rows}.items()} | held


def draw_rows(rows: Rows, seed: int) -> npt.NDArray[np.float32]:
    """Uniform numbers (N,) keyed by the rows; those with the smallest numbers are held out."""
    drawn: npt.NDArray[np.float32] = KeyedNoise(seed, 0, torch.from_numpy(rows)).uniform("shares").numpy()
    return drawn


def _embedded_stores(data: ImageDataConfig) -> dict[str, ImageStore]:
    name = data.name or DEFAULT_PICTURES
    made = lookup("picture set", PICTURES, name)
    stores = {}
    for part in PARTS:
        given = heldout_sources(data).get(part)
        loaded = load_source(given, _read_options(data)) if given else _render(made, part)
        where = in_words(given) if given else f"picture set {name!r}"
        known = {label: made.categories.get(label, ()) for label in data.labels}
        stores[part] = align_labels(loaded, data.labels, known, where, data.label_columns)
    return stores


def _render(made: PictureSet, part: str) -> RawImages:
    codes = made.codes(part)
    values = made.values(codes).astype(np.float32)
    columns = {
        name: Column(values[:, i], tuple(made.categories.get(name, ())))
        for i, name in enumerate(made.factors)
    }
    return RawImages(made.render(codes), columns, made.places(part), total=len(codes))


def _take_rows(store: ImageStore, rows: Rows) -> ImageStore:
    """A subset of the images; a prefix stays memory-mapped, others are copied."""
    some = slice(0, len(rows)) if len(rows) and rows[-1] == len(rows) - 1 else rows
    return replace(store, pixels=store.pixels[some], labels=store.labels[rows], places=store.places[rows])


def _prepare(store: ImageStore, codec: ImageProcessor, where: str) -> ImageStore:
    """Check the shape, and apply fixed binarisation."""
    channels, height, width = store.pixels.shape[1:]
    if (channels, height, width) != codec.shape:
        raise UserError(
            f"{where} holds pictures of {height} x {width} x {channels}, the model reads {codec}: "
            "give others, or train with data.size and data.channels set"
        )
    if codec.binarize != "fixed":
        return store
    return replace(store, pixels=binarize_fixed(store.pixels, store.noise_keys, codec.binarize_seed))
