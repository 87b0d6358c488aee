"""A pretrained causal language model as p(x|z): z as key and value slots, prefix, or at the softmax.

Shapes: S samples, B sentences, N = S x B rows, T tokens, K slots, L layers, G key-value heads, C numbers per
head, W width of embeddings, H features, V words, D latent dims.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from seqvae.data.text.batch import SpecialIds
from seqvae.errors import UserError
from seqvae.models.conditioning import concat_condition
from seqvae.models.pretrained.backbone import Backbone, LoRA, Train, leave_out
from seqvae.models.pretrained.base import find_base
from seqvae.models.pretrained.causal import (
    KeysValues,
    check_reading,
    keys_and_values,
    output_layer,
    prompt_state,
    read_causal,
    read_fixed,
    read_uncached,
)
from seqvae.models.pretrained.state import CausalState
from seqvae.models.pretrained.tokens import prompt_ids
from seqvae.models.text.kernels.output_layer import OutputHead
from seqvae.models.text.likelihood import TextDecoder, forbidden_ids

Place = Literal["slots", "prefix", "softmax"]
Size = Annotated[int, Field(gt=0)]
PROMPT = "Here is a short sentence:"
_STD = 0.02  # std of the initial weights of z, in the units of their target


class Bridge(nn.Module):
    """b + [z; c] W^T for codes (N, D) and conditions (N, C); D may be 0, the weights of c start at 0."""

    def __init__(self, dim: int, condition: int, outputs: int, std: float = _STD) -> None:
        super().__init__()
        weight = torch.zeros(outputs, dim + condition)
        weight[:, :dim] = std * torch.randn(outputs, dim)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(outputs))

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        """(N, outputs)."""
        return functional.linear(concat_condition(z, c), self.weight, self.bias)


def _repeat_ids(ids: list[int], count: int) -> Tensor:
    """(K,) ids, repeated cyclically if there are fewer."""
    return torch.tensor([ids[i % len(ids)] for i in range(count)])


class PretrainedDecoder(TextDecoder):
    """A pretrained causal language model conditioned on z.

    z enters (`z_to`) as K `slots`, keys and values in front of the words at every layer, in the units of the
    model's own and initialised as those of a real `prompt`; as a `prefix` of K embeddings; and at the
    `softmax`, added to the last features. The model is frozen, trained with LoRA, or fully trained. The blank
    of word dropout has a learned embedding. `checkpointing` recomputes layers in the backward pass to save
    memory; not with slots.

    Args:
        model: a Hub id, a folder that `transformers` wrote, or a `.gguf` file; `revision` is a Hub commit.

    Raises:
        UserError: no such model or not a causal one, slots in a model with other memory than keys and values,
            a tokenizer with more tokens than the model, or checkpointing that is not possible.
    """

    paper = "Li et al., Optimus: Organizing Sentences via Pre-trained Modeling of a Latent Space"
    year = 2020

    def __init__(
        self,
        vocab_size: int,
        special: SpecialIds,
        latent_dim: int,
        model: str,
        revision: str | None = None,
        z_to: tuple[Place, ...] = ("slots", "softmax"),
        slots: Size = 4,
        train: Train = "frozen",
        lora: LoRA = LoRA(),  # noqa: B008
        prompt: str = PROMPT,
        checkpointing: bool = False,
        condition: int = 0,
    ) -> None:
        super().__init__()
        base = find_base(model, revision)
        lm: Any = base.load("AutoModelForCausalLM")
        layer = output_layer(lm, model)
        self._check_words(vocab_size, len(layer.weight), model)
        self.special, self.slots, self.checkpointing = special, slots, checkpointing
        self.longest = int(getattr(lm.config, "max_position_embeddings", None) or 1 << 30)
        ids = _repeat_ids(prompt_ids(base.folder, prompt), slots)
        self._check_words(int(ids.max()) + 1, len(layer.weight), model)
        embedded = lm.get_input_embeddings()(ids).detach()  # (K, W)
        past = prompt_state(lm.base_model, embedded[None])
        self.has_cache = past is not None
        words = torch.cat([ids.new_tensor([special.bos]), ids])
        check_reading(lm, layer, words, self.has_cache, model)
        self._make_head(layer, vocab_size)
        self.blank = nn.Parameter(lm.get_input_embeddings().weight.detach().mean(0))
        self._make_bridges(frozenset(z_to), latent_dim, condition, embedded, past, model)
        if checkpointing:
            self._checkpoint(lm, train)
        self.backbone = Backbone(lm.base_model, train, lora)
        self.head.requires_grad_(train == "full")
        if train != "full":
            leave_out(self.head)

    @staticmethod
    def _check_words(wanted: int, there: int, model: str) -> None:
        if wanted > there:
            raise UserError(
                f"the tokenizer has {wanted:,} tokens, {model} {there:,}: take its own, "
                f"tokenizer={{name: pretrained, model: {model}}}"
            )

    def _make_head(self, layer: nn.Linear, vocab_size: int) -> None:
        """Make the head from the model's output layer; padding, start and unused ids have probability 0."""
        words, features = layer.weight.shape
        never = (*forbidden_ids(self.special), *range(vocab_size, words))
        self.head = OutputHead(features, words, never, layer.weight)
        if layer.bias is not None:
            self.head.bias = nn.Parameter(layer.bias.detach().clone())

    def _make_bridges(
        self,
        places: frozenset[str],
        dim: int,
        condition: int,
        embedded: Tensor,
        past: tuple[KeysValues, ...] | None,
        model: str,
    ) -> None:
        """Make the maps of z; with D = 0 only their biases train, which gives a baseline without a code."""
        self.z_to_slots = self.z_to_prefix = self.z_to_softmax = None
        self.shapes = [(pair[0].shape[1:], pair[1].shape[1:]) for pair in past or ()]
        if "slots" in places:
            if past is None:
                raise UserError(f"{model} keeps more than keys and values: use z_to: [prefix], not slots")
            flat = torch.cat([x.flatten() for pair in past for x in pair])
            # keys and values of each layer differ in scale: z changes all by the same fraction of it
            unit = torch.cat([x.float().std().expand(x.numel()) for pair in past for x in pair])
            self.z_to_slots = Bridge(dim, condition, len(flat))
            self.z_to_slots.bias.data.copy_(flat / unit)
            self.register_buffer("unit", unit, persistent=False)
            self.unit: Tensor
        if "prefix" in places:
            self.z_to_prefix = Bridge(dim, condition, embedded.numel(), _STD * float(embedded.std()))
            self.z_to_prefix.bias.data.copy_(embedded.flatten())
        if "softmax" in places:
            self.z_to_softmax = Bridge(dim, condition, self.head.weight.shape[1], std=0.0)

    @property
    def embedding(self) -> nn.Embedding:
        """The model's own input embedding, part of the backbone."""
        found: nn.Embedding = self.backbone.network.get_input_embeddings()
        return found

    @property
    def reads_once(self) -> bool:
        """Whether a KV cache is used; otherwise all words are read again at each step."""
        return self.has_cache and not (self.checkpointing and self.training)

    def _checkpoint(self, lm: Any, train: Train) -> None:
        if self.z_to_slots is not None or train == "frozen":
            reason = (
                "slots are keys of no layer's making" if train != "frozen" else "nothing of the model trains"
            )
            raise UserError(f"checkpointing cannot be where {reason}: leave it out, or use z_to: [prefix]")
        network = lm.base_model
        # the second name is that of older versions
        named = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        next(getattr(network, name) for name in named if hasattr(network, name))()

    def start(self, z: Tensor, c: Tensor | None = None) -> CausalState:
        """The state before the first word, for codes (N, D)."""
        state = self._empty(len(z))
        if self.z_to_slots is not None:
            state = replace(state, past=self._slots(self.z_to_slots(z, c)), length=self.slots)
        if self.z_to_prefix is not None:
            x = self.z_to_prefix(z, c).view(len(z), self.slots, -1)
            _, state = self._read(x, state)
        if self.z_to_softmax is not None:
            state = replace(state, skip=self.z_to_softmax(z, c)[:, None])
        return state

    def _empty(self, rows: int) -> CausalState:
        """The state of N rows before anything is read."""
        weight = self.embedding.weight
        if not self.reads_once:
            return CausalState(seen=weight.new_zeros(rows, 0, weight.shape[1]))

        def nothing(shape: torch.Size) -> Tensor:
            return weight.new_zeros(rows, shape[0], 0, shape[2])

        return CausalState(tuple((nothing(k), nothing(v)) for k, v in self.shapes))

    def read(self, inputs: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:  # type: ignore[override]
        """Features (N, T, H) after each of the words (N, T), and the state after the last.

        Raises:
            UserError: more words than the model has positions.
        """
        x = self.embedding(inputs)
        x = torch.where((inputs == self.special.unk)[..., None], self.blank.to(x.dtype), x)
        features, state = self._read(x, state)
        return features if state.skip is None else features + state.skip, state

    def _read(self, x: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:
        if isinstance(state.length, Tensor):
            return self._read_fixed(x, state, state.length)
        length = state.length + x.shape[1]
        self._check_places(length)
        if self.reads_once:
            features, cache = read_causal(self.backbone, x, state.past, state.length)
            return features, replace(state, past=keys_and_values(cache) or (), length=length)
        x = x if state.seen is None else torch.cat([state.seen, x], 1)
        features = read_uncached(self.backbone, x)[:, state.length :]
        return features, replace(state, seen=x, length=length)

    def _read_fixed(self, x: Tensor, state: CausalState, length: Tensor) -> tuple[Tensor, CausalState]:
        """The same with keys and values, or embeddings, written into memory at fixed addresses."""
        places = length + torch.arange(x.shape[1], device=x.device)
        read = replace(state, length=length + x.shape[1])
        if self.reads_once:
            self._check_places(state.past[0][0].shape[2])
            return read_fixed(self.backbone, x, state.past, places), read
        assert state.seen is not None
        state.seen.index_copy_(1, places, x.to(state.seen.dtype))
        return read_uncached(self.backbone, state.seen).index_select(1, places), read

    def _check_places(self, length: int) -> None:
        if length > self.longest:
            raise UserError(f"{length} places are more than the model's {self.longest}: ask for fewer words")

    def _slots(self, y: Tensor) -> tuple[KeysValues, ...]:
        """(N, L x 2 x G x K x C) in the model's units as keys and values (N, G, K, C) of each layer."""
        sizes = [shape.numel() for pair in self.shapes for shape in pair]
        parts = torch.split(y * self.unit, sizes, 1)
        shapes = [shape for pair in self.shapes for shape in pair]
        tensors = [part.view(len(y), *shape) for part, shape in zip(parts, shapes, strict=True)]
        return tuple(zip(tensors[::2], tensors[1::2], strict=True))
