"""Pre-norm Transformer encoder and decoder; z reaches the decoder at every layer.

Shapes: B sentences (N rows in a decoder), T new tokens, P tokens read before, W width, A heads, K slots,
D latent dims.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from seqvae.data.text.batch import SpecialIds
from seqvae.errors import UserError
from seqvae.models.conditioning import concat_condition, extend_inputs
from seqvae.models.text.encoder import TextEncoder
from seqvae.models.text.kernels.output_layer import OutputHead
from seqvae.models.text.likelihood import TextDecoder, forbidden_ids
from seqvae.models.text.pooling import POOLINGS, Pooling

Size = Annotated[int, Field(gt=0)]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
InjectionPoint = Literal["slots", "norms", "embeddings", "softmax"]
KeysValues = tuple[Tensor, Tensor]  # each (N, A, P, W / A)


def apply_rotary(x: Tensor, start: int) -> Tensor:
    """Rotary positions (Su et al. 2021) for x (N, A, T, C), whose first token is number `start`."""
    half = x.shape[-1] // 2
    frequencies = 10000 ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(start, start + x.shape[-2], device=x.device)[:, None] * frequencies  # (T, C/2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Attention(nn.Module):
    """Multi-head attention that can go on from keys and values read before, and see slots besides."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        past: KeysValues | None = None,
        slots: KeysValues | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """Outputs (N, T, W), and all keys and values so far; `mask` is true where one may look."""
        q, k, v = self.split(self.queries_keys_values(x).chunk(3, -1))
        start = 0 if past is None else past[0].shape[-2]
        q, k = apply_rotary(q, start), apply_rotary(k, start)
        if past is not None:
            k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
        seen = (k, v)
        if slots is not None:  # they have no position
            k, v = torch.cat([slots[0].to(k), k], -2), torch.cat([slots[1].to(v), v], -2)
        dropout = self.dropout if self.training else 0.0
        causal = mask is None and x.shape[1] > 1
        y = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal)
        return self.out(y.transpose(1, 2).flatten(2)), seen

    def split(self, parts: tuple[Tensor, ...]) -> list[Tensor]:
        """Each (N, T, W) as heads (N, A, T, W / A)."""
        return [part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts]


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (Xiong et al. 2020).

    `change` is a scale and a shift for each of the two norms, ((N, 1, W) x 2) x 2, or nothing.
    """

    compiles: ClassVar[bool] = True
    shards: ClassVar[bool] = True

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
        mask: Tensor | None,
        past: KeysValues | None = None,
        slots: KeysValues | None = None,
        change: tuple[KeysValues, KeysValues] | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """Y (N, T, W), and all keys and values so far."""
        first, second = change or (None, None)
        y, seen = self.attention(_modulate(self.norm_attention(x), first), mask, past, slots)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(_modulate(self.norm_mlp(x), second))), seen


def _modulate(x: Tensor, change: KeysValues | None) -> Tensor:
    return x if change is None else x * (1 + change[0]) + change[1]


def _blocks(width: int, heads: int, layers: int, dropout: float) -> nn.ModuleList:
    if width % (2 * heads):
        raise UserError(f"width {width} does not divide into {heads} heads of even size: change one")
    small = 0.02 / (2 * layers) ** 0.5  # residual branches start small (Radford et al. 2019)
    return nn.ModuleList(Block(width, heads, dropout, small) for _ in range(layers))


class TransformerEncoder(TextEncoder):
    """Every word sees every word; the states are pooled into one vector."""

    paper = "Vaswani et al., Attention Is All You Need"
    year = 2017

    def __init__(
        self,
        vocab_size: int,
        width: Size = 256,
        layers: Size = 2,
        heads: Size = 4,
        pooling: Pooling = "mean",
        dropout: DropoutRate = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = _blocks(width, heads, layers, dropout)
        self.norm = nn.LayerNorm(width)
        self.pool = POOLINGS[pooling]
        self.out_dim = width

    def pool_states(self, x: Tensor, mask: Tensor) -> Tensor:
        """H (B, W) of embedded words (B, T, W), those where `mask` (B, T) is true."""
        x = self.dropout(x)
        for block in self.blocks:
            x, _ = block(x, mask[:, None, None])  # (B, 1, 1, T): nobody looks at padding
        return self.pool(self.norm(x).float(), mask)


@dataclass(frozen=True)
class TransformerState:
    """Keys and values of the words read so far, and what z adds to each layer."""

    length: int  # P
    past: tuple[KeysValues | None, ...]
    slots: tuple[KeysValues | None, ...]
    changes: tuple[tuple[KeysValues, KeysValues] | None, ...]
    to_embeddings: Tensor | None  # (N, 1, W)
    skip: Tensor | None  # (N, 1, W)

    def select(self, index: Tensor) -> TransformerState:
        """The chosen rows."""

        def chosen(value: object) -> object:
            if isinstance(value, Tensor):
                return value[index]
            return tuple(map(chosen, value)) if isinstance(value, tuple) else value

        parts = {k: chosen(v) for k, v in vars(self).items()}
        return TransformerState(**parts)  # type: ignore[arg-type]


class TransformerDecoder(TextDecoder):
    """Writes word by word, with z at every layer.

    z acts by choice as `slots` keys and values at every layer (their "memory"), as scale and shift
    of every norm, added to the embeddings, and past the layers at the softmax.
    """

    paper = "Li et al., Optimus: Organizing Sentences via Pre-trained Modeling of a Latent Space"
    year = 2020

    def __init__(
        self,
        vocab_size: int,
        special: SpecialIds,
        latent_dim: int,
        width: Size = 256,
        layers: Size = 2,
        heads: Size = 4,
        dropout: DropoutRate = 0.1,
        z_to: tuple[InjectionPoint, ...] = ("slots", "softmax"),
        slots: Size = 4,
        tie: bool = False,
        condition: int = 0,
    ) -> None:
        super().__init__()
        places = set(z_to) if latent_dim else set()
        self.special, self.heads = special, heads
        self.embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = _blocks(width, heads, layers, dropout)
        self.norm = nn.LayerNorm(width)
        self.slots = slots if "slots" in places else 0

        def reading(place: InjectionPoint, outputs: int) -> nn.Linear | None:
            return extend_inputs(nn.Linear(latent_dim, outputs), condition) if place in places else None

        self.z_to_slots = reading("slots", layers * 2 * slots * width)
        self.z_to_norms = reading("norms", layers * 4 * width)
        self.z_to_embeddings = reading("embeddings", width)
        self.z_to_softmax = reading("softmax", width)
        tied = self.embedding.weight if tie else None
        self.head = OutputHead(width, vocab_size, forbidden_ids(special), tied)

    def start(self, z: Tensor, c: Tensor | None = None) -> TransformerState:
        """The state before the first word, for codes (N, D)."""
        z = concat_condition(z, c)
        none: tuple[None, ...] = (None,) * len(self.blocks)
        return TransformerState(
            length=0,
            past=none,
            slots=none if self.z_to_slots is None else self._slots(self.z_to_slots(z)),
            changes=none if self.z_to_norms is None else self._changes(self.z_to_norms(z)),
            to_embeddings=None if self.z_to_embeddings is None else self.z_to_embeddings(z)[:, None],
            skip=None if self.z_to_softmax is None else self.z_to_softmax(z)[:, None],
        )

    def read(self, inputs: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:  # type: ignore[override]
        """Features (N, T, W) after each of the words (N, T), and the state after the last."""
        x = self.embedding(inputs)
        if state.to_embeddings is not None:
            x = x + state.to_embeddings
        x = self.dropout(x)
        mask = self._mask(inputs.shape[1], state.length, inputs.device)
        seen = []
        for block, past, slots, change in zip(
            self.blocks, state.past, state.slots, state.changes, strict=True
        ):
            x, keys_values = block(x, mask, past, slots, change)
            seen.append(keys_values)
        features = self.norm(x)
        if state.skip is not None:
            features = features + state.skip
        length = state.length + inputs.shape[1]
        return features, replace(state, length=length, past=tuple(seen))

    def _mask(self, tokens: int, before: int, device: torch.device) -> Tensor | None:
        """(T, K + P + T): slots and earlier words are seen by all; none where SDPA needs no mask."""
        if tokens == 1 or (not before and not self.slots):
            return None
        ones = torch.ones(tokens, self.slots + before + tokens, dtype=torch.bool, device=device)
        return ones.tril(self.slots + before)

    def _slots(self, y: Tensor) -> tuple[KeysValues, ...]:
        """(N, layers x 2 x K x W) as keys and values (N, A, K, W / A) a layer."""
        y = y.view(len(y), len(self.blocks), 2, self.slots, self.heads, -1)
        return tuple((k.transpose(1, 2), v.transpose(1, 2)) for k, v in y.permute(1, 2, 0, 3, 4, 5))

    def _changes(self, y: Tensor) -> tuple[tuple[KeysValues, KeysValues], ...]:
        """(N, layers x 4 x W) as scale and shift of both norms of a layer."""
        y = y.view(len(y), len(self.blocks), 4, 1, -1)
        layers = y.permute(1, 2, 0, 3, 4).unbind(0)
        return tuple(((a[0], a[1]), (a[2], a[3])) for a in layers)
