"""Benchmark presets: trainers of models on made-up data of the size of the Penn Treebank or MNIST."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from seqvae.config.loading import parse_config
from seqvae.config.registry import lookup
from seqvae.config.schema import ImageRunConfig, RunConfig, TextRunConfig
from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.dataset import ImageData
from seqvae.data.image.dataset import load_data as load_pictures
from seqvae.data.image.image_store import ImageStore
from seqvae.data.splits import Rows
from seqvae.data.text.dataset import TextData, load_data
from seqvae.data.text.token_store import Counts, TokenStore
from seqvae.data.text.tokenizer_training import train_word
from seqvae.errors import UserError
from seqvae.interfaces import Data
from seqvae.runs.run_folder import create_run
from seqvae.training.process import limit_threads
from seqvae.training.trainer import Trainer
from seqvae.utils.malloc import retain_freed_memory
from seqvae.utils.reporter import Silent

SENTENCES, MEAN_LENGTH, SHAPE = 20_000, 21.1, 4.3  # PTB's mean length, shape of its gamma law
WORDS, LONGEST = 10_000, 100
PICTURES, SIDE = 4096, 28  # and pixels
_GRU = {"name": "gru", "embed": 300, "hidden": 256}
_WIDE = {**_GRU, "hidden": 512}
_LARGE = {"name": "gru", "embed": 512, "hidden": 1024}  # of He et al. 2019, there an LSTM, with z 32
_BLOCKS = {"name": "transformer", "width": 512, "layers": 6, "heads": 8}
_CONV = {"name": "conv", "channels": 32, "hidden": 256}


def _preset(cell: Mapping[str, Any], batch_size: int, dim: int = 16, **decoder: Any) -> dict[str, Any]:
    latent = {"name": "gaussian", "dim": dim}
    train = {"batch_size": batch_size, "steps": 10**6}
    return {"encoder": dict(cell), "decoder": {**cell, **decoder}, "latent": latent, "train": train}


PRESETS: dict[str, dict[str, Any]] = {
    "reference": _preset(_GRU, 32, z_to=["state"]),
    "batch128": _preset(_GRU, 128, z_to=["state"]),
    "wide": _preset(_WIDE, 256, z_to=["state"]),
    "lstm": _preset({**_GRU, "name": "lstm"}, 32, z_to=["state"]),
    "gru1024": _preset(_LARGE, 64, dim=32),
    "lstm1024": _preset({**_LARGE, "name": "lstm"}, 32, dim=32),
    "transformer": {**_preset(_BLOCKS, 64), "tokenizer": {"name": "word", "vocab_size": 32_000}},
    "conv": {"modality": "image", **_preset(_CONV, 128, dim=32, likelihood="bernoulli")},
}


def bench_config(preset: str, overrides: Iterable[str] = ()) -> RunConfig:
    """The config of a preset with `key.path=value` overrides.

    Raises:
        UserError: no such preset, or a wrong key or value.
    """
    overrides = list(overrides)
    values = lookup("preset", PRESETS, preset)
    own = values.get("modality", "text")
    if any(o.startswith("modality=") and o != f"modality={own}" for o in overrides):
        raise UserError(f"preset {preset} is of modality {own}: leave modality out of --set")
    return parse_config(values, overrides, where=preset)


def bench_data(config: RunConfig, length: int | None = None) -> Data:
    """The data that the config names, or made-up images or sentences.

    With a `length`, sentences are always made up.
    """
    if isinstance(config, ImageRunConfig):
        return load_pictures(config.data) if config.data.train or config.data.name else made_up_pictures()
    assert isinstance(config, TextRunConfig)
    if length is None and (config.data.train or config.data.name):
        return load_data(config.data, config.tokenizer)
    words = int(config.tokenizer.arguments.get("vocab_size") or WORDS)
    return generate_sentences(words, max(SENTENCES, 4 * config.train.batch_size), length=length)


def generate_sentences(
    words: int, sentences: int = SENTENCES, seed: int = 0, length: int | None = None
) -> TextData:
    """Random sentences in memory: words follow Zipf's law, lengths a gamma distribution.

    With `length`, all have that number of words.
    """
    tokenizer = train_word([" ".join(f"w{i}" for i in range(words - 4))], words)
    train = _store(tokenizer.vocab_size, sentences, seed, length)
    valid = _store(tokenizer.vocab_size, max(1, sentences // 20), seed + 1, length)
    return TextData(tokenizer=tokenizer, train=train, valid=valid)


def made_up_pictures(count: int = PICTURES, seed: int = 0) -> ImageData:
    """Grey noise of MNIST's shape: no timing depends on the content of an image."""
    train, valid = _pictures(count, seed), _pictures(count // 8, seed + 1)
    return ImageData(codec=ImageProcessor(1, SIDE, SIDE), train=train, valid=valid)


def _pictures(count: int, seed: int) -> ImageStore:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 1, SIDE, SIDE), np.uint8)
    return ImageStore(pixels, np.zeros((count, 0), np.float32), (), np.arange(count))


