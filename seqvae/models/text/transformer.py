"""Pre-norm Transformer encoder and decoder; the decoder reads z at every layer.

Shapes: B sentences (N rows in a decoder), T new tokens, P tokens read before, W width, A heads, K slots,
D latent dims.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.data.text.batch import SpecialIds
from seqvae.models.conditioning import concat_condition, extend_inputs
from seqvae.models.text.encoder import TextEncoder
from seqvae.models.text.kernels.attention import (
    Context,
    KeysValues,
    KeyValueCache,
    Past,
    Rotation,
    make_blocks,
)
from seqvae.models.text.kernels.buffers import copy_of, map_tensors, overwrite
from seqvae.models.text.kernels.output_layer import OutputHead
from seqvae.models.text.kernels.precision import compute_dtype
from seqvae.models.text.likelihood import TextDecoder, forbidden_ids
from seqvae.models.text.pooling import POOLINGS, Pooling

Size = Annotated[int, Field(gt=0)]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
ALIGNED = 16  # the length of a cache is a multiple of it: kernels copy masks that are not aligned
InjectionPoint = Literal["slots", "norms", "embeddings", "softmax"]


class TransformerEncoder(TextEncoder):
    """Bidirectional self-attention over the words; the states are pooled into one vector."""

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
        self.blocks = make_blocks(width, heads, layers, dropout)
        self.norm = nn.LayerNorm(width)
        self.pool = POOLINGS[pooling]
        self.out_dim, self.heads = width, heads

    def pool_states(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B, W) of embedded words (B, T, W); `mask` (B, T) is false at padding."""
        positions, dtype = torch.arange(x.shape[1], device=x.device), compute_dtype(x.device)
        # the mask (B, 1, 1, T) hides padding from all queries
        context = Context(Rotation.of(positions, self.out_dim // self.heads, dtype), mask[:, None, None])
        x = self.dropout(x)
        for block in self.blocks:
            x, _ = block(x, context)
        return self.pool(self.norm(x).float(), mask)


@dataclass(frozen=True)
class TransformerState:
    """Keys and values of the words read so far, and the terms of z in each layer.

    `past` grows with each read, or, in an allocated state, is one `KeyValueCache` per layer that includes the
    slots; `length` is a tensor then.
    """

    length: int | Tensor  # P, or ()
    past: tuple[Past, ...]
    slots: tuple[KeysValues | None, ...]
    changes: tuple[tuple[KeysValues, KeysValues] | None, ...]
    to_embeddings: Tensor | None  # (N, 1, W)
    skip: Tensor | None  # (N, 1, W)

    def select(self, index: Tensor) -> TransformerState:
        """The state of the rows at `index`."""
        parts = {name: part for name, part in vars(self).items() if name != "length"}
        chosen = {name: map_tensors(part, lambda x: x[index]) for name, part in parts.items()}
        return replace(self, **chosen)

    def allocate(self, length: int) -> TransformerState:
        """A copy; for a state before the first word, with caches for `length` words."""
        if isinstance(self.length, Tensor):
            return copy_of(self)
        empty = self.past[0][0]  # type: ignore[index]
        rows, heads, _, width = empty.shape
        kept = 0 if self.slots[0] is None else self.slots[0][0].shape[-2]  # K
        dtype = compute_dtype(empty.device)

        def cache() -> KeyValueCache:
            size = rows, heads, -(-(kept + length) // ALIGNED) * ALIGNED, width
            return KeyValueCache(empty.new_zeros(size, dtype=dtype), empty.new_zeros(size, dtype=dtype))

        none: tuple[None, ...] = (None,) * len(self.past)
        read = torch.zeros((), dtype=torch.long, device=empty.device)
        made = replace(copy_of(replace(self, past=(), slots=none)), length=read)
        made = replace(made, past=tuple(cache() for _ in none))
        made.copy_from(self)
        return made

    def copy_from(self, other: TransformerState) -> None:
        """Overwrite this allocated state, in place, by another one or by one before the first word."""
        if isinstance(other.length, Tensor):
            overwrite(self, other)
            return
        assert other.length == 0, "words are copied between allocated states only"
        self.length.zero_()  # type: ignore[union-attr]
        for mine, slots in zip(self.past, other.slots, strict=True):
            if slots is not None:
                assert isinstance(mine, KeyValueCache)
                mine.keys[:, :, : slots[0].shape[-2]] = slots[0]
                mine.values[:, :, : slots[1].shape[-2]] = slots[1]
        overwrite(
            (self.changes, self.to_embeddings, self.skip), (other.changes, other.to_embeddings, other.skip)
        )


class TransformerDecoder(TextDecoder):
    """Writes word by word, with z at every layer.

    `z_to` chooses how z is used: as `slots` extra keys and values in every layer ("memory"), as scale and
    shift of every norm, added to the embeddings, or added to the features before the softmax.
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
        self.blocks = make_blocks(width, heads, layers, dropout)
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
        empty = z.new_empty(len(z), self.heads, 0, self.embedding.embedding_dim // self.heads)
        return TransformerState(
            length=0,
            past=((empty, empty),) * len(self.blocks),
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
        context = self._context(inputs.shape[1], state)
        seen = []
        for block, past, slots, change in zip(
            self.blocks, state.past, state.slots, state.changes, strict=True
        ):
            x, keys_values = block(x, context, past, slots, change)
            seen.append(keys_values)
        features = self.norm(x)
        if state.skip is not None:
            features = features + state.skip
        length = state.length + inputs.shape[1]
        return features, replace(state, length=length, past=tuple(seen))

    def _context(self, tokens: int, state: TransformerState) -> Context:
        """Positions and mask of the next T = `tokens` words."""
        device = self.embedding.weight.device
        positions = state.length + torch.arange(tokens, device=device)  # (T,)
        width = self.embedding.embedding_dim // self.heads
        rotation = Rotation.of(positions, width, compute_dtype(device))
        cache = state.past[0]
        if not isinstance(cache, KeyValueCache):
            assert isinstance(state.length, int)
            return Context(rotation, self._mask(tokens, state.length, device))
        places = self.slots + positions
        ahead = torch.arange(cache.keys.shape[-2], device=device) > places[:, None]
        mask = torch.zeros(ahead.shape, dtype=cache.keys.dtype, device=device).masked_fill(ahead, -torch.inf)
        return Context(rotation, mask, places)

    def _mask(self, tokens: int, before: int, device: torch.device) -> Tensor | None:
        """Causal mask (T, K + P + T) with slots and earlier words visible; None where SDPA needs no mask."""
        if tokens == 1 or (not before and not self.slots):
            return None
        ones = torch.ones(tokens, self.slots + before + tokens, dtype=torch.bool, device=device)
        return ones.tril(self.slots + before)

    def _slots(self, y: Tensor) -> tuple[KeysValues, ...]:
        """Keys and values (N, A, K, W / A) per layer from y (N, layers x 2 x K x W)."""
        y = y.view(len(y), len(self.blocks), 2, self.slots, self.heads, -1)
        return tuple((k.transpose(1, 2), v.transpose(1, 2)) for k, v in y.permute(1, 2, 0, 3, 4, 5))

    def _changes(self, y: Tensor) -> tuple[tuple[KeysValues, KeysValues], ...]:
        """Scale and shift of both norms of each layer from y (N, layers x 4 x W)."""
        y = y.view(len(y), len(self.blocks), 4, 1, -1)
        layers = y.permute(1, 2, 0, 3, 4).unbind(0)
        return tuple(((a[0], a[1]), (a[2], a[3])) for a in layers)
