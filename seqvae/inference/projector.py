"""Files that TensorBoard's embedding projector (and projector.tensorflow.org) reads.

Shapes: N examples, D latent dims, C x H x W an image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from seqvae.errors import UserError
from seqvae.inference.inputs import SPLITS, load_inputs, load_store
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.utils.atomic_files import write_atomically

TENSORS, METADATA, CONFIG, SPRITE = "tensors.tsv", "metadata.tsv", "projector_config.pbtxt", "sprite.png"
SPRITE_EDGE = 8192  # pixels: what the projector's page can show
_BREAKS = re.compile(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def write_projector(
    folder: Path, z: Tensor, columns: Mapping[str, Sequence[Any]], images: npt.NDArray[np.uint8] | None = None
) -> list[Path]:
    """Codes (N, D), what is known of each, and perhaps images (N, C, H, W), as files for the projector.

    `tensorboard --logdir FOLDER` shows it; so does projector.tensorflow.org, which is given the two .tsv
    files. A text of several lines becomes one line. With a single column `metadata.tsv` has no header, which
    is the projector's rule.

    Returns:
        The files.

    Raises:
        UserError: columns of other lengths than N, or more images than fit into one sprite.
    """
    for name, values in columns.items():
        if len(values) != len(z):
            raise UserError(f"column {name!r} has {len(values)} values for {len(z)} codes")
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(f"{number:.7g}" for number in row) for row in z.tolist()]
    files = {TENSORS: _joined(lines)}
    config = ["embeddings {", f'  tensor_path: "{TENSORS}"']
    if columns:
        head = ["\t".join(map(_cell, columns))] if len(columns) > 1 else []
        rows = ["\t".join(map(_cell, row)) for row in zip(*columns.values(), strict=True)]
        files[METADATA] = _joined(head + rows)
        config.append(f'  metadata_path: "{METADATA}"')
    if images is not None:
        height, width = images.shape[2:]
        sprite = make_sprite(images)
        write_atomically(folder / SPRITE, lambda p: Image.fromarray(sprite).save(p, format="PNG"))
        sizes = f"single_image_dim: {width} single_image_dim: {height}"
        config.append(f'  sprite {{ image_path: "{SPRITE}" {sizes} }}')
    files[CONFIG] = _joined([*config, "}"])
    for name, content in files.items():
        write_atomically(folder / name, lambda p, content=content: p.write_text(content, encoding="utf-8"))  # type: ignore[misc]
    return [folder / name for name in (*files, *([SPRITE] if images is not None else []))]


def make_sprite(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (N, C, H, W) as one square grid, row by row: (G H, G W) or (G H, G W, 3), G = ceil sqrt N.

    Raises:
        UserError: the grid has more than 8,192 pixels per edge.
    """
    n, channels, height, width = images.shape
    grid = math.ceil(math.sqrt(n))
    if grid * max(height, width) > SPRITE_EDGE:
        most = (SPRITE_EDGE // max(height, width)) ** 2
        raise UserError(f"{n:,} images do not fit into one sprite: ask for --examples {most} at most")
    sheet = np.zeros((grid * grid, channels, height, width), np.uint8)
    sheet[:n] = images
    tiled = sheet.reshape(grid, grid, channels, height, width).transpose(0, 3, 1, 4, 2)
    flat = tiled.reshape(grid * height, grid * width, channels)
    return flat[..., 0] if channels == 1 else flat[..., :3]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _BREAKS.sub(" ", str(value))


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def export_codes(
    vae: PretrainedVAE, folder: Path, data: str | Sequence[str] | None = None, examples: int = 5000
) -> list[Path]:
    """Codes of a split or of files as a folder for the projector, with texts or images and all labels.

    Args:
        vae: a run of text or images.
        folder: the folder to make.
        data: train, valid, test or files; by default the test split.
        examples: only the first N.

    Returns:
        The files.

    Raises:
        UserError: as `load_inputs`, a model without a code, or images that do not fit into one sprite.
    """
    own = data is None or (isinstance(data, str) and data in SPLITS and not Path(data).exists())
    names = vae.run.config.data.labels or (vae.embedded_factors if own else ())
    labelled = vae.with_labels(names)
    given = load_inputs(labelled, data, examples)
    z = vae.encode(given.x, condition=given.condition)
    store = load_store(labelled, data)
    columns: dict[str, Sequence[Any]] = {}
    if isinstance(given.x, list):
        columns["text"] = given.x
    for name, column in zip(store.label_names, np.asarray(store.labels[: len(given)]).T, strict=True):
        columns[name] = _named(column, store.categories.get(name, ()))
    images = None if isinstance(given.x, list) else np.asarray(given.x)
    return write_projector(folder, z, columns, images)


def _named(column: npt.NDArray[np.float32], categories: Sequence[str]) -> list[Any]:
    """Labels as people know them: the names of categories, numbers else."""
    if not categories:
        return [float(value) for value in column]
    return ["" if np.isnan(value) else categories[int(value)] for value in column]
