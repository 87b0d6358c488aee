"""Shows what a corpus of many shards costs: lines prepared, kept, fetched and trained on, and peak memory.

python scripts/large_corpus.py --sentences 10000000 --shards 40
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

MIXED = 2  # shards that are read together
BATCH = 500  # sentences of an update
WORDS = 8000  # of four letters
PAPER = 100_000_000  # sentences of the last column


def config(folder: Path, updates: int, gigabytes: float | None) -> Any:
    """A tiny model of all lines, whose shards are kept in a folder and cached in another one."""
    from seqvae.config.loading import parse_config

    small: dict[str, Any] = {"name": "gru", "embed": 16, "hidden": 16}
    data = {"train": str(folder / "lines" / "*.txt"), "shard_mb": 1, "mix_shards": MIXED, "max_tokens": 20}
    data |= {"store": str(folder / "kept"), "cache_gb": gigabytes}
    train = {"steps": updates, "batch_size": BATCH, "log_every": 100, "valid_examples": 500, "threads": 1}
    train |= {"validate_every": updates}
    values = {"data": data, "encoder": small, "decoder": small, "latent": {"name": "gaussian", "dim": 4}}
    return parse_config({**values, "train": train})


def write(folder: Path, sentences: int, shards: int) -> None:
    """Random lines of 4 to 20 words by Zipf's law, in files of as many lines."""
    import numpy as np

    (folder / "lines").mkdir()
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    codes = np.arange(WORDS)[:, None] // 26 ** np.arange(4) % 26
    table = np.concatenate([letters[codes], np.full((WORDS, 1), ord(" "), np.uint8)], axis=1)
    chances = 1 / np.arange(1, WORDS + 1)
    ends = np.cumsum(chances / chances.sum())
    for shard in range(shards):
        random = np.random.default_rng([0, shard])
        counts = random.multinomial(sentences // shards, [1 / 17] * 17)
        with (folder / "lines" / f"part-{shard:05d}.txt").open("wb") as file:
            for length, lines in enumerate(counts.tolist(), 4):
                ids = np.searchsorted(ends, random.random((lines, length))).clip(max=WORDS - 1)
                text = table[ids].reshape(lines, -1)  # four letters and a space per word
                text[:, -1] = ord("\n")
                file.write(text.tobytes())


def prepare(folder: Path, updates: int, gigabytes: float | None) -> dict[str, float]:
    """The shards become stores, in this process; what they take."""
    from seqvae.build import modality_of

    made = config(folder, updates, None)
    data: Any = modality_of(made).load_data(made, None)
    return {"sentences": len(data.train), "tokens": data.train.counts.tokens, **data.train.extent}


def train(folder: Path, updates: int, gigabytes: float | None) -> dict[str, float]:
    """Updates by a process that begins with an empty, bounded cache; how many shards it fetched."""
    from seqvae.data.text.shard_storage import ShardStorage
    from seqvae.training.loop import train

    fetched: list[str] = []
    fetch = ShardStorage._fetch

    def counted(self: ShardStorage, name: str, into: Path) -> None:
        fetched.append(name)
        fetch(self, name, into)

    ShardStorage._fetch = counted  # type: ignore[method-assign]
    began = time.time()
    train(config(folder, updates, gigabytes), folder / "run")
    return {"updates_s": time.time() - began, "fetched": len(fetched)}


def apart(step: str, folder: Path, updates: int, gigabytes: float | None = None) -> dict[str, float]:
    """A step in a process of its own: what it found, its seconds and its peak memory."""
    words = [sys.executable, __file__, "--one", json.dumps([step, str(folder), updates, gigabytes])]
    began = time.time()
    found = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    return {**json.loads(found.splitlines()[-1]), "s": time.time() - began}


def one(step: str, folder: str, updates: int, gigabytes: float | None) -> dict[str, float]:
    """A step in this process."""
    import torch

    from seqvae.benchmarks.clock import peak_mb

    began = time.process_time()
    found = {"prepare": prepare, "train": train}[step](Path(folder), updates, gigabytes)
    used = time.process_time() - began
    return {**found, "cpu_s": used, "peak_mb": peak_mb(torch.device("cpu"))}


def measure(folder: Path, sentences: int, shards: int, updates: int) -> dict[str, float]:
    """Everything about one corpus."""
    from seqvae.data.text.batching import BLOCK

    os.environ["SEQVAE_CACHE"] = str(folder / "first")
    write(folder, sentences, shards)
    text = sum(file.stat().st_size for file in (folder / "lines").iterdir())
    first = apart("prepare", folder, updates)
    os.environ["SEQVAE_CACHE"] = str(folder / "second")  # a machine that has none of it
    inside = -(-BLOCK * shards // int(first["sentences"]))  # shards that a block of sentences spans
    limit = 1.01 * min(shards, 2 * MIXED + inside - 1) * first["bytes"] / shards
    second = apart("train", folder, updates, limit / 1e9)
    held = [p for p in (folder / "second" / "shards").iterdir() if not p.name.startswith(".")]
    return {
        "sentences": sentences,
        "shards": shards,
        "text_bytes": text / sentences,
        "stored_bytes": first["bytes"] / first["sentences"],
        "tokens": first["tokens"] / first["sentences"],
        "prepare_s": first["s"],
        "prepare_cpu_s": first["cpu_s"],
        "shard_cpu_s": first["cpu_s"] / shards,
        "prepare_mb": first["peak_mb"],
        "updates": updates,
        "train_s": second["updates_s"],
        "train_cpu_s": second["cpu_s"],
        "train_mb": second["peak_mb"],
        "fetched": second["fetched"],
        "limit_mb": limit / 1e6,
        "held_mb": sum(f.stat().st_size for p in held for f in p.iterdir()) / 1e6,
        "paper_shards": PAPER * shards / sentences,
        "paper_gb": PAPER * first["bytes"] / first["sentences"] / 1e9,
        "paper_cpu_h": PAPER / sentences * first["cpu_s"] / 3600,
    }


def main(
    sentences: Annotated[int, typer.Option(help="Made-up lines.")] = 10_000_000,
    shards: Annotated[int, typer.Option(help="Files of these lines.")] = 40,
    updates: Annotated[int, typer.Option(help="Training steps.")] = 1000,
    folder: Annotated[Path | None, typer.Option(help="Where files go, 250 bytes a line.")] = None,
    one_: Annotated[str | None, typer.Option("--one", hidden=True)] = None,
) -> None:
    """Print one JSON object: bytes per sentence, seconds, peak MB; and 10^8 lines from the cost per shard."""
    if one_:
        step, where, count, gigabytes = json.loads(one_)
        print(json.dumps(one(step, where, count, gigabytes)))
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        print(json.dumps(measure(Path(made), sentences, shards, updates), indent=2))


if __name__ == "__main__":
    typer.run(main)
