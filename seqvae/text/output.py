"""The output layer: features to word log-probabilities, without ever holding all logits at once.

Shapes: N rows (samples x sentences x tokens), n rows of a chunk, H features, V words, R rows that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seqvae.text.precision import compute_dtype, held

CHUNK_ELEMENTS = 1 << 21  # logits made at once on a CPU: 8 MB in fp32, which stays near the cache
GPU_CHUNKS = 16  # a GPU takes so many times more at once
KEPT_BYTES = 1 << 26  # of probabilities that wait for the backward pass, which makes the others once more
TINY = -80.0  # nats; the exponential of much less is no normal fp32 number


class _TokenLogProb(torch.autograd.Function):
    """log softmax(W h + b)[y] a row.

    All that gradients need of the logits is softmax - onehot(y): that of the first R rows is kept, as far as
    `KEPT_BYTES` reach; of the others the backward pass makes it once more, R rows at a time.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
        lows = h.to(dtype), weight.to(dtype), bias.float()
        room = KEPT_BYTES // (len(weight) * dtype.itemsize)
        kept = h.new_empty(min(len(h), room), len(weight), dtype=dtype)
        scratch = _Scratch(*lows)
        first, others = scratch.chunks(0, len(kept)), scratch.chunks(len(kept), len(h))
        log_p = [scratch.residual(rows, y, kept[rows]) for rows in first]
        log_p += [scratch.scored(rows, y) for rows in others]
        ctx.save_for_backward(*lows, y, kept)
        ctx.dtypes = h.dtype, weight.dtype, bias.dtype
        return torch.cat(log_p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, y, kept = ctx.saved_tensors
        like_h, like_weight, like_bias = ctx.dtypes
        minus = -grads[0][:, None]  # (N, 1)
        low_minus, scaled = minus.to(h.dtype), (minus * h).to(h.dtype)
        d_h = torch.empty_like(h, dtype=torch.float32)
        d_weight: Tensor | None = None
        d_bias = torch.zeros_like(bias) if any(ctx.needs_input_grad[1:3]) else None
        for rows, residual in _residuals(_Scratch(h, weight, bias), y, kept):
            torch.mul(residual @ weight, minus[rows], out=d_h[rows])
            if d_bias is not None:
                d_bias += (low_minus[rows].T @ residual)[0]
                d_weight = _added(d_weight, residual.T, scaled[rows])
        if d_weight is None or d_bias is None:
            return d_h.to(like_h), None, None, None, None
        return d_h.to(like_h), d_weight.to(like_weight), d_bias.to(like_bias), None, None


class _Scratch:
    """Room for the logits W h + b of one chunk of rows, taken once: fresh memory costs a CPU a product."""

    def __init__(self, h: Tensor, weight: Tensor, bias: Tensor) -> None:
        self.h, self.weight, self.bias = h, weight, bias
        self.size = min(_at_once(weight), max(1, len(h)))
        self.low = h.new_empty(self.size, len(weight))
        self.logits = self.low.float()  # the same room in fp32
        # a CPU's softmax may overwrite what it reads: more tables would drive each other out of the cache
        self.p = torch.empty_like(self.logits) if h.is_cuda else self.logits

    def chunks(self, start: int, stop: int) -> list[slice]:
        """The rows from `start` to `stop`, a chunk at a time."""
        return [slice(at, min(at + self.size, stop)) for at in range(start, stop, self.size)]

    def fill(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Logits (n, V) in fp32, and as much room, which is theirs on a CPU."""
        n = rows.stop - rows.start
        low, logits = self.low[:n], self.logits[:n]
        torch.mm(self.h[rows], self.weight.T, out=low)
        if low.dtype != logits.dtype:
            logits.copy_(low)
        return logits.add_(self.bias), self.p[:n]

    def scored(self, rows: slice, y: Tensor) -> Tensor:
        """Log p (n,)."""
        logits, room = self.fill(rows)
        return torch.log_softmax(logits, 1, out=room).gather(1, y[rows, None])[:, 0]

    def residual(self, rows: slice, y: Tensor, out: Tensor) -> Tensor:
        """Log p (n,); softmax - onehot (n, V) goes to `out`."""
        logits, p = self.fill(rows)
        words = y[rows, None]
        if p.is_cuda:  # the other way asks the device how small a number is, and waits
            torch.log_softmax(logits, 1, out=p)
            log_p = p.gather(1, words)[:, 0]
            p.exp_()
        else:
            torch.softmax(logits, 1, out=p)
            log_p = p.gather(1, words)[:, 0].log()
            possible = self.bias[y[rows]] > -torch.inf  # padding is no rare word
            rare = (possible & (log_p < TINY)).nonzero()[:, 0]
            log_p[rare] = self._rare(rare + rows.start, y)
        out.copy_(p.scatter_add_(1, words, p.new_full(words.shape, -1.0)))
        return log_p

    def _rare(self, rows: Tensor, y: Tensor) -> Tensor:
        """Log p (n,) of words whose probability is no number in fp32."""
        logits = (self.h[rows] @ self.weight.T).float() + self.bias
        return torch.log_softmax(logits, 1).gather(1, y[rows, None])[:, 0]


def _residuals(scratch: _Scratch, y: Tensor, kept: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Softmax - onehot (n, V) of all rows: what was kept, then the others in the same room."""
    if len(kept):
        yield slice(0, len(kept)), kept
    room = kept if len(kept) > scratch.size else scratch.low
    for start in range(len(kept), len(y), len(room)):
        stop = min(start + len(room), len(y))
        for rows in scratch.chunks(start, stop):
            scratch.residual(rows, y, room[rows.start - start : rows.stop - start])
        yield slice(start, stop), room[: stop - start]


def _added(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """Total + a b in fp32; the first product needs no table of zeros to be added to."""
    if total is None:
        return (a @ b).float()
    return total.addmm_(a, b) if a.dtype == total.dtype else total.add_(a @ b)


def _at_once(weight: Tensor) -> int:
    return max(1, CHUNK_ELEMENTS * (GPU_CHUNKS if weight.is_cuda else 1) // len(weight))


def first_largest(x: Tensor, block: int = 64) -> Tensor:
    """The place (N,) of the largest number of each row of x (N, V), the first of equals.

    A CPU finds maxima three times as fast as their places: it looks for these in one block of columns alone.
    """
    blocks = x.shape[1] // block
    if blocks < 2:
        return x.max(-1).indices
    maxima = x[:, : blocks * block].view(len(x), blocks, block).amax(-1)
    start = maxima.max(-1).indices[:, None] * block
    values, inside = x.gather(1, start + torch.arange(block, device=x.device)).max(-1)
    places = start[:, 0] + inside
    if blocks * block == x.shape[1]:
        return places
    rest, last = x[:, blocks * block :].max(-1)
    return torch.where(rest > values, last + blocks * block, places)


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
        rows = features.reshape(-1, features.shape[-1])
        return torch.cat([first_largest(logits) for logits in self.chunks(rows)]).view(features.shape[:-1])

    def chunks(self, features: Tensor, group: int = 1) -> Iterator[Tensor]:
        """Logits (n, V) in fp32 of features (N, H), some whole groups of rows at a time, without gradients.

        Each takes the room of the one before.
        """
        low, logits = self._room(features, group)
        size = len(low) // group * group
        for start in range(0, len(features), size):
            yield self._filled(features[start : start + size], low, logits)

    def _room(self, features: Tensor, group: int) -> tuple[Tensor, Tensor]:
        dtype = compute_dtype(features.device)
        size = min(len(features), max(group, 2 * _at_once(self.weight)))

        def made() -> tuple[Tensor, Tensor]:
            low = features.new_empty(size, len(self.weight), dtype=dtype)
            return low, low.float()  # in fp32 the same room

        return held((self, dtype, group, "room"), made)

    @torch.no_grad()
    def _filled(self, features: Tensor, low: Tensor, logits: Tensor) -> Tensor:
        low, logits = low[: len(features)], logits[: len(features)]
        weight, bias = self._weights(low.dtype)
        with torch.autocast(features.device.type, enabled=False):
            torch.addmm(bias, features.to(low.dtype), weight.T, out=low)
        return logits if logits.dtype == low.dtype else logits.copy_(low)

    def log_prob(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log p(target | features) in nats, (..., ) for features (..., H); -inf for what is never said."""
        rows, y = features.flatten(0, -2), targets.flatten()
        dtype = compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            if torch.is_grad_enabled():
                bias = self.bias + self.forbidden
                out: Tensor = _TokenLogProb.apply(rows, self.weight, bias, y, dtype)  # type: ignore[no-untyped-call]
            else:
                scratch = _Scratch(rows.to(dtype), self._weights(dtype)[0], self.bias + self.forbidden)
                out = torch.cat([scratch.scored(chunk, y) for chunk in scratch.chunks(0, len(rows))])
        return out.view(targets.shape)

    def _low(self, features: Tensor) -> Tensor:
        """Logits (..., V) in the precision of the surroundings."""
        dtype = compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            return functional.linear(features.to(dtype), *self._weights(dtype))

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return held((self, dtype), lambda: (self.weight.to(dtype), (self.bias + self.forbidden).to(dtype)))
