"""Effects and requirements of cuDNN's recurrent networks, for tensors on a pretended device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from pretend_graph import captured_by
from torch import Tensor, nn

SCATTERED = (
    "RNN module weights are not part of single contiguous chunk of memory. This means they need to be "
    "compacted at every call, possibly greatly increasing memory usage. To compact weights again call "
    "flatten_parameters()."
)


def lay_in_one_buffer(tensors: list[Tensor]) -> list[Tensor]:
    """Copies of the tensors as views of one new buffer, one behind the other."""
    with torch.autocast("cpu", enabled=False):
        buffer = torch.cat([x.detach().flatten() for x in tensors])
    parts = torch.split(buffer, [x.numel() for x in tensors])
    return [part.view(x.shape) for part, x in zip(parts, tensors, strict=True)]


def flatten_on_cpu(rnn: nn.RNNBase) -> None:
    """`flatten_parameters` that does to weights on a CPU what cuDNN does to those on a GPU."""
    weights = list(rnn.parameters())
    if weights and all(w.numel() for w in weights):
        for weight, part in zip(weights, lay_in_one_buffer(weights), strict=True):
            weight.data = part


def flattened(kind: Any) -> Callable[[nn.RNNBase], None]:
    """The same for weights of a tensor class that keeps its numbers in `inner`; others are left alone."""

    def flatten_parameters(rnn: nn.RNNBase) -> None:
        weights: list[Any] = list(rnn.parameters())
        if all(isinstance(weight, kind) for weight in weights):
            inner = lay_in_one_buffer([weight.inner for weight in weights])
            for weight, part in zip(weights, inner, strict=True):
                weight.inner = part

    return flatten_parameters


class _Kernel(torch.autograd.Function):
    """A function of the tensors that wrappers hold, forward and backward one operation each."""

    @staticmethod
    def forward(ctx: Any, work: Callable[..., Any], train: bool, kind: Any, *tensors: Any) -> Any:
        ctx.kind, ctx.train, ctx.kept = kind, train, []

        def run(*inner: Tensor) -> Any:
            ctx.kept[:] = [x.detach().requires_grad_() for x in inner]
            with torch.enable_grad():
                ctx.found = work(*ctx.kept)
            return tuple(part.detach() for part in ctx.found)

        found = captured_by(run, [x.inner for x in tensors], {}, moves=False)
        return tuple(kind(part) for part in found)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if not ctx.train:
            raise RuntimeError("cudnn RNN backward can only be called in training mode")

        def run(*inner: Tensor) -> Any:
            return torch.autograd.grad(ctx.found, ctx.kept, inner, allow_unused=True)

        found = captured_by(run, [grad.inner for grad in grads], {}, moves=False)
        return None, None, None, *(None if part is None else ctx.kind(part) for part in found)


def run_recurrence(func: Any, args: Any, kind: Any) -> Any:
    """`torch.gru` or `torch.lstm` as cuDNN has them: with its demands, and in float16 under autocast."""
    if not isinstance(args[0], kind):
        return func(*args)
    at = 2 if isinstance(args[3], list | tuple) else 1  # a packed sequence has sizes of batches there
    x, state, weights, train = args[0], args[at], args[at + 1], args[at + 5]
    states = list(state) if isinstance(state, list | tuple) else [state]
    if not all(part.is_contiguous() for part in states):
        raise RuntimeError("rnn: hx is not contiguous")
    if len({weight.inner.untyped_storage().data_ptr() for weight in weights}) > 1:
        warnings.warn(SCATTERED, UserWarning, stacklevel=2)
    given = [x, *states, *weights]
    if torch.is_autocast_enabled("cpu"):
        given = [part.half() for part in given]
    elif len({part.dtype for part in given}) > 1:
        raise RuntimeError("input, state and weights must have the same type")

    def work(x: Tensor, *rest: Tensor) -> Any:
        first, others = rest[: len(states)], list(rest[len(states) :])
        with torch.autocast("cpu", enabled=False):
            given = first if isinstance(state, list | tuple) else first[0]
            return func(x, *args[1:at], given, others, *args[at + 2 :])

    return _Kernel.apply(work, train, kind, *given)
