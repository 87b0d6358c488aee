"""Trains a preset in turn with other processes: `python -m seqvae.bench.worker PRESET KEY=VALUE ...`.

What it reads and prints is described in `seqvae.bench.turns`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

import torch

from seqvae.bench.clock import clock_of
from seqvae.bench.setting import on_the_bench

WARM_UP = 20  # updates before it is ready: caches, memory, and on a GPU the graphs of most lengths


def answer(train: Callable[[], int], device: torch.device) -> None:
    """Say that we are ready, and then train for as many seconds as each line asks for.

    `train` makes an update and gives its tokens. On one thread of a CPU the seconds that this process
    computed are counted: as if nothing else ran on the machine.
    """
    clock = time.process_time if clock_of(device) == "process" else time.perf_counter
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        end, began, tokens = time.perf_counter() + float(line), clock(), 0
        while not tokens or time.perf_counter() < end:
            tokens += train()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        print(json.dumps({"units": tokens, "seconds": clock() - began}), flush=True)


def main(arguments: Sequence[str]) -> None:
    """Train the preset that the first argument names, with the others over its config."""
    preset, *overrides = arguments
    with on_the_bench(preset, overrides) as trainer:

        def train() -> int:
            before = trainer.progress.tokens
            trainer.update()
            return trainer.progress.tokens - before

        for _ in range(WARM_UP):
            train()
        answer(train, trainer.device)


if __name__ == "__main__":
    main(sys.argv[1:])
