"""Reading of image sources: idx files, arrays, folders, and data sets of `datasets`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seqvae.data.content import remembered_hash
from seqvae.data.hub import find_heldout_split, is_saved, load_split
from seqvae.data.image import hub
from seqvae.data.image.columns import Column, array_column, join_columns, names_column
from seqvae.data.image.file_decoding import DecodedImages, EncodedImage, decode_images
from seqvae.data.image.idx import LABELS, PICTURES, find_label_file, find_test_file, read_idx
from seqvae.data.image.npz import is_npy, read_npy, read_npz
from seqvae.data.image.pixels import ImageSpec, are_bits, to_pixels
from seqvae.data.input_files import expand, suffix
from seqvae.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?(@[\w.-]+)?")
_FILES = (*SUFFIXES, ".npy", ".npz", ".gz")


UNCHANGED = ImageSpec()


@dataclass(frozen=True)
class RawImages:
    """Images (N, C, H, W) uint8 with all their labels, and the position of each in the source.

    The source has `total` rows; `broken` names those that are not readable images, and `ids` holds the id of
    each row, if the source has ids.
    """

    pixels: npt.NDArray[Any]
    labels: dict[str, Column]
    places: npt.NDArray[np.int64]
    broken: tuple[str, ...] = ()
    total: int = 0
    ids: tuple[Any, ...] | None = None
    bits: bool | None = None  # whether integers were read as zeros and ones


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read."""

    form: ImageSpec = UNCHANGED
    column: str = "image"  # of a data set
    skip_broken: bool = False
    id_column: str | None = None  # of a data set
    labels: tuple[str, ...] = ()  # columns to read even if they hold strings


def load_source(source: str | Sequence[str], how: ReadOptions, split: str = "train") -> RawImages:
    """Read all images of a source, or of several (concatenated), with all their labels.

    A source is an image file; an idx (also packed), `.npy` or `.npz` file; a folder of images, whose label
    `folder` is the folder of each; a folder saved by `datasets` or a Hub id, both with optional `@split`; or
    a glob.

    Raises:
        UserError: no such source, an empty or damaged one, or images of different sizes.
    """
    sources = expand(source)
    if all(suffix(one) in SUFFIXES and Path(one).is_file() for one in sources):
        return _files([Path(one) for one in sources], None, how)
    found = [_load(one, how, split) for one in sources]
    return found[0] if len(found) == 1 else concat_sources(found, sources)


def _load(source: str, how: ReadOptions, split: str) -> RawImages:
    path = locate(source)
    if path is None or is_saved(path):
        return _dataset(source, path, how, split)
    if how.id_column is not None:
        raise UserError(f"{source} has no columns: --id-column {how.id_column} needs a data set")
    if path.is_dir():
        return _folder(path, how)
    if suffix(path) in SUFFIXES:
        return _files([path], None, how)
    if path.suffix == ".npz":
        pictures, columns = read_npz(path)
        labels = {name: array_column(values) for name, values in columns.items()}
        return _whole(pictures, how.form, source, labels)
    if is_npy(path):
        return _whole(read_npy(path), how.form, source, {})
    return _idx(path, how.form)


def find_heldout_source(source: str | Sequence[str], part: str) -> str | None:
    """The source's own validation or test split (`valid` or `test`), or MNIST's t10k file; or None."""
    sources = expand(source)
    if len(sources) != 1:
        return None
    source = sources[0]
    path = locate(source)
    if path is None or is_saved(path):
        return find_heldout_split(source, path, part)
    beside = find_test_file(path) if part == "test" and path.is_file() else None
    return str(beside) if beside else None


def locate(source: str) -> Path | None:
    """The local path of a source without `@split`, or None for a Hub id.

    Raises:
        UserError: neither.
    """
    if source and Path(source).exists():
        return Path(source)
    folder, _, _ = source.rpartition("@")
    if folder and Path(folder).is_dir():
        return Path(folder)
    if _HUB_ID.fullmatch(source) and Path(source).suffix.lower() not in _FILES:
        return None
    raise UserError(
        f"no pictures at {source!r}: give an idx, .npy or .npz file, a folder of pictures, or a Hub id"
    )


