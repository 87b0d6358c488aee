"""Matrix products and convolutions, described by the shapes of their factors, and how to run only them.

Shapes: M x K times K x N; of an attention A heads, T queries, P keys, C width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CONVOLUTION, GRADIENTS = torch.ops.aten.convolution, torch.ops.aten.convolution_backward


@dataclass(frozen=True)
class Table:
    """Shape, stride and dtype of a factor."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Operation:
    """A product of two factors, or a convolution with its constant arguments."""

    factors: tuple[Table, ...]
    flops: int  # multiplications and additions
    arguments: tuple[Any, ...] = ()  # of a convolution, after the weight

    def run(self, factors: Sequence[Tensor]) -> object:
        """Compute it on tensors with the layout of the factors."""
        if not self.arguments:
            return torch.matmul(*factors)
        if len(factors) == 2:
            return CONVOLUTION(*factors, None, *self.arguments)
        return GRADIENTS(*factors, None, *self.arguments)


def table_of(x: Tensor) -> Table:
    """The `Table` of a tensor."""
    return Table(tuple(x.shape), x.stride(), x.dtype)


def table(dtype: torch.dtype, *size: int) -> Table:
    """A contiguous factor of this size."""
    return table_of(torch.empty(size, dtype=dtype, device="meta"))


def transpose(a: Table) -> Table:
    """The same matrix with its dimensions exchanged."""
    return Table(a.size[::-1], a.stride[::-1], a.dtype)


def product(a: Table, b: Table) -> Operation:
    """The product of a (..., M, K) and b (..., K, N)."""
    return Operation((a, b), 2 * math.prod(a.size) * b.size[-1])


def operations_in(name: str, args: Any) -> list[Operation]:
    """The operations in one call of an aten function of this name."""
    if name in ("mm", "bmm"):
        return [product(table_of(args[0]), table_of(args[1]))]
    if name in ("addmm", "baddbmm"):
        return [product(table_of(args[1]), table_of(args[2]))]
    if name.startswith("_scaled_dot_product"):
        q, k, v = args[1:4] if "backward" in name else args[:3]
        return _attention(q, k, v, 2 if "backward" in name else 1)
    if name == "convolution":
        return [_convolution(args)]
    if name == "convolution_backward":
        return [_convolution_gradients(args)]
    return []


def _attention(q: Tensor, k: Tensor, v: Tensor, times: int) -> list[Operation]:
    """Scores and weighted values; backward passes (`times` 2) compute gradients of both factors."""
    queries, keys = q.flatten(0, 1), k.flatten(0, 1)
    weights = table(q.dtype, *queries.shape[:2], keys.shape[1])
    scores = product(table_of(queries), table_of(keys.mT))
    return [scores, product(weights, table_of(v.flatten(0, 1)))] * times


def _convolution(args: Any) -> Operation:
    """`args` are input, weight, bias, stride, padding, dilation, ..."""
    x, weight, _, *how = args
    return Operation((table_of(x), table_of(weight)), _flops_of_convolution(x, weight, how), _hashable(how))


def _convolution_gradients(args: Any) -> Operation:
    """`args` are gradient, input, weight, size of the bias, stride, ..., and which gradients to compute."""
    grad, x, weight, _, *how, wanted = args
    flops = sum(wanted[:2]) * _flops_of_convolution(x, weight, how)
    constants = (*_hashable(how), (*wanted[:2], False))
    return Operation((table_of(grad), table_of(x), table_of(weight)), flops, constants)


def _flops_of_convolution(x: Tensor, weight: Tensor, how: Sequence[Any]) -> int:
    """FLOPs: kernel size times the inputs of a transposed convolution, or the outputs of a normal one."""
    stride, padding, dilation, is_transposed, *_ = how
    places = math.prod(x.shape[2:])
    if not is_transposed:
        sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        places = math.prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
    return 2 * len(x) * places * weight.numel()


def _hashable(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def run_alone(operations: Sequence[Operation], device: torch.device) -> Callable[[], None]:
    """Make a function that only runs the operations, in turn, on dummy values."""
    wanted = dict.fromkeys(factor for operation in operations for factor in operation.factors)
    tensors = {factor: _fill(factor, device) for factor in wanted}
    pairs = [(operation, [tensors[factor] for factor in operation.factors]) for operation in operations]

    def run() -> None:
        for operation, factors in pairs:
            operation.run(factors)

    return run


def _fill(factor: Table, device: torch.device) -> Tensor:
    return torch.empty_strided(factor.size, factor.stride, dtype=factor.dtype, device=device).fill_(0.01)


def flops(operations: Sequence[Operation]) -> int:
    """Multiplications and additions of all of them."""
    return sum(operation.flops for operation in operations)
