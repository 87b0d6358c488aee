"""The matrix products of any piece of work, written down once and then run alone: no step can be faster.

Shapes: M x K times K x N; of an attention A heads, T queries, P keys, C width of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqvae.models.text.kernels import output_layer


@dataclass(frozen=True)
class Table:
    """What is known of one factor."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


Product = tuple[Table, Table]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the factors of every product that passes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products += _products(func.name().removeprefix("aten::").partition(".")[0], args)
        return func(*args, **(kwargs or {}))


def _products(name: str, args: Any) -> list[Product]:
    if name in ("mm", "bmm"):
        return [(_table(args[0]), _table(args[1]))]
    if name in ("addmm", "baddbmm"):
        return [(_table(args[1]), _table(args[2]))]
    if name.startswith("_scaled_dot_product"):
        q, k, v = args[1:4] if "backward" in name else args[:3]
        return _attention(q, k, v, 2 if "backward" in name else 1)
    if name.startswith("mkldnn_rnn_layer"):
        return _lstm(args[0], args[1], 2 if "backward" in name else 1)
    return []


def _table(x: Tensor) -> Table:
    return Table(tuple(x.shape), x.stride(), x.dtype)


def _plain(dtype: torch.dtype, *size: int) -> Table:
    return _table(torch.empty(size, dtype=dtype, device="meta"))


def _attention(q: Tensor, k: Tensor, v: Tensor, times: int) -> list[Product]:
    """Scores and weighted values; the gradients of both factors of each are as large again, twice."""
    queries, keys = q.flatten(0, 1), k.flatten(0, 1)
    weights = _plain(q.dtype, *queries.shape[:2], keys.shape[1])
    return [(_table(queries), _table(keys.mT)), (weights, _table(v.flatten(0, 1)))] * times


def _lstm(x: Tensor, w_x: Tensor, times: int) -> list[Product]:
    """The fused layer that oneDNN runs: inputs at once, the state step by step."""
    (steps, rows, inputs), gates = x.shape, w_x.shape[0]
    hidden = gates // 4
    whole = _plain(x.dtype, steps * rows, inputs), _plain(x.dtype, inputs, gates)
    step = _plain(x.dtype, rows, hidden), _plain(x.dtype, hidden, gates)
    return ([whole] + [step] * steps) * times


@contextmanager
def _unfused() -> Iterator[None]:
    """Without the kernels that hide products from view, and without products made twice to save memory."""
    kept = output_layer.KEPT_BYTES
    output_layer.KEPT_BYTES = 1 << 40
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        output_layer.KEPT_BYTES = kept


def record_products(work: Callable[[], object]) -> list[Product]:
    """The factors of all matrix products in `work`, backward passes included, in their order."""
    with _unfused(), _Recorder() as recorder:
        work()
    products: list[Product] = recorder.products
    return products


def replay_products(products: list[Product], device: torch.device) -> Callable[[], None]:
    """A function that runs the products and nothing else, on numbers that mean nothing."""
    tables: dict[Table, Tensor] = {}
    for table in dict.fromkeys(factor for product in products for factor in product):
        tables[table] = torch.empty_strided(table.size, table.stride, dtype=table.dtype, device=device)
        tables[table].fill_(0.01)
    pairs = [(tables[a], tables[b]) for a, b in products]

    def run() -> None:
        for a, b in pairs:
            torch.matmul(a, b)

    return run


def count_flops(products: list[Product]) -> int:
    """Multiplications and additions."""
    total = 0
    for a, b in products:
        numbers = 2 * b.size[-1]
        for size in a.size:
            numbers *= size
        total += numbers
    return total