def _whole(array: npt.NDArray[Any], form: ImageSpec, where: str, labels: dict[str, Column]) -> RawImages:
    pixels, bits = to_pixels(array, form, where), are_bits(array)
    return RawImages(pixels, labels, np.arange(len(pixels)), total=len(pixels), bits=bits)


def _idx(path: Path, form: ImageSpec) -> RawImages:
    pixels, beside = read_idx(path, PICTURES), find_label_file(path)
    if beside is None:
        return _whole(pixels, form, str(path), {})
    labels = read_idx(beside, LABELS).astype(np.float32)
    if len(labels) != len(pixels):
        raise UserError(
            f"{beside} labels {len(labels):,} pictures, {path.name} has {len(pixels):,}: give its own"
        )
    return _whole(pixels, form, str(path), {"label": Column(labels)})


def _folder(root: Path, how: ReadOptions) -> RawImages:
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    files = [path for path in files if not path.name.startswith(".")]
    if not files:
        raise UserError(
            f"{root} holds no pictures: give a folder of {', '.join(SUFFIXES[:4])} or other files"
        )
    return _files(files, root, how)


def _files(files: list[Path], root: Path | None, how: ReadOptions) -> RawImages:
    """Read image files; those under `root` are labelled by their folder."""
    pictures = (EncodedImage(str(path), lambda path=path: _open_image(path)) for path in files)  # type: ignore[misc]
    names = [str(path if root is None else path.relative_to(root)) for path in files]
    key = [f"{name} {remembered_hash(path)}" for name, path in zip(names, files, strict=True)]
    found = decode_images(pictures, len(files), how.form, how.skip_broken, ("files", *key))
    labels = {}
    if root is not None and (homes := [home if home != root else None for home in (p.parent for p in files)]):
        folders = [None if homes[i] is None else files[i].parent.name for i in found.rows]
        labels = {"folder": names_column(folders)} if any(folders) else {}
    return RawImages(found.pixels, labels, found.rows, found.broken, len(files), tuple(names))


def _open_image(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()  # reads now, so that a truncated file fails here
        return picture.copy()


def _dataset(source: str, path: Path | None, how: ReadOptions, split: str) -> RawImages:
    dataset = load_split(source, path, split)
    pictures = hub.iter_images(dataset, how.column, source)
    key = ("dataset", dataset._fingerprint, how.column)
    found: DecodedImages = decode_images(pictures, len(dataset), how.form, how.skip_broken, key)
    labels = hub.read_label_columns(dataset, found.rows, how.labels)
    ids = None if how.id_column is None else hub.column_values(dataset, how.id_column, source)
    return RawImages(found.pixels, labels, found.rows, found.broken, len(dataset), ids)


def concat_sources(parts: Sequence[RawImages], sources: Sequence[str]) -> RawImages:
    """Concatenate sources; a label that a source lacks is missing there.

    Raises:
        UserError: images of different shapes.
    """
    first = parts[0].pixels.shape[1:]
    for part, source in zip(parts, sources, strict=True):
        if part.pixels.shape[1:] != first:
            shapes = [" x ".join(map(str, shape)) for shape in (first, part.pixels.shape[1:])]
            raise UserError(
                f"{sources[0]} has pictures of {shapes[0]} and {source} of {shapes[1]}: give data.size and "
                "data.channels for all"
            )
    starts = np.cumsum([0, *(part.total for part in parts)])
    names = dict.fromkeys(name for part in parts for name in part.labels)
    sizes = [len(part.pixels) for part in parts]
    labels = {name: join_columns([part.labels.get(name) for part in parts], sizes) for name in names}
    ids = None
    if all(part.ids is not None for part in parts):
        ids = tuple(each for part in parts for each in part.ids or ())
    return RawImages(
        np.concatenate([part.pixels for part in parts]),
        labels,
        np.concatenate([part.places + start for part, start in zip(parts, starts, strict=False)]),
        tuple(name for part in parts for name in part.broken),
        int(starts[-1]),
        ids,
        parts[0].bits,
    )
