"""Updates captured once per batch shape and replayed: CUDA graphs, or plain calls on a CPU.

An update of a small recurrent model is hundreds of short kernels, and launching them one by one takes the
host several times longer than the GPU takes to run them. A captured update is launched as a whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seqvae.distributed import collectives
from seqvae.distributed.batch_shards import BatchShard
from seqvae.errors import UserError
from seqvae.interfaces import Batch
from seqvae.numerics import static_execution
from seqvae.training.optim import capturable
from seqvae.training.step import Update
from seqvae.utils.accelerator import side_stream

GRAIN = 8  # sentences of a captured update are padded to a multiple: few lengths mean few graphs
WARM_UP = 2  # updates before the first recording: libraries choose kernels, optimizers make their states
Replay = Callable[[], Tensor]


class Recorder(Protocol):
    """Records a function without arguments, which can then run many times on new values in its tensors."""

    def record(self, body: Replay) -> Replay:
        """Return the function to call from now on; recording changes no tensor."""
        ...


class GraphRecorder:
    """Records CUDA graphs that share one memory pool, since only one of them runs at a time."""

    def __init__(self) -> None:
        self.pool: Any = None

    def record(self, body: Replay) -> Replay:
        """Capture the kernels that `body` launches."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            out = body()
        self.pool = self.pool or graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay


class CallRecorder:
    """Calls the function itself, on the same fixed tensors, without a graph."""

    def record(self, body: Replay) -> Replay:
        """Return `body` unchanged."""
        return body


class CapturedUpdates:
    """Runs `update` on batches of any shape through fixed tensors, with one recording per shape.

    Everything else that a recording reads is constant: the batch sizes of all ranks, and which parts of
    the model are trained.
    """

    def __init__(self, update: Update, recorder: Recorder | None = None) -> None:
        self.update = update
        on_gpu = update.device.type == "cuda"
        self.recorder = recorder or (GraphRecorder() if on_gpu else CallRecorder())
        self.recorded: dict[Any, tuple[list[Batch], Replay]] = {}

    def __call__(self, parts: Sequence[Batch], ours: Sequence[BatchShard], seed: int) -> Tensor:
        """Run one update on `parts` (on the CPU), with `seed` for module dropout; its numbers for the log."""
        if self.update.device.type == "cuda":
            parts = [part.pad_to_multiple(GRAIN).pin_memory() for part in parts]
        key = self._key(parts, ours)
        if key not in self.recorded:
            self.recorded[key] = self._record(parts, ours)
        fixed, replay = self.recorded[key]
        for buffers, part in zip(fixed, parts, strict=True):
            buffers.copy_(part)
        torch.manual_seed(seed)
        with static_execution():
            return replay().clone()

    def _key(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> Any:
        trained = self.update.module.objective.trainable_parts()
        sizes = tuple((share.sizes, share.place, share.copied) for share in ours)
        return tuple(part.shapes for part in parts), sizes, trained

    def _record(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> tuple[list[Batch], Replay]:
        update = self.update
        fixed = [part.clone_to(update.device, update.step) for part in parts]

        def body() -> Tensor:
            return update(fixed, ours)

        with static_execution():
            # torch.compile compiles for each new shape, which must not happen inside a capture
            if update.device.type == "cuda" and (not self.recorded or update.config.compile):
                self._warm_up(body)
            with capturable(update.optimizers.values()):
                return fixed, self.recorder.record(body)

    def _warm_up(self, body: Replay) -> None:
        """Run the update on a side stream, as CUDA graphs require, then restore the update's state."""
        with _restore_state(self.update), side_stream():
            for _ in range(WARM_UP):
                body()


@contextmanager
def _restore_state(update: Update) -> Iterator[None]:
    """On exit restore weights, buffers and optimizer states in place; new states become zero.

    A fused optimizer starts with zeros: moments, momentum and its step count.
    """
    kept = [(x, x.detach().clone()) for x in _tensors(update.module)]
    states = {name: copy.deepcopy(o.state_dict()["state"]) for name, o in update.optimizers.items()}
    yield
    with torch.no_grad():
        for x, value in kept:
            x.copy_(value)
        for name, optimizer in update.optimizers.items():
            fresh = not states[name]
            for place, state in optimizer.state_dict()["state"].items():
                for entry, value in state.items():
                    if isinstance(value, Tensor):
                        value.zero_() if fresh else value.copy_(states[name][place][entry])


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def capture_obstacle(mode: str, device: torch.device, sharded: bool, objective_says: str) -> str:
    """Why updates are not captured under `train.capture: mode`; empty if they are.

    Raises:
        UserError: the mode is `always` and updates cannot be captured.
    """
    if mode == "never":
        return "train.capture is never"
    if sharded:
        reason = "train.shard gathers parameters during a step"
    elif objective_says:
        reason = objective_says
    elif mode == "auto" and device.type != "cuda":
        reason = "there is no CUDA device"
    elif mode == "auto" and collectives.world_size() > 1:
        reason = "there are several processes: ask with train.capture=always"
    else:
        return ""
    if mode == "always":
        raise UserError(f"train.capture got always, but {reason}: use auto or never")
    return reason
