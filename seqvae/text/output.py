"""The output layer: features to word log-probabilities, without ever holding all logits at once.

Shapes: N rows (samples x sentences x tokens), H features, V words.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

CHUNK_ELEMENTS = 1 << 22  # logits held at once: 16 MB in fp32, which stays near the cache


def compute_dtype(device: torch.device) -> torch.dtype:
    """The type that matrix products run in here and now: autocast's, or fp32."""
    on = torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if on else torch.float32


class _TokenLogProb(torch.autograd.Function):
    """log softmax(W h + b)[y] a row; the backward pass computes each chunk of logits once more."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
        low_h, low_weight, low_bias = h.to(dtype), weight.to(dtype), bias.to(dtype)
        log_z, picked = [], []
        for rows in _chunks(len(h), len(weight)):
            logits = torch.addmm(low_bias, low_h[rows], low_weight.T).float()  # (n, V)
            log_z.append(torch.logsumexp(logits, 1))
            picked.append(logits.gather(1, y[rows, None])[:, 0])
        normaliser = torch.cat(log_z)
        ctx.save_for_backward(low_h, low_weight, low_bias, y, normaliser)
        ctx.dtypes = h.dtype, weight.dtype, bias.dtype
        return torch.cat(picked) - normaliser

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (grad,) = grads
        h, weight, bias, y, log_z = ctx.saved_tensors
        d_h = torch.empty_like(h)
        d_weight = torch.zeros_like(weight, dtype=torch.float32)
        d_bias = torch.zeros_like(bias, dtype=torch.float32)
        for rows in _chunks(len(h), len(weight)):
            d_logits = torch.addmm(bias, h[rows], weight.T).float()
            d_logits.sub_(log_z[rows, None]).exp_().mul_(-grad[rows, None])
            d_logits.scatter_add_(1, y[rows, None], grad[rows, None])
            d_bias += d_logits.sum(0)
            low = d_logits.to(h.dtype)
            d_h[rows] = low @ weight
            d_weight += low.T @ h[rows]
        like_h, like_weight, like_bias = ctx.dtypes
        return d_h.to(like_h), d_weight.to(like_weight), d_bias.to(like_bias), None, None


def _chunks(rows: int, words: int) -> list[slice]:
    size = max(1, CHUNK_ELEMENTS // words)
    return [slice(start, start + size) for start in range(0, rows, size)]


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
        dtype = compute_dtype(features.device)
        weight, bias = self.weight.to(dtype), (self.bias + self.forbidden).to(dtype)
        return nn.functional.linear(features.to(dtype), weight, bias).float()

    def log_prob(self, features: Tensor, targets: Tensor) -> Tensor:
        """Log p(target | features) in nats, (..., ) for features (..., H); -inf for what is never said."""
        rows, y = features.flatten(0, -2), targets.flatten()
        dtype = compute_dtype(features.device)
        with torch.autocast(features.device.type, enabled=False):
            out: Tensor = _TokenLogProb.apply(rows, self.weight, self.bias + self.forbidden, y, dtype)  # type: ignore[no-untyped-call]
        return out.view(targets.shape)
