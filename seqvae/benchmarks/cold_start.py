"""Cold start times of commands: each in a fresh interpreter, on a run folder with a model."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from seqvae.runs.run_folder import write_card
from seqvae.runs.weights import save_weights
from seqvae.training.trainer import Trainer

RUN = "RUN"
COMMANDS: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "list": ("list", "configs"),
    "show": ("show", RUN),
    "sample": ("sample", RUN, "-n", "1", "--max-length", "5"),
    "reconstruct": ("reconstruct", RUN, "w1 w2"),
    "encode": ("encode", RUN, "--input", "in.txt", "--output", "z.npy"),
    "decode": ("decode", RUN, "--input", "z.npy"),
}


def time_cold_starts(trainer: Trainer) -> dict[str, float]:
    """Seconds from a command's start to its end."""
    folder = trainer.path.parent
    save_weights(trainer.path, trainer.vae)
    write_card(trainer.path, trainer.config, trainer.data.codec, trainer.progress, "for a benchmark", "")
    (folder / "in.txt").write_text("w1 w2 w3\n", encoding="utf-8")
    return {name: round(_time_command(command, trainer.path), 3) for name, command in COMMANDS.items()}


def _time_command(command: tuple[str, ...], run: Path) -> float:
    parts = [str(run) if part == RUN else part for part in command]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *_paths()])}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "seqvae", *parts],
        cwd=run.parent,
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - began


def _paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
