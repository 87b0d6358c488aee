"""What the products of a piece of work, written down once and then run alone, allow at most on this machine.

On a GPU they are run as a CUDA graph: one by one their launches would take longer than they do.
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
from seqvae.benchmarks.recurrences import Recurrence, library_layers, noted_recurrences
from seqvae.models.text.kernels import output_layer

PRODUCTS, RECURRENCES, CHAIN, LIBRARY = "products", "recurrences", "chain", "library"


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every product and convolution that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += operations_in(func.name().removeprefix("aten::").partition(".")[0], args)
        return func(*args, **(kwargs or {}))


@contextmanager
def _products_made_once() -> Iterator[None]:
    """Without products that are made twice to save memory."""
    kept = output_layer.KEPT_BYTES
    output_layer.KEPT_BYTES = 1 << 40
    try:
        yield
    finally:
        output_layer.KEPT_BYTES = kept


@dataclass(frozen=True)
class Recorded:
    """The operations of a piece of work, apart from its recurrent layers, and those."""

    operations: list[Operation]
    recurrences: list[Recurrence]

    def whole(self) -> list[Operation]:
        """All matrix products and convolutions, those of the recurrent layers with them."""
        return self.operations + self.of_recurrences()

    def of_recurrences(self) -> list[Operation]:
        """The products of the recurrent layers, forward and backward."""
        return [part for one in self.recurrences for part in one.whole_products() + one.step_products()]

    @property
    def flops(self) -> int:
        """Multiplications and additions in all."""
        return flops(self.whole())


def record(work: Callable[[], object]) -> Recorded:
    """The products, convolutions and recurrent passes of `work`, backward passes included, in their order.

    `work` runs once, with zeros instead of recurrent states: what it writes means nothing.
    """
    with noted_recurrences() as recurrences, _products_made_once(), _Recorder() as recorder:
        work()
    return Recorded(recorder.operations, recurrences)


class Limit:
    """Pieces to be timed in turn with the work that they are the limit of."""

    def __init__(self, recorded: Recorded, device: torch.device, runner: Runner | None = None) -> None:
        """`runner` makes of a function what is timed: on a GPU a CUDA graph, elsewhere the function."""
        self.recorded = recorded
        run = runner or runner_of(device)
        self.works: dict[str, Work] = {}
        if recorded.operations:
            self.works[PRODUCTS] = run(run_alone(recorded.operations, device))
        if passes := recorded.recurrences:
            whole = run_alone([part for one in passes for part in one.whole_products()], device)
            steps = run_alone([part for one in passes for part in one.step_products()], device)
            self.works[RECURRENCES] = run(_one_after_the_other([whole, steps]))
            chains = [one.chain(device) for one in passes]
            self.works[CHAIN] = run(_one_after_the_other([whole, *chains]))
            if device.type == "cuda":
                self.works[LIBRARY] = run(library_layers(passes, device))

    def of(self, times: Mapping[str, float]) -> LimitTimes:
        """The limit, from the seconds of `works` among others."""
        return LimitTimes(*(times.get(name) for name in (PRODUCTS, RECURRENCES, CHAIN, LIBRARY)))


def _one_after_the_other(works: list[Callable[[], None]]) -> Callable[[], None]:
    def run() -> None:
        for work in works:
            work()

    return run


@dataclass(frozen=True)
class LimitTimes:
    """Seconds of the pieces of a limit; None where a work has no such piece."""

    products: float | None  # those outside of recurrent layers
    recurrences: float | None = None  # the products of recurrent layers
    chain: float | None = None  # the same, and a pass over the gates between two steps
    library: float | None = None  # the recurrent layers whole, by the fused kernels of a library

    @property
    def limit(self) -> float:
        """Seconds that all products take alone."""
        return self._with(self.recurrences)

    @property
    def floor(self) -> float:
        """The same with what lies between the steps of recurrences, which must wait for each other."""
        return self._with(self.chain)

    def _with(self, recurrences: float | None) -> float:
        """Fused layers may beat plain steps: the faster of both is the limit."""
        ways = [seconds for seconds in (recurrences, self.library) if seconds is not None]
        return (self.products or 0.0) + min(ways, default=0.0)

    def milliseconds(self) -> dict[str, float]:
        """The pieces there are, by name."""
        return {name: round(1000 * took, 3) for name, took in vars(self).items() if took is not None}
