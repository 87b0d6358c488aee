"""One source of pictures of any kind, read whole: idx files, arrays, folders, `datasets`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqvae.data.hub import find_heldout_split, is_saved, load_split
from seqvae.data.image import hub
from seqvae.data.image.file_decoding import DecodedImages, EncodedImage, decode_images
from seqvae.data.image.idx import LABELS, PICTURES, find_label_file, find_test_file, read_idx
from seqvae.data.image.npz import read_npy, read_npz
from seqvae.data.image.pixels import ImageSpec, to_pixels
from seqvae.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?(@[\w.-]+)?")
_FILES = (*SUFFIXES, ".npy", ".npz", ".gz")


AS_IT_IS = ImageSpec()


class LabelColumn(NamedTuple):
    """A label of N pictures: numbers (NaN is missing), or places in `names`."""

    values: npt.NDArray[np.float32]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawImages:
    """Pictures (N, C, H, W) uint8 with all labels they came with, and where in the source each stood."""

    pixels: npt.NDArray[Any]
    labels: dict[str, LabelColumn]
    places: npt.NDArray[np.int64]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """How a source is to be read."""

    form: ImageSpec = AS_IT_IS
    column: str = "image"  # of a data set
    skip_broken: bool = False


def load_source(source: str, how: ReadOptions, split: str = "train") -> RawImages:
    """All pictures of a source, with every label that it has.

    An idx, `.npy` or `.npz` file; a folder of pictures, whose label `folder` is the folder that each lies in;
    a folder that `datasets` saved or a Hub id, either with `@split`.

    Raises:
        UserError: no such source, nothing in it, damaged, or not of one size.
    """
    path = locate(source)
    if path is None or is_saved(path):
        return _dataset(source, path, how, split)
    if path.is_dir():
        return _folder(path, how)
    if path.suffix == ".npy":
        return _whole(to_pixels(read_npy(path), how.form, source), {})
    if path.suffix == ".npz":
        pictures, columns = read_npz(path)
        labels = {name: LabelColumn(values.astype(np.float32)) for name, values in columns.items()}
        return _whole(to_pixels(pictures, how.form, source), labels)
    if path.suffix.lower() in SUFFIXES:
        raise UserError(f"{source} is one picture: give the folder that it lies in")
    return _idx(path, how.form)


def find_heldout_source(source: str, part: str) -> str | None:
    """The validation or test part (`valid` or `test`) that a source brings: a split, or MNIST's t10k file."""
    path = locate(source)
    if path is None or is_saved(path):
        return find_heldout_split(source, path, part)
    beside = find_test_file(path) if part == "test" and path.is_file() else None
    return str(beside) if beside else None


def locate(source: str) -> Path | None:
    """The path of a source on this machine (`@split` aside), None for a Hub id.

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


def _whole(pixels: npt.NDArray[Any], labels: dict[str, LabelColumn]) -> RawImages:
    return RawImages(pixels, labels, np.arange(len(pixels)))


def _idx(path: Path, form: ImageSpec) -> RawImages:
    pixels = to_pixels(read_idx(path, PICTURES), form, str(path))
    beside = find_label_file(path)
    if beside is None:
        return _whole(pixels, {})
    labels = read_idx(beside, LABELS).astype(np.float32)
    if len(labels) != len(pixels):
        raise UserError(
            f"{beside} labels {len(labels):,} pictures, {path.name} has {len(pixels):,}: give its own"
        )
    return _whole(pixels, {"label": LabelColumn(labels)})


def _folder(root: Path, how: ReadOptions) -> RawImages:
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    files = [path for path in files if not path.name.startswith(".")]
    if not files:
        raise UserError(
            f"{root} holds no pictures: give a folder of {', '.join(SUFFIXES[:4])} or other files"
        )
    pictures = (EncodedImage(str(path), lambda path=path: _open_image(path)) for path in files)  # type: ignore[misc]
    stats = ((path.relative_to(root), path.stat()) for path in files)
    key = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    found = decode_images(pictures, len(files), how.form, how.skip_broken, ("folder", root.resolve(), *key))
    homes = ["" if files[i].parent == root else files[i].parent.name for i in found.rows]
    names = tuple(sorted(set(homes) - {""}))
    values = [names.index(home) if home else np.nan for home in homes]
    labels = {"folder": LabelColumn(np.array(values, np.float32), names)} if names else {}
    return RawImages(found.pixels, labels, found.rows, found.broken)


def _open_image(path: Path) -> Any:
    from PIL import Image

    picture = Image.open(path)
    picture.load()  # now: a file cut short shows only here
    return picture


def _dataset(source: str, path: Path | None, how: ReadOptions, split: str) -> RawImages:
    dataset = load_split(source, path, split)
    pictures = hub.iter_images(dataset, how.column, source)
    key = ("dataset", dataset._fingerprint, how.column)
    found: DecodedImages = decode_images(pictures, len(dataset), how.form, how.skip_broken, key)
    labels = {
        name: LabelColumn(*column) for name, column in hub.read_label_columns(dataset, found.rows).items()
    }
    return RawImages(found.pixels, labels, found.rows, found.broken)
