"""The output layer: log-probabilities of words from features, without all logits in memory at once.

Shapes: N rows (samples x sentences x tokens), n rows of a chunk, H features, V words, R rows that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqvae.models.text.kernels.logits import BITS, NATS, Logits, even_chunk_size, join, logits_buffer
from seqvae.models.text.kernels.precision import cached, compute_dtype
from seqvae.utils.accelerator import is_asynchronous, reads_are_costly

CHUNK_BYTES = 1 << 24  # products at once on a CPU: few rows make slow products, many exceed its caches
FEWEST = 64  # rows at once: with fewer a CPU mostly waits for the weights
GPU_CHUNKS = 16  # chunks of a GPU are this many times larger
KEPT_BYTES = 1 << 26  # probabilities kept for the backward pass, which recomputes the others
SOUND = 2.0**100  # a sum of powers of two in 1 / SOUND to SOUND lost no important term in fp32


def log_prob_plainly(h: Tensor, weight: Tensor, bias: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """Log softmax(W h + b)[y] (N,) from all logits (N, V) at once: the reference of tests and benchmarks."""
    logits = functional.linear(h.to(dtype), weight.to(dtype), bias.to(dtype))
    return -functional.cross_entropy(logits.float(), y, reduction="none")


class _TokenLogProb(torch.autograd.Function):
    """log softmax(W h + b)[y] per row.

    Gradients need only softmax - onehot(y) of the logits. It is kept for the first R rows, as many as fit
    into `KEPT_BYTES`; for the others the backward pass computes it again, R rows at a time.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
        lows = h.to(dtype), weight.to(dtype), bias.float()
        room = KEPT_BYTES // (len(weight) * dtype.itemsize)
        kept = h.new_empty(min(len(h), room), len(weight), dtype=dtype)
        low, few = lows[0], len(kept)
        products = _Products(*lows[1:], rows=len(h))
        log_p = [*_residual(products, low[:few], y[:few], kept), *_log_probs(products, low[few:], y[few:])]
        ctx.save_for_backward(*lows, y, kept)
        ctx.dtypes = h.dtype, weight.dtype, bias.dtype
        return join(log_p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, y, kept = ctx.saved_tensors
        like_h, like_weight, like_bias = ctx.dtypes
        minus = -grads[0][:, None]  # (N, 1)
        low_minus, scaled = minus.to(h.dtype), (minus * h).to(h.dtype)
        d_h = torch.empty_like(h, dtype=torch.float32)
        d_weight: Tensor | None = None
        # the weight's gradient costs as much as a product of the layer: skipped if only the bias trains
        weight_trains, bias_trains = ctx.needs_input_grad[1:3]
        d_bias = torch.zeros_like(bias) if bias_trains else None
        for rows, residual in _residuals(h, _Products(weight, bias, rows=len(h)), y, kept):
            torch.mul(residual @ weight, minus[rows], out=d_h[rows])
            if d_bias is not None:
                d_bias += (low_minus[rows].T @ residual)[0]
            if weight_trains:
                d_weight = _add_product(d_weight, residual.T, scaled[rows])
        weights = None if d_weight is None else d_weight.to(like_weight)
        return d_h.to(like_h), weights, None if d_bias is None else d_bias.to(like_bias), None, None


class _Products:
    """Computes the logits W h + b of some rows at a time, in memory allocated once.

    On a CPU allocating new memory costs as much time as a product. There the logits are in bits: powers of
    two and their sum take half the time of a softmax.
    """

    def __init__(self, weight: Tensor, bias: Tensor, rows: int, bits: bool = False) -> None:
        self.weight, self.unit = weight, BITS if bits or not reads_are_costly(weight.device) else 1.0
        self.bias = bias * self.unit
        self.low = weight.new_empty(max(1, min(rows, _rows_per_chunk(weight))), len(weight))
        self.room = logits_buffer(self.low)

    def of(self, h: Tensor, group: int = 1, out: Tensor | None = None) -> Iterator[Logits]:
        """The logits of the rows h (N, H), some whole groups of rows at a time.

        Products are written to the same rows of `out` (N, V), or all to one buffer.
        """
        size = group * even_chunk_size(h.shape[0] // group, self.low.shape[0] // group)
        start = 0
        for some in torch.split(h, size):
            room = self.low if out is None else out[start:]
            low = torch.mm(some, self.weight.T, out=room[: some.shape[0]])
            yield Logits(low, self.bias, self.unit, self.room)
            start += some.shape[0]

    def parts(self, h: Tensor, out: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Slices of the rows of h, and their logits (n, V) in fp32; `out` as in `of`."""
        start = 0
        for x in (x for logits in self.of(h, out=out) for x in logits.parts()):
            yield slice(start, start + len(x)), x
            start += len(x)

    def softmax(self, x: Tensor, h: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log p (n,) of the words y (n,); and p (n, V) up to scales (n, 1), or log p if the scale is None.

        Overwrites the logits x (n, V). Where their powers are too large or too small for fp32, the logits are
        computed from h (n, H) again.
        """
        words = y[:, None]
        if reads_are_costly(x.device):  # the other way reads on the host how large a sum is
            log_p = torch.log_softmax(x, 1)
            return log_p.gather(1, words)[:, 0], log_p, None
        own, sums = x.gather(1, words), x.exp2_().sum(1, keepdim=True)
        own -= sums.log2()
        odd = (~((sums > 1 / SOUND) & (sums < SOUND))).nonzero()[:, 0]  # also true for NaN
        if len(odd):
            again = torch.log_softmax((h[odd] @ self.weight.T).float() + self.bias * NATS, 1)
            own[odd], x[odd], sums[odd] = again.gather(1, words[odd]) * BITS, again.exp(), 1.0
        return own[:, 0] * NATS, x, 1 / sums


def _log_probs(products: _Products, h: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Log p (n,) of the words y (N,), some at a time."""
    for rows, x in products.parts(h):
        yield products.softmax(x, h[rows], y[rows])[0]


def _residual(products: _Products, h: Tensor, y: Tensor, out: Tensor) -> Iterator[Tensor]:
    """Log p as above; softmax - onehot (N, V) is written to `out`, which also holds the products before."""
    for rows, x in products.parts(h, out):
        log_p, p, scale = products.softmax(x, h[rows], y[rows])
        words = y[rows, None]
        p = p.exp_() if scale is None else p.mul_(scale)
        out[rows] = p.scatter_add_(1, words, p.new_full(words.shape, -1.0))
        yield log_p


def _residuals(h: Tensor, products: _Products, y: Tensor, kept: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Softmax - onehot (n, V) of all rows: first the kept ones, then the others in the same memory."""
    if len(kept):
        yield slice(0, len(kept)), kept
    room = kept if len(kept) > len(products.low) else products.low
    for start in range(len(kept), len(y), len(room)):
        rows = slice(start, min(start + len(room), len(y)))
        out = room[: rows.stop - start]
        for _ in _residual(products, h[rows], y[rows], out):
            pass
        yield rows, out


def _add_product(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """Total + a b in fp32; the first product is the total, so that no zeros are allocated."""
    if total is None:
        return (a @ b).float()
    return total.addmm_(a, b) if a.dtype == total.dtype else total.add_(a @ b)


def _rows_per_chunk(weight: Tensor) -> int:
    size = CHUNK_BYTES * (GPU_CHUNKS if is_asynchronous(weight.device) else 1)
    return max(FEWEST, size // (len(weight) * weight.itemsize))


class OutputHead(nn.Module):
    """p(word | features): a linear map and a softmax, with probability 0 for forbidden words."""

    def __init__(self, features: int, words: int, never: tuple[int, ...], tied: Tensor | None = None) -> None:
        """`never` (padding, start) get probability 0; `tied` is an embedding (V, H) to share."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(words, features)) if tied is None else tied
        if tied is None:
            nn.init.normal_(self.weight, std=features**-0.5 / 2)
        self.bias = nn.Parameter(torch.zeros(words))
        forbidden = torch.zeros(words)
        forbidden[list(never)] = -torch.inf
        self.register_buffer("forbidden", forbidden, persistent=False)
        self.forbidden: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Logits (..., V) in fp32."""
        return self._low(features).float()

    def argmax(self, features: Tensor, never: tuple[int, ...] = ()) -> Tensor:
        """The most probable word after each of the features (..., H) except `never`, the first of equals."""
        rows = features.reshape(-1, features.shape[-1])
        best = join([logits.without(*never).first_largest() for logits in self.chunks(rows)])
        return best.view(features.shape[:-1])

    @torch.no_grad()
    def chunks(self, features: Tensor, group: int = 1) -> Iterator[Logits]:
        """Logits in bits of features (N, H), some whole groups of rows at a time, without gradients.

        Each chunk reuses the memory of the chunk before.
        """
        dtype = compute_dtype(features.device)

        def made() -> _Products:
            rows = max(group, len(features))
            return _Products(self._weights(dtype)[0], self.bias + self.forbidden, rows, bits=True)

        yield from cached((self, dtype, group), made).of(features.to(dtype), group)

    def log_prob(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log p(target | features) in nats, (..., ) for features (..., H); -inf for forbidden words."""
        if features.dim() == 3 and features.stride(0) < features.stride(1):  # the layout of a recurrence
            return self.log_prob(features.transpose(0, 1), targets.T).T
        rows, y = features.flatten(0, -2), targets.flatten()
        dtype = compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            if torch.is_grad_enabled():
                bias = self.bias + self.forbidden
                out: Tensor = _TokenLogProb.apply(rows, self.weight, bias, y, dtype)  # type: ignore[no-untyped-call]
            else:
                products = _Products(self._weights(dtype)[0], self.bias + self.forbidden, len(rows))
                out = join([*_log_probs(products, rows.to(dtype), y)])
        return out.view(targets.shape)

    def _low(self, features: Tensor) -> Tensor:
        """Logits (..., V) in the precision of autocast."""
        dtype = compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            return functional.linear(features.to(dtype), *self._weights(dtype))

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return cached((self, dtype), lambda: (self.weight.to(dtype), (self.bias + self.forbidden).to(dtype)))
