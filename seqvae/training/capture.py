"""Updates recorded once for each shape of a batch and replayed: CUDA graphs, or on a CPU plain calls.

An update of a small recurrent model is hundreds of short kernels, and launching them one by one takes a GPU's
host several times longer than the kernels do. A recorded update is launched whole.
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

GRAIN = 8  # sentences of a captured update are padded to a multiple: few lengths mean few graphs
WARM_UP = 2  # updates before the first recording: libraries choose kernels, optimizers make their states
Replay = Callable[[], Tensor]


class Recorder(Protocol):
    """Records a function of no arguments, which then may run many times with other values in its tensors."""

    def record(self, body: Replay) -> Replay:
        """The function as it is to be called from now on; recording it changes no tensor."""
        ...


class GraphRecorder:
    """CUDA graphs that share one pool of memory: one of them runs at a time."""

    def __init__(self) -> None:
        self.pool: Any = None

    def record(self, body: Replay) -> Replay:
        """A graph of the kernels that `body` launches."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            out = body()
        self.pool = self.pool or graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay


class CallRecorder:
    """Calls the function itself: the same fixed tensors without a graph."""

    def record(self, body: Replay) -> Replay:
        """The function."""
        return body


class CapturedUpdates:
    """Runs `update` on batches of any shape through fixed tensors, one recording for each shape.

    What a recording reads beside the fixed tensors is constant: sizes of the batch on all processes, and
    which parts of the model move.
    """

    def __init__(self, update: Update, recorder: Recorder | None = None) -> None:
        self.update = update
        on_gpu = update.device.type == "cuda"
        self.recorder = recorder or (GraphRecorder() if on_gpu else CallRecorder())
        self.recorded: dict[Any, tuple[list[Batch], Replay]] = {}

    def __call__(self, parts: Sequence[Batch], ours: Sequence[BatchShard], seed: int) -> Tensor:
        """Numbers of one update on `parts`, which lie on the CPU; `seed` is that of module dropout."""
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
        moved = self.update.module.objective.trainable_parts()
        sizes = tuple((share.sizes, share.place, share.copied) for share in ours)
        return tuple(part.shapes for part in parts), sizes, moved

    def _record(self, parts: Sequence[Batch], ours: Sequence[BatchShard]) -> tuple[list[Batch], Replay]:
        update = self.update
        fixed = [part.clone_to(update.device, update.step) for part in parts]

        def body() -> Tensor:
            return update(fixed, ours)

        with static_execution():
            # torch.compile makes code for each shape anew, which no recording can hold
            if update.device.type == "cuda" and (not self.recorded or update.config.compile):
                self._warm_up(body)
            with capturable(update.optimizers.values()):
                return fixed, self.recorder.record(body)

    def _warm_up(self, body: Replay) -> None:
        """Run the update on a stream of its own, as recording wants it, and put everything back."""
        with _everything_kept(self.update):
            stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    body()
            torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def _everything_kept(update: Update) -> Iterator[None]:
    """Put weights, buffers and optimizers' states back, in their places; states that were not there are zero.

    Zeros are what a fused optimizer begins with: moments, momentum and its count of steps.
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
        UserError: `always` was asked for where it cannot be.
    """
    if mode == "never":
        return "train.capture is never"
    if sharded:
        reason = "train.shard gathers parameters as a step goes on"
    elif objective_says:
        reason = objective_says
    elif mode == "auto" and device.type != "cuda":
        reason = "there is no CUDA device"
    elif mode == "auto" and collectives.world_size() > 1:
        reason = "several processes share it: ask with train.capture=always"
    else:
        return ""
    if mode == "always":
        raise UserError(f"train.capture got always, but {reason}: use auto or never")
    return reason
