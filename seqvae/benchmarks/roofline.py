"""Roofline of a workload: its matrix products, recorded once and timed alone on this machine.

On a GPU they run as a CUDA graph, because launching them one by one takes longer than computing them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from seqvae.benchmarks.clock import Runner, Work, runner_of
from seqvae.benchmarks.operations import Operation, flops, operations_in, run_alone
from seqvae.benchmarks.recurrences import Recurrence, library_layers, record_recurrences
from seqvae.models.text.kernels import output_layer

PRODUCTS, RECURRENCES, CHAIN, LIBRARY = "products", "recurrences", "chain", "library"


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every product and convolution that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += operations_in(func.name().removeprefix("aten::").partition(".")[0], args)
        return func(*args, **(kwargs or {}))


@contextmanager
def _without_recomputation() -> Iterator[None]:
    """Context in which the output layer computes no product twice to save memory."""
    kept = output_layer.KEPT_BYTES
    output_layer.KEPT_BYTES = 1 << 40
    try:
        yield
    finally:
        output_layer.KEPT_BYTES = kept


@dataclass(frozen=True)
class Recorded:
    """The operations of a workload outside of recurrent layers, and the recurrent passes."""

    operations: list[Operation]
    recurrences: list[Recurrence]

    def whole(self) -> list[Operation]:
        """All matrix products and convolutions, including those of recurrent layers."""
        return self.operations + self.of_recurrences()

    def of_recurrences(self) -> list[Operation]:
        """The products of the recurrent layers, forward and backward."""
        return [part for one in self.recurrences for part in one.whole_products() + one.step_products()]

    @property
    def flops(self) -> int:
        """Multiplications and additions in all."""
        return flops(self.whole())


def record(work: Callable[[], object]) -> Recorded:
    """Record the products, convolutions and recurrent passes of `work`, including backward passes.

    `work` runs once with zeros instead of recurrent states, so its results are meaningless.
    """
    with record_recurrences() as recurrences, _without_recomputation(), _Recorder() as recorder:
        work()
    return Recorded(recorder.operations, recurrences)


class Limit:
    """Functions to time in turn with the work that they limit."""

    def __init__(self, recorded: Recorded, device: torch.device, runner: Runner | None = None) -> None:
        """`runner` wraps a function for timing: as a CUDA graph on a GPU, unchanged elsewhere."""
        self.recorded = recorded
        run = runner or runner_of(device)
        self.works: dict[str, Work] = {}
        if recorded.operations:
            self.works[PRODUCTS] = run(run_alone(recorded.operations, device))
        if passes := recorded.recurrences:
            whole = run_alone([part for one in passes for part in one.whole_products()], device)
            steps = run_alone([part for one in passes for part in one.step_products()], device)
            self.works[RECURRENCES] = run(_chain_works([whole, steps]))
            chains = [one.chain(device) for one in passes]
            self.works[CHAIN] = run(_chain_works([whole, *chains]))
            if device.type == "cuda":
                self.works[LIBRARY] = run(library_layers(passes, device))

    def of(self, times: Mapping[str, float]) -> LimitTimes:
        """The limit, from the times of `works`."""
        return LimitTimes(*(times.get(name) for name in (PRODUCTS, RECURRENCES, CHAIN, LIBRARY)))


def _chain_works(works: list[Callable[[], None]]) -> Callable[[], None]:
    def run() -> None:
        for work in works:
            work()

    return run


@dataclass(frozen=True)
class LimitTimes:
    """Seconds of the parts of a limit; None for a part that does not exist."""

    products: float | None  # those outside of recurrent layers
    recurrences: float | None = None  # the products of recurrent layers
    chain: float | None = None  # the same, and a pass over the gates between two steps
    library: float | None = None  # whole recurrent layers by a library's fused kernels

    @property
    def limit(self) -> float:
        """Seconds that all products take alone."""
        return self._with(self.recurrences)

    @property
    def floor(self) -> float:
        """The same, including the passes between the sequential steps of recurrences."""
        return self._with(self.chain)

    def _with(self, recurrences: float | None) -> float:
        """Fused layers may be faster than plain steps: the faster of both is the limit."""
        ways = [seconds for seconds in (recurrences, self.library) if seconds is not None]
        return (self.products or 0.0) + min(ways, default=0.0)

    def milliseconds(self) -> dict[str, float]:
        """The parts in milliseconds, by name."""
        return {name: round(1000 * took, 3) for name, took in vars(self).items() if took is not None}
