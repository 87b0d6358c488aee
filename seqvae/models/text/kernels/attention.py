"""Blocks of a Transformer, with rotary positions, memory slots and a KV cache.

Shapes: N rows, T new tokens, P tokens read before, W width, A heads, C width of a head, K slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from seqvae.distributed.fsdp import StackedBlock
from seqvae.errors import UserError

KeysValues = tuple[Tensor, Tensor]  # each (N, A, P, W / A)
Past: TypeAlias = "KeysValues | KeyValueCache | None"


class Rotation(NamedTuple):
    """Rotary positions (Su et al. 2021): cosines and sines (T, C / 2) of T positions, for all layers."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, positions: Tensor, width: int, dtype: torch.dtype) -> Rotation:
        """Rotations for positions (T,) and heads of `width` C."""
        half = width // 2
        frequencies = 10000 ** (-torch.arange(half, device=positions.device) / half)
        angles = positions[:, None] * frequencies
        return cls(angles.cos().to(dtype), angles.sin().to(dtype))

    def apply(self, x: Tensor) -> Tensor:
        """Queries or keys x (N, A, T, C), rotated by their positions."""
        a, b = x.chunk(2, -1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


@dataclass(frozen=True)
class KeyValueCache:
    """A KV cache: keys and values (N, A, K + P, C) of slots and words, with room for words not read yet.

    The mask hides unused columns, but their values must be finite: attention multiplies them by 0.
    """

    keys: Tensor
    values: Tensor

    def write(self, k: Tensor, v: Tensor, places: Tensor) -> KeysValues:
        """Write keys and values (N, A, T, C) to the columns `places` (T,), in place, and return all."""
        self.keys.index_copy_(2, places, k.to(self.keys.dtype))
        self.values.index_copy_(2, places, v.to(self.values.dtype))
        return self.keys, self.values


class Context(NamedTuple):
    """Positions and mask of the words (N, T) that are read, shared by all layers."""

    rotation: Rotation
    mask: Tensor | None  # (T, K + P + T) or (N, 1, 1, T), as in SDPA; None: causal
    places: Tensor | None = None  # (T,) their columns in a `KeyValueCache`


class Attention(nn.Module):
    """Multi-head attention over new words, cached keys and values of earlier words, and slots."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        context: Context,
        past: Past = None,
        slots: KeysValues | None = None,
    ) -> tuple[Tensor, KeysValues | KeyValueCache]:
        """Outputs (N, T, W), and all keys and values so far."""
        heads = self.queries_keys_values(x).view(*x.shape[:2], 3 * self.heads, -1).transpose(1, 2)
        rotated, v = context.rotation.apply(heads[:, : 2 * self.heads]), heads[:, 2 * self.heads :]
        q, k = rotated.chunk(2, 1)  # (N, A, T, C) each
        seen: KeysValues | KeyValueCache
        if isinstance(past, KeyValueCache):
            assert context.places is not None
            seen, (k, v) = past, past.write(k, v, context.places)
        else:
            if past is not None and past[0].shape[-2]:
                k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
            seen = k, v
        if slots is not None:  # slots are not rotated, because they have no position
            k, v = torch.cat([slots[0].to(k), k], -2), torch.cat([slots[1].to(v), v], -2)
        dropout = self.dropout if self.training else 0.0
        causal = context.mask is None and x.shape[1] > 1
        y = scaled_dot_product_attention(q, k, v, attn_mask=context.mask, dropout_p=dropout, is_causal=causal)
        return self.out(y.transpose(1, 2).flatten(2)), seen


class Block(StackedBlock):
    """x + attention(norm(x)), then x + mlp(norm(x)) (Xiong et al. 2020).

    `change` is a scale and a shift for each of the two norms, ((N, 1, W) x 2) x 2, or None.
    """

    def __init__(self, width: int, heads: int, dropout: float, small: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        last = nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), last)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.attention.out.weight, std=small)
        nn.init.normal_(last.weight, std=small)

    def forward(
        self,
        x: Tensor,
        context: Context,
        past: Past = None,
        slots: KeysValues | None = None,
        change: tuple[KeysValues, KeysValues] | None = None,
    ) -> tuple[Tensor, KeysValues | KeyValueCache]:
        """Outputs (N, T, W), and all keys and values so far."""
        first, second = change or (None, None)
        y, seen = self.attention(_scale_and_shift(self.norm_attention(x), first), context, past, slots)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(_scale_and_shift(self.norm_mlp(x), second))), seen


def _scale_and_shift(x: Tensor, change: KeysValues | None) -> Tensor:
    return x if change is None else x * (1 + change[0]) + change[1]


def make_blocks(width: int, heads: int, layers: int, dropout: float) -> nn.ModuleList:
    """A stack of Transformer blocks.

    Raises:
        UserError: the width is not a multiple of twice the number of heads.
    """
    if width % (2 * heads):
        raise UserError(f"width {width} does not divide into {heads} heads of even size: change one")
    small = 0.02 / (2 * layers) ** 0.5  # residual branches start small (Radford et al. 2019)
    return nn.ModuleList(Block(width, heads, dropout, small) for _ in range(layers))
