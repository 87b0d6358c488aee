"""Small configs that lessons train, and access to their trained models and data.

Shapes: N examples, C x H x W an image, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqvae.build import modality_of
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.data.synthetic import CORPORA
from seqvae.experiments.lessons.runner import LessonArgs, Runs
from seqvae.inference import ImageVAE, PretrainedVAE, TextVAE, load

KINDS = {"autoencoder": "deterministic", "VAE": "gaussian"}  # {name in lessons: latent}
GRU = {"name": "gru", "embed": 64, "hidden": 128}
IDX = ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte")

Block = Mapping[str, Any]


def picture_config(
    material: LessonArgs,
    data: Block,
    latent: Block,
    remedies: Sequence[Block] = (),
    hidden: Sequence[int] = (256, 256),
    **train: Any,
) -> RunConfig:
    """Config of a two-layer network on the embedded images `data`, or on the user's images.

    Raises:
        UserError: an invalid setting.
    """
    network = {"name": "mlp", "hidden": list(hidden), "activation": "relu"}
    values = {
        "modality": "image",
        "data": dict(data) if material.data is None else _from_files(material.data, data),
        "encoder": network,
        "latent": latent,
        "decoder": {**network, "likelihood": "bernoulli"},
        "remedies": list(remedies),
    }
    return _parse(material, values, {"batch_size": 64, "lr": 2e-3, **train})


def sentence_config(
    material: LessonArgs, latent: Block, remedies: Sequence[Block] = (), **train: Any
) -> RunConfig:
    """Config of a small recurrent network on the embedded sentences.

    Raises:
        UserError: an invalid setting.
    """
    values = {
        "data": {"name": "sentences"},
        "encoder": {**GRU, "pooling": "max"},
        "latent": latent,
        "decoder": GRU,
        "remedies": list(remedies),
    }
    return _parse(material, values, {"batch_size": 64, "lr": 5e-3, **train})


def _parse(material: LessonArgs, values: dict[str, Any], train: Block) -> RunConfig:
    train = {"decay": "cosine", "precision": "fp32", "valid_examples": 500, **train, "seed": material.seed}
    return parse_config({**values, "train": train}, material.sets, where="lesson")


def _from_files(source: str, data: Block) -> dict[str, Any]:
    """The data block `data` for images from files, whose label is `label`."""
    files = [Path(source) / name for name in IDX if (Path(source) / name).is_file()]
    kept = {key: value for key, value in data.items() if key != "name"}
    labels = {"labels": ["label"]} if data.get("labels") else {}
    return {**kept, **labels, "train": str(files[0]) if files else source}


def picture_models(runs: Runs) -> dict[str, ImageVAE]:
    """The trained image models by name."""
    return {name: vae for name, vae in _models(runs).items() if isinstance(vae, ImageVAE)}


def sentence_models(runs: Runs) -> dict[str, TextVAE]:
    """The trained text models by name."""
    return {name: vae for name, vae in _models(runs).items() if isinstance(vae, TextVAE)}


def _models(runs: Runs) -> dict[str, PretrainedVAE]:
    return {name: load(run) for name, run in runs.items()}


def pictures(vae: ImageVAE, split: str, n: int | None = None) -> tuple[Any, Tensor]:
    """The first `n` images (N, C, H, W) in [0, 1] of a split, with their labels (N, L)."""
    data: Any = modality_of(vae.config).load_data(vae.config, vae.codec)
    store = data.splits.get(split, data.valid)
    return torch.from_numpy(store.pixels[:n].copy()).float() / 255, torch.from_numpy(store.labels[:n].copy())


def sentences(split: str, n: int, label: str | None = None) -> tuple[list[str], Tensor]:
    """The first `n` embedded sentences of a split, with a label (N,)."""
    corpus = CORPORA["sentences"]
    found = list(islice(corpus.examples(split), n))
    place = 0 if label is None else list(corpus.factors).index(label)
    return [text for text, _ in found], torch.tensor([values[place] for _, values in found])
