"""Trains a preset in turn with other processes: `python -m seqvae.benchmarks.worker PRESET KEY=VALUE ...`.

Its input and output are described in `seqvae.benchmarks.turns`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

import torch

from seqvae.benchmarks.clock import clock_name
from seqvae.benchmarks.presets import preset_trainer

WARM_UP = 20  # updates before it is ready: fill caches and memory, capture graphs for most lengths


def answer(train: Callable[[], int], device: torch.device) -> None:
    """Report readiness, then train for the number of seconds in each input line.

    `train` makes an update and returns its number of tokens. With one CPU thread, CPU time of this process
    is measured, which other programs do not increase.
    """
    clock = time.process_time if clock_name(device) == "process" else time.perf_counter
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        end, began, tokens = time.perf_counter() + float(line), clock(), 0
        while not tokens or time.perf_counter() < end:
            tokens += train()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        print(json.dumps({"units": tokens, "seconds": clock() - began}), flush=True)


def main(arguments: Sequence[str]) -> None:
    """Train the preset named by the first argument, with the other arguments as overrides."""
    preset, *overrides = arguments
    with preset_trainer(preset, overrides) as trainer:

        def train() -> int:
            before = trainer.progress.tokens
            trainer.update()
            return trainer.progress.tokens - before

        for _ in range(WARM_UP):
            train()
        answer(train, trainer.device)


if __name__ == "__main__":
    main(sys.argv[1:])