def write_made_up(file: Path, words: int, sentences: int, seed: int = 0) -> None:
    """Write the sentences of `generate_sentences` as text, one per line, in words w0, w1, ..."""
    flat, offsets = _words(words, sentences, seed, None)
    with file.open("w", encoding="utf-8") as lines:
        for start, end in pairwise(offsets.tolist()):
            lines.write(" ".join(f"w{word - 4}" for word in flat[start:end].tolist()) + "\n")


def _words(vocab_size: int, sentences: int, seed: int, length: int | None) -> tuple[Rows, Rows]:
    """Ids (M,), of which 4 are special tokens, and where sentences start (N + 1,)."""
    random = np.random.default_rng([seed, vocab_size])
    lengths = random.gamma(SHAPE, MEAN_LENGTH / SHAPE, sentences).round().clip(1, LONGEST).astype(np.int64)
    lengths = lengths if length is None else np.full_like(lengths, length)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    chances = 1 / np.arange(1, vocab_size - 3)
    cumulative = np.cumsum(chances / chances.sum())
    ids = 4 + np.searchsorted(cumulative, random.random(int(offsets[-1])))
    return ids.clip(max=vocab_size - 1), offsets


def _store(vocab_size: int, sentences: int, seed: int, length: int | None) -> TokenStore:
    flat, offsets = _words(vocab_size, sentences, seed, length)
    counts = Counts(kept=sentences, tokens=len(flat))
    characters, labels = np.zeros(sentences, np.int32), np.zeros((sentences, 0), np.float32)
    return TokenStore(Path("made-up"), counts, (), {}, flat.astype(np.int32), offsets, characters, labels)


def bench_trainer(config: RunConfig, data: Data, folder: Path) -> Trainer:
    """A trainer at its first step, its run folder in `folder`."""
    create_run(folder, config, data.codec)
    return Trainer(folder, config, data, Silent())


@contextmanager
def preset_trainer(
    preset: str, overrides: Iterable[str] = (), length: int | None = None
) -> Iterator[Trainer]:
    """A trainer of a preset at its first step, with the threads that its config asks for.

    With a `length`, all sentences have that number of words.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    config = bench_config(preset, overrides)
    with (
        limit_threads(config.train.threads),
        tempfile.TemporaryDirectory() as folder,
        retain_freed_memory(),
    ):
        yield bench_trainer(config, bench_data(config, length), Path(folder) / "run")


def overrides_by_preset(presets: Iterable[str], overrides: Iterable[str]) -> dict[str, list[str]]:
    """The overrides of each preset, without encoder or decoder arguments that only others have."""
    overrides = list(overrides)
    known = {preset: _arguments(preset) for preset in presets}
    others = {key for keys in known.values() for key in keys}
    return {
        preset: [o for o in overrides if (key := o.partition("=")[0]) in keys or key not in others]
        for preset, keys in known.items()
    }


def _arguments(preset: str) -> set[str]:
    values = lookup("preset", PRESETS, preset)
    return {f"{part}.{key}" for part in ("encoder", "decoder") for key in values[part]}
