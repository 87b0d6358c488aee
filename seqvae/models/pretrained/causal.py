"""Causal language models of `transformers` with an explicit KV cache of tensors.

Shapes: N rows, T positions, P positions before, G key-value heads, C numbers per head, W embedding width,
H features, V words.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqvae.errors import UserError
from seqvae.models.pretrained.base import library

KeysValues = tuple[Tensor, Tensor]  # (N, G, P, C) each
_TOLERANCE = 1e-3  # relative to a logit's size; an unsupported soft cap or scale exceeds it


def read_causal(network: Any, x: Tensor, past: tuple[KeysValues, ...], length: int) -> tuple[Tensor, Any]:
    """Features (N, T, H) of embeddings x (N, T, W) at positions from `length` on, and the new cache.

    The cache has the keys and values of all positions. With right padding no attention mask is needed: no
    position attends to later ones.
    """
    cache = _new_cache(past)  # the model modifies the cache object, not the tensors of `past`
    positions = torch.arange(length, length + x.shape[1], device=x.device)[None].expand(len(x), -1)
    given = {"position_ids": positions} if "position_ids" in _arguments(network) else {}
    out = network(inputs_embeds=x, past_key_values=cache, use_cache=True, **given)
    return out.last_hidden_state, out.past_key_values


def _arguments(network: Any) -> frozenset[str]:
    kind: type[nn.Module] = type(getattr(network, "network", network))
    return _parameters(kind.forward)


@lru_cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _new_cache(past: tuple[KeysValues, ...], places: Tensor | None = None) -> Any:
    """Make a `transformers` cache that holds `past`, without copying it.

    With `places` (T,) new keys and values are written there, into existing memory.
    """
    cache = library().DynamicCache()
    kind = _layer_type() if places is None else partial(_fixed_layer_type(), places)
    cache.layer_class_to_replicate = kind
    for keys, values in past:
        layer = kind()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


@lru_cache
def _layer_type() -> Any:
    from transformers.cache_utils import DynamicLayer

    class KeysValuesLayer(DynamicLayer):  # type: ignore[no-untyped-call]
        """Starts as an empty view of the first keys; the library's own start copies from the host.

        A CUDA graph cannot contain such a copy.
        """

        def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
            """Set empty keys and values."""
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
            self.is_initialized = True

    return KeysValuesLayer


@lru_cache
def _fixed_layer_type() -> Any:
    class FixedLayer(_layer_type()):  # type: ignore[misc]
        """Writes into memory at fixed addresses."""

        def __init__(self, places: Tensor) -> None:
            super().__init__()
            self.places = places

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> KeysValues:
            """Write new keys and values at their positions; returns all."""
            for memory, new in ((self.keys, key_states), (self.values, value_states)):
                memory.index_copy_(2, self.places, new.to(memory.dtype))
            return self.keys, self.values

        def get_seq_length(self) -> int:
            """0: positions and mask are passed explicitly."""
            return 0

    return FixedLayer


def read_fixed(network: Any, x: Tensor, past: tuple[KeysValues, ...], places: Tensor) -> Tensor:
    """Features (N, T, H) of embeddings x (N, T, W) at `places` (T,) of fixed memory (N, G, L, C).

    Keys and values are written there; no position attends to later ones. No shape depends on `places`, so
    that the work may be captured as a CUDA graph.
    """
    rows, room = len(x), past[0][0].shape[2]
    seen = torch.arange(room, device=x.device) <= places[:, None]  # (T, L)
    given = {"position_ids": places.expand(rows, -1)} if "position_ids" in _arguments(network) else {}
    mask = seen.expand(rows, 1, -1, -1)
    cache = _new_cache(past, places)
    out = network(inputs_embeds=x, past_key_values=cache, attention_mask=mask, use_cache=True, **given)
    features: Tensor = out.last_hidden_state
    return features


def read_uncached(network: Any, x: Tensor) -> Tensor:
    """Features (N, T, H) of whole sequences of embeddings (N, T, W), without a cache."""
    features: Tensor = network(inputs_embeds=x, use_cache=False).last_hidden_state
    return features


def keys_and_values(cache: Any) -> tuple[KeysValues, ...] | None:
    """Each layer's keys and values; None if a layer has another kind of memory."""
    layers = getattr(cache, "layers", [])
    pairs = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in layers]
    if not pairs or not all(
        isinstance(k, Tensor) and k.ndim == 4 and isinstance(v, Tensor) for k, v in pairs
    ):
        return None
    return tuple(pairs)  # type: ignore[arg-type]


@torch.no_grad()
def prompt_state(network: Any, x: Tensor) -> tuple[KeysValues, ...] | None:
    """Keys and values of a prompt's embeddings (1, P, W); None if the model has other memory."""
    if "past_key_values" not in _arguments(network):
        return None
    pairs = keys_and_values(read_causal(network, x, (), 0)[1])
    if pairs is None or any(k.shape[2] != x.shape[1] for k, _ in pairs):
        return None
    return pairs


def output_layer(lm: Any, name: str) -> nn.Linear:
    """The linear map from features to logits.

    Raises:
        UserError: the model has no linear output layer.
    """
    layer = lm.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        raise UserError(
            f"{name} has no linear output layer: it is no causal language model that can decode here"
        )
    return layer


@torch.no_grad()
def check_reading(lm: Any, layer: nn.Linear, ids: Tensor, cached: bool, name: str) -> None:
    """Compare our logits for ids (T,) with the model's own, in one pass and in two.

    Raises:
        UserError: they differ, for example because logits are capped or scaled after the output layer.
    """
    network = lm.base_model
    known = lm(input_ids=ids[None]).logits.float()
    x = lm.get_input_embeddings()(ids)[None]
    if cached:
        first, cache = read_causal(network, x[:, :1], (), 0)
        rest, _ = read_causal(network, x[:, 1:], keys_and_values(cache) or (), 1)
        ways = [read_causal(network, x, (), 0)[0], torch.cat([first, rest], 1)]
    else:
        ways = [read_uncached(network, x)]
    for features in ways:
        logits = functional.linear(features, layer.weight, layer.bias).float()
        if not bool((logits - known).abs().max() <= _TOLERANCE * (1 + known.abs().max())):
            raise UserError(
                f"{name} makes other logits than a linear map of its last features, or reads words in two "
                "passes in another way than in one: it cannot decode here"
            )
