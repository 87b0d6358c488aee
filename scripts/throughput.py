"""Training throughput at the reference setting: GRU, embedding 300, hidden 256, z 16 in the first state.

    python scripts/throughput.py --corpus ../shared/data/ptb/ptb.train.txt

Batches of 32 sentences and 10k words; real tokens a second (padding not counted) of the whole update: data,
forward, backward, clipping and AdamW. Precisions are timed in turn, so that a noisy machine hits all alike.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from seqvae.checkpoint import create_run
from seqvae.config import RunConfig, parse_config
from seqvae.progress import Silent
from seqvae.text.data import TextData, load_data
from seqvae.train import Trainer

REFERENCE: dict[str, Any] = {
    "tokenizer": {"name": "word", "vocab_size": 10_000},
    "encoder": {"name": "gru", "embed": 300, "hidden": 256},
    "latent": {"name": "gaussian", "dim": 16},
    "decoder": {"name": "gru", "embed": 300, "hidden": 256, "z_to": ["state"]},
}


def main(
    corpus: Annotated[str, typer.Option(help="A file of sentences with at least 10k words.")],
    steps: Annotated[int, typer.Option(help="Updates timed a round.")] = 100,
    rounds: Annotated[int, typer.Option(help="Rounds; the median is printed, and the best.")] = 5,
    batch_size: Annotated[int, typer.Option(help="Sentences an update.")] = 32,
    cell: Annotated[str, typer.Option(help="gru or lstm.")] = "gru",
) -> None:
    """Print tokens a second in fp32 and in the machine's own precision, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        trainers = {p: _trainer(corpus, batch_size, cell, p, Path(folder) / p) for p in ("fp32", "auto")}
        speeds: dict[str, list[float]] = {p: [] for p in trainers}
        for _ in range(rounds + 1):
            for precision, trainer in trainers.items():
                speeds[precision].append(_tokens_per_second(trainer, steps))
    result = {"batch_size": batch_size, "cell": cell, "precision": trainers["auto"].precision}
    for precision, values in speeds.items():
        timed = values[1:]  # the first round warms up
        result[f"{precision}_tokens_per_s"] = round(statistics.median(timed))
        result[f"{precision}_best"] = round(max(timed))
    typer.echo(json.dumps(result, indent=2))


def _trainer(corpus: str, batch_size: int, cell: str, precision: str, path: Path) -> Trainer:
    values = {**REFERENCE, "data": {"train": corpus}}
    values["train"] = {"batch_size": batch_size, "steps": 10**6, "precision": precision}
    values["encoder"], values["decoder"] = ({**values[k], "name": cell} for k in ("encoder", "decoder"))
    config = parse_config(values)
    return _made(config, load_data(config.data, config.tokenizer), path)


def _made(config: RunConfig, data: TextData, path: Path) -> Trainer:
    create_run(path, config, data.tokenizer)
    return Trainer(path, config, data, Silent())


def _tokens_per_second(trainer: Trainer, steps: int) -> float:
    before, began = trainer.progress.tokens, time.perf_counter()
    for _ in range(steps):
        trainer.update()
    return (trainer.progress.tokens - before) / (time.perf_counter() - began)


if __name__ == "__main__":
    typer.run(main)
