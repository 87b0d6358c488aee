"""The output layer: features to word log-probabilities, without ever holding all logits at once.

Shapes: N rows (samples x sentences x tokens), n rows of a chunk, H features, V words, R rows that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqvae.text.precision import compute_dtype, held

CHUNK_ELEMENTS = 1 << 21  # logits made at once on a CPU: 8 MB in fp32, which stays near the cache
GPU_CHUNKS = 16  # a GPU takes so many times more at once
KEPT_BYTES = 1 << 26  # of probabilities that wait for the backward pass, which makes the others once more
TINY = -80.0  # nats; the exponential of much less is no normal fp32 number


class _TokenLogProb(torch.autograd.Function):
    """log softmax(W h + b)[y] a row.

    All that gradients need of the logits is softmax - onehot(y): that of the first R rows is kept, as far as
    `KEPT_BYTES` reach; of the others the backward pass makes it once more, chunk by chunk.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
        low_h, low_weight = with_ones(h, dtype), with_bias(weight, bias, dtype)
        kept = low_h.new_empty(min(len(h), KEPT_BYTES // (len(weight) * dtype.itemsize)), len(weight))
        scratch = _Scratch(low_h, len(weight))
        first, others = scratch.chunks(0, len(kept)), scratch.chunks(len(kept), len(h))
        log_p = [_residual(low_h[rows], low_weight, y[rows], scratch, kept[rows]) for rows in first]
        log_p += [_scored(low_h[rows], low_weight, y[rows], scratch) for rows in others]
        ctx.save_for_backward(low_h, low_weight, y, kept)
        ctx.dtypes = h.dtype, weight.dtype, bias.dtype
        return torch.cat(log_p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, y, kept = ctx.saved_tensors
        minus = -grads[0][:, None]  # (N, 1)
        scaled = (minus * h).to(h.dtype)  # (N, H + 1)
        d_h = torch.empty_like(h[:, :-1], dtype=torch.float32)
        d_weight = torch.zeros((), dtype=torch.float32, device=h.device)
        wants_weight = any(ctx.needs_input_grad[1:3])
        for rows, residual in _residuals(h, weight, y, kept):
            torch.mul(residual @ weight[:, :-1], minus[rows], out=d_h[rows])
            if wants_weight:  # (V, H + 1); the first product needs no table of zeros to be added to
                product = residual.T @ scaled[rows]
                d_weight = d_weight.add_(product) if d_weight.ndim else product.float()
        like_h, like_weight, like_bias = ctx.dtypes
        if not wants_weight:
            return d_h.to(like_h), None, None, None, None
        return d_h.to(like_h), d_weight[:, :-1].to(like_weight), d_weight[:, -1].to(like_bias), None, None


class _Scratch:
    """Room for the logits of one chunk, taken once: fresh memory costs a CPU as much as a product."""

    def __init__(self, like: Tensor, words: int) -> None:
        most = CHUNK_ELEMENTS * (GPU_CHUNKS if like.is_cuda else 1)
        self.size = min(max(1, most // words), max(1, len(like)))
        self.low = like.new_empty(self.size, words)
        self.logits = self.low.float()  # the same room in fp32
        self.p = torch.empty_like(self.logits)

    def chunks(self, start: int, stop: int) -> list[slice]:
        """The rows from `start` to `stop`, a chunk at a time."""
        return [slice(at, min(at + self.size, stop)) for at in range(start, stop, self.size)]

    def fill(self, h: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, V) in fp32, and as much room besides."""
        low, logits = self.low[: len(h)], self.logits[: len(h)]
        torch.mm(h, weight.T, out=low)
        return logits if logits.data_ptr() == low.data_ptr() else logits.copy_(low), self.p[: len(h)]


def _residuals(h: Tensor, weight: Tensor, y: Tensor, kept: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Softmax - onehot (n, V) of all rows: what was kept, then the rest chunk by chunk."""
    if len(kept):
        yield slice(0, len(kept)), kept
    if len(kept) == len(h):
        return
    scratch = _Scratch(h, len(weight))
    for rows in scratch.chunks(len(kept), len(h)):
        residual = scratch.low[: rows.stop - rows.start]
        _residual(h[rows], weight, y[rows], scratch, residual)
        yield rows, residual


def _residual(h: Tensor, weight: Tensor, y: Tensor, scratch: _Scratch, out: Tensor) -> Tensor:
    """Log p (n,); softmax - onehot (n, V) goes to `out`. The column of ones comes along in h (n, H + 1)."""
    logits, p = scratch.fill(h, weight)
    if logits.is_cuda:  # the other way asks the device how small a number is, and waits
        torch.log_softmax(logits, 1, out=p)
        log_p = p.gather(1, y[:, None])[:, 0]
        p.exp_()
    else:
        torch.softmax(logits, 1, out=p)
        log_p = p.gather(1, y[:, None])[:, 0].log()
        rare = (log_p < TINY).nonzero()[:, 0]
        log_p[rare] = torch.log_softmax(logits[rare], 1).gather(1, y[rare, None])[:, 0]
    out.copy_(p.scatter_add_(1, y[:, None], p.new_full((len(y), 1), -1.0)))
    return log_p


def _scored(h: Tensor, weight: Tensor, y: Tensor, scratch: _Scratch) -> Tensor:
    """Log p (n,) alone."""
    logits, room = scratch.fill(h, weight)
    return torch.log_softmax(logits, 1, out=room).gather(1, y[:, None])[:, 0]


def with_ones(h: Tensor, dtype: torch.dtype) -> Tensor:
    """[h, 1] (N, H + 1): products with `with_bias` add the bias and collect its gradient."""
    wide = h.new_ones(len(h), h.shape[1] + 1, dtype=dtype)
    wide[:, :-1] = h
    return wide


def with_bias(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """[W, b] (V, H + 1)."""
    wide = weight.new_empty(len(weight), weight.shape[1] + 1, dtype=dtype)
    wide[:, :-1], wide[:, -1] = weight, bias
    return wide


class OutputHead(nn.Module):
    """p(word | features): a linear map and a softmax over all words but those that are never said."""

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

    def best(self, features: Tensor) -> Tensor:
        """The likeliest word after each of the features (..., H), the first of equals."""
        return self._low(features).max(-1).indices  # argmax of bf16 takes six times as long on a CPU

    def log_prob(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log p(target | features) in nats, (..., ) for features (..., H); -inf for what is never said."""
        rows, y = features.flatten(0, -2), targets.flatten()
        dtype = compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            if torch.is_grad_enabled():
                bias = self.bias + self.forbidden
                out: Tensor = _TokenLogProb.apply(rows, self.weight, bias, y, dtype)  # type: ignore[no-untyped-call]
            else:
                h, weight = with_ones(rows, dtype), self._weight(dtype)
                scratch = _Scratch(h, len(weight))
                chunks = scratch.chunks(0, len(h))
                out = torch.cat([_scored(h[chunk], weight, y[chunk], scratch) for chunk in chunks])
        return out.view(targets.shape)

    def _low(self, features: Tensor) -> Tensor:
        """Logits (..., V) in the precision of the surroundings."""
        rows, dtype = features.reshape(-1, features.shape[-1]), compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            logits = with_ones(rows, dtype) @ self._weight(dtype).T
        return logits.view(*features.shape[:-1], len(self.weight))

    def _weight(self, dtype: torch.dtype) -> Tensor:
        return held((self, dtype), lambda: with_bias(self.weight, self.bias + self.forbidden, dtype))
