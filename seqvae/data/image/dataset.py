"""From a data block of a config to pictures: what a source holds, its splits and its labels."""

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
    """The pictures of a run, and the codec that makes batches of them."""

    codec: ImageProcessor

    @cached_property
    def fingerprint(self) -> str:
        """The content of the training split and how it is read."""
        return f"{self.train.fingerprint}-{self.codec.fingerprint[:8]}"

    def report(self) -> list[str]:
        """What became of the data: a line for each split, the values, the labels and the binarisation."""
        lines = [f"{name}: {describe(store)}" for name, store in self.splits.items()]
        lines += [f"pixels: {self.train.levels}; binarisation: {self.codec.protocol}"]
        return [*lines, f"labels: {', '.join(self.labels)}"] if self.labels else lines

    def collapse_cause(self) -> str | None:
        """Pictures that are all the same."""
        return "all validation pictures are the same: check the data" if same_pictures(self.valid) else None


def same_pictures(store: ImageStore) -> bool:
    """Whether all pictures of a store are one and the same."""
    return all(bool((part == store.pixels[:1]).all()) for part in iter_chunks(store.pixels))


def describe(store: ImageStore) -> str:
    """What became of one source, in plain words."""
    channels, height, width = store.pixels.shape[1:]
    words = [f"{len(store):,} pictures of {height} x {width} x {channels}"]
    if store.left_out:
        words += [f"{len(store.left_out):,} broken ones left out ({store.left_out[0]} for one)"]
    for name, column in zip(store.label_names, store.labels.T, strict=True):
        missing = int(np.isnan(column).sum())
        why = f" ({store.lost[name]})" if name in store.lost else ""
        words += [f"{missing:,} without {name}{why}"] if missing else []
    return ", ".join(words)


def load_data(data: ImageDataConfig, trained: ImageProcessor | None = None) -> ImageData:
    """The splits as stores of pixels; fixed binarisation is drawn here, stochastic in every batch.

    `trained` is the codec of a run whose data these are: they have the channels that it has.

    Raises:
        UserError: whatever is wrong with the files or the labels.
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
    """One other source, or several, read as `data` says; a label that it does not have is missing (NaN).

    `categories` are those of training, without names for labels that are numbers. Binarisation is keyed by
    what a picture holds, not by its place here.

    Raises:
        UserError: whatever is wrong with the source, or pictures of another shape.
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
    """Files that were given, parts that the source brings, or shares of its pictures."""
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
    """Uniform numbers (N,) keyed by the rows: the smallest are set aside."""
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
    """Some of the pictures; a run from the first stays mapped, others are copied."""
    some = slice(0, len(rows)) if len(rows) and rows[-1] == len(rows) - 1 else rows
    return replace(store, pixels=store.pixels[some], labels=store.labels[rows], places=store.places[rows])


def _prepare(store: ImageStore, codec: ImageProcessor, where: str) -> ImageStore:
    """Of the shape that the model reads, and binarised where that is done once for all."""
    channels, height, width = store.pixels.shape[1:]
    if (channels, height, width) != codec.shape:
        raise UserError(
            f"{where} holds pictures of {height} x {width} x {channels}, the model reads {codec}: "
            "give others, or train with data.size and data.channels set"
        )
    if codec.binarize != "fixed":
        return store
    return replace(store, pixels=binarize_fixed(store.pixels, store.noise_keys, codec.binarize_seed))
