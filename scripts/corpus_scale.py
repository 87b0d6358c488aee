"""Shows what a large corpus costs: its preparation, a start once it is cached, and memory.

python scripts/corpus_scale.py --sentences 10000 --sentences 1000000 --sentences 10000000
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

Sizes = Annotated[list[int], typer.Option(help="A size of the corpus; give it again for more.")]
SIZES = [10_000, 100_000, 1_000_000]
SECONDS = ("data_s", "step_s", "step_cpu_s")  # shown with two places
COLUMNS = {
    "sentences": "sentences",
    "text_mb": "text, MB",
    "prepared_s": "prepared in, s",
    "prepared_cpu_s": "CPU, s",
    "prepared_per_cpu_s": "sentences/CPU s",
    "first_mb": "peak, MB",
    "data_s": "cached: data, s",
    "step_s": "first step, s",
    "step_cpu_s": "CPU, s",
    "again_mb": "peak, MB",
}


class Clock:
    """A reporter that notes when the data were there and when the first step was done."""

    def __init__(self) -> None:
        self.began, self.cpu = time.time(), time.process_time()
        self.seen: dict[str, float] = {}

    def note(self, text: str) -> None:
        """The first note is about the data."""
        self.seen.setdefault("data_s", time.time() - self.began)
        self.seen.setdefault("data_cpu_s", time.process_time() - self.cpu)

    def advance(self, done: int, total: int, what: str) -> None:
        """Called after every step."""
        self.seen.setdefault("step", time.time())
        self.seen.setdefault("step_cpu_s", time.process_time())

    def warn(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def one(corpus: Path, run: Path, steps: int, began: float) -> dict[str, float]:
    """Train `steps` steps in this process, which began at `began`; seconds and peak MB."""
    import torch

    from seqvae.benchmarks.clock import peak_mb
    from seqvae.config.loading import parse_config
    from seqvae.training.loop import train

    values = {"data": {"train": str(corpus)}, "tokenizer": {"name": "word"}}
    values |= {"train": {"steps": steps, "log_every": 1, "valid_examples": 200}}
    small: dict[str, Any] = {"name": "gru", "embed": 64, "hidden": 64}
    values |= {"encoder": small, "latent": {"name": "gaussian", "dim": 16}, "decoder": small}
    clock = Clock()
    train(parse_config(values), run, clock)
    return {**clock.seen, "step_s": clock.seen["step"] - began, "mb": peak_mb(torch.device("cpu"))}


def apart(*arguments: object) -> dict[str, float]:
    """`one` in a process of its own."""
    words = [sys.executable, __file__, "--one", json.dumps([*map(str, arguments), time.time()])]
    found = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(found.stdout))


def row(sentences: int, steps: int, folder: Path) -> dict[str, float]:
    """What a corpus of that size costs, first and again."""
    from seqvae.benchmarks.corpora import write_sentences

    corpus = folder / f"{sentences}.txt"
    write_sentences(corpus, sentences)
    first = apart(corpus, folder / f"{sentences}-first", steps)
    again = apart(corpus, folder / f"{sentences}-again", steps)
    return {
        "sentences": sentences,
        "text_mb": corpus.stat().st_size / 1e6,
        "prepared_s": first["data_s"],
        "prepared_cpu_s": first["data_cpu_s"],
        "prepared_per_cpu_s": sentences / first["data_cpu_s"],
        "first_mb": first["mb"],
        "data_s": again["data_s"],
        "step_s": again["step_s"],
        "step_cpu_s": again["step_cpu_s"],
        "again_mb": again["mb"],
    }


def line(cells: list[str]) -> str:
    """A line of the table."""
    return "| " + " | ".join(cells) + " |"


def main(
    sentences: Sizes = SIZES,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 300,
    folder: Annotated[Path | None, typer.Option(help="Where files go, 200 bytes a sentence.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON lines instead.")] = False,
    one_: Annotated[str | None, typer.Option("--one", hidden=True)] = None,
) -> None:
    """Print a table: made-up corpora, prepared and trained on twice, each time by a new process."""
    if one_:
        corpus, run, count, began = json.loads(one_)
        print(json.dumps(one(Path(corpus), Path(run), int(count), began)))
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        os.environ["SEQVAE_CACHE"] = str(Path(made) / "cache")
        if not json_:
            print(line([*COLUMNS.values()]), line(["---:"] * len(COLUMNS)), sep="\n", flush=True)
        for size in sentences:
            found = row(size, steps, Path(made))
            shown = [f"{found[name]:,.{2 if name in SECONDS else 0}f}" for name in COLUMNS]
            print(json.dumps(found) if json_ else line(shown), flush=True)


if __name__ == "__main__":
    typer.run(main)
