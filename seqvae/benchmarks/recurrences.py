"""Recurrent layers of a workload: their products, and a lower bound on the time of sequential steps.

Step t of a recurrence needs the state of step t - 1: its small products run one after the other, with a
pass over the gates in between. Products over all steps at once, such as those of the inputs, are not part
of that chain.

Shapes: B sentences, N states (several of one sentence share its inputs), T steps, E inputs, D constant
inputs, H hidden, G gates, L layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from seqvae.benchmarks.operations import Operation, Table, product, table, transpose
from seqvae.models.text import recurrent
from seqvae.models.text.kernels.precision import compute_dtype

GATES = {"GRU": 3, "LSTM": 4}


@dataclass(frozen=True)
class Recurrence:
    """One pass through the layers of an RNN, forward or backward."""

    kind: str  # GRU, LSTM
    layers: int
    steps: int
    sentences: int  # B
    rows: int  # N
    inputs: int
    constant: int
    hidden: int
    dtype: torch.dtype  # of products
    backward: bool = False

    @property
    def gates(self) -> int:
        """G H."""
        return GATES[self.kind] * self.hidden

    def whole_products(self) -> list[Operation]:
        """Products over all steps at once: of inputs, and in a backward pass of the weights' gradients."""
        return [
            part
            for layer in range(self.layers)
            for part in (self._backward(layer) if self.backward else self._forward(layer))
        ]

    def _forward(self, layer: int) -> list[Operation]:
        made = [
            (self.steps * (self.rows if layer else self.sentences), self.hidden if layer else self.inputs)
        ]
        if self.constant and not layer:
            made.append((self.rows, self.constant))
        return [product(self._table(m, k), transpose(self._table(self.gates, k))) for m, k in made]

    def _backward(self, layer: int) -> list[Operation]:
        width, cells = self.hidden if layer else self.inputs + self.constant, self.steps * self.rows
        d_gates, weight = self._table(cells, self.gates), self._table(self.gates, width)
        met = (width, self.hidden)  # the inputs of the gates
        gradients = [product(transpose(d_gates), self._table(cells, k)) for k in met]
        return [product(d_gates, weight), *gradients]

    def step_products(self) -> list[Operation]:
        """The product with the last state, or with the last gradient, of each step of each layer."""
        weight = self._table(self.gates, self.hidden)
        if self.backward:
            step = product(self._table(self.rows, self.gates), weight)
        else:
            step = product(self._table(self.rows, self.hidden), transpose(weight))
        return [step] * (self.steps * self.layers)

    def _table(self, *size: int) -> Table:
        return table(self.dtype, *size)

    def chain(self, device: torch.device) -> Callable[[], None]:
        """A function that runs only the sequential steps: each product, and one pass over the gates."""
        options: dict[str, Any] = {"dtype": self.dtype, "device": device}
        state = torch.full((self.rows, self.hidden), 0.01, **options)
        gates = torch.full((self.rows, self.gates), 0.01, **options)
        weight = torch.full((self.gates, self.hidden), 1 / self.hidden, **options)  # a mean: stays finite
        parts = GATES[self.kind]
        factors = torch.full((self.rows, parts, self.hidden), 1 / parts, **options)
        first, second, third, *_ = gates.split(self.hidden, 1)  # type: ignore[no-untyped-call]

        def forward() -> None:
            torch.mm(state, weight.T, out=gates)
            torch.lerp(first, second, third, out=state)

        def backward() -> None:
            torch.mul(factors, state[:, None], out=gates.view_as(factors))
            torch.mm(gates, weight, out=state)

        step = backward if self.backward else forward
        return _repeat(step, self.steps * self.layers)


def _repeat(step: Callable[[], None], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            step()

    return run


def library_layers(passes: Iterable[Recurrence], device: torch.device) -> Callable[[], None]:
    """A function that runs the same passes by torch's own layers, on CUDA cuDNN's fused kernels.

    A backward pass runs after one of the forward passes, which are counted once.
    """
    counts = Counter(replace(one, backward=False) for one in passes if not one.backward)
    backward = Counter(replace(one, backward=False) for one in passes if one.backward)
    runs = [_library_layer(one, device) for one in counts]

    def run() -> None:
        for one, layer in zip(counts, runs, strict=True):
            for place in range(counts[one]):
                layer(place < backward[one])

    return run


def _library_layer(one: Recurrence, device: torch.device) -> Callable[[bool], None]:
    """Runs the layer forward, and backward if it is asked to."""
    half = (
        torch.float16 if device.type == "cuda" and one.dtype == torch.bfloat16 else one.dtype
    )  # as autocast
    made = nn.GRU if one.kind == "GRU" else nn.LSTM
    rnn = made(one.inputs + one.constant, one.hidden, one.layers).to(device, half)
    x = torch.full((one.steps, one.rows, one.inputs + one.constant), 0.01, dtype=half, device=device)
    grad = torch.full((one.steps, one.rows, one.hidden), 0.01, dtype=half, device=device)
    wanted = [x.requires_grad_(), *rnn.parameters()]

    def run(backward: bool) -> None:
        with torch.set_grad_enabled(backward):
            out = rnn(x)[0]
            if backward:
                torch.autograd.grad(out, wanted, grad)

    return run


@contextmanager
def record_recurrences() -> Iterator[list[Recurrence]]:
    """Context in which recurrent layers record their passes and return zeros instead of states."""
    found: list[Recurrence] = []
    usual = vars(recurrent)["run_rnn"]

    def note(rnn: nn.RNNBase, x: Tensor, state: Any = None, constant: Tensor | None = None) -> Any:
        return _note(found, rnn, x, state, constant)

    vars(recurrent)["run_rnn"] = note
    try:
        yield found
    finally:
        vars(recurrent)["run_rnn"] = usual


def _note(
    found: list[Recurrence], rnn: nn.RNNBase, x: Tensor, state: Any, constant: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    rows = len(x) if state is None else state[0].shape[1]
    width = 0 if constant is None else constant.shape[1]
    sentences = rows if torch.is_grad_enabled() else len(x)
    dtype, (steps, inputs) = compute_dtype(x.device), x.shape[1:]
    one = Recurrence(rnn.mode, rnn.num_layers, steps, sentences, rows, inputs, width, rnn.hidden_size, dtype)
    given = [x, *(state or ()), *([] if constant is None else [constant]), *rnn.parameters()]
    out: Tensor = _Noted.apply(one, found, *given)  # type: ignore[no-untyped-call]
    last = x.new_zeros(rnn.num_layers, rows, rnn.hidden_size, dtype=torch.float32)
    return out, (last,) * (2 if rnn.mode == "LSTM" else 1)


class _Noted(torch.autograd.Function):
    """Records a forward pass, and its backward pass if there is one; states and gradients are zeros."""

    @staticmethod
    def forward(ctx: Any, one: Recurrence, found: list[Recurrence], *given: Tensor) -> Tensor:
        found.append(one)
        ctx.one, ctx.found = one, found
        ctx.save_for_backward(*given)
        return given[0].new_zeros(one.rows, one.steps, one.hidden, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.found.append(replace(ctx.one, backward=True))
        given: Sequence[Tensor] = ctx.saved_tensors
        zeros = (torch.zeros_like(x) if ctx.needs_input_grad[2 + i] else None for i, x in enumerate(given))
        return None, None, *zeros
