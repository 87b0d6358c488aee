"""Runs a GRU or an LSTM in the precision of autocast: by cuDNN on CUDA, on a CPU by the GRU of `gru`.

Shapes: B sentences, S samples, N = S x B states, T tokens, E inputs, D constant inputs, H hidden, L layers.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from seqvae.models.text.kernels.gru import Weights, gru_layer, gru_of_samples
from seqvae.models.text.kernels.precision import cached, cast_cached, compute_dtype, holds_weights

State = tuple[Tensor, ...]  # h, or h and c of an LSTM, each (L, N, H)


def run_rnn(
    rnn: nn.RNNBase, x: Tensor, state: State | None = None, constant: Tensor | None = None
) -> tuple[Tensor, State]:
    """Outputs (N, T, H) over x (B, T, E), and the last state; each sentence is read by all of its S states.

    `constant` (N, D) are inputs after x that are the same at all steps. Autocast on CPU leaves a GRU in fp32
    (but not an LSTM), which makes it the slowest part of a training step; casting weights, inputs and state
    runs it in bf16, accumulated in fp32 inside each product.
    """
    if x.is_cuda:
        return run_native(rnn, x, state, constant)
    dtype = compute_dtype(x.device)
    own_gru = isinstance(rnn, nn.GRU) and x.device.type == "cpu" and not rnn.bidirectional
    constant = None if constant is None or not constant.shape[1] else constant
    with torch.autocast(x.device.type, enabled=False):
        if own_gru and state is not None and len(x) < state[0].shape[1] and not torch.is_grad_enabled():
            return _run_samples(rnn, x, state[0], constant, dtype)
        x = _concat_inputs(x, state, constant)
        if own_gru:
            first = x.new_zeros(rnn.num_layers, len(x), rnn.hidden_size) if state is None else state[0]
            return _run_layers(rnn, [], x.transpose(0, 1), first, dtype)
        weights = {name: cast_cached(weight, dtype) for name, weight in rnn.named_parameters()}
        given = None if state is None else _pack_state(tuple(part.to(dtype) for part in state))
        y, last = torch.func.functional_call(rnn, weights, (x.to(dtype), given))
    return y, last if isinstance(last, tuple) else (last,)


def run_both_directions(rnn: nn.RNNBase, x: Tensor, mask: Tensor) -> Tensor:
    """States (B, T, 2H) of a bidirectional RNN over x (B, T, E), padded on the right (`mask` (B, T) false).

    The backward direction reads each sentence reversed without its padding. Packed sequences would do the
    same, but they need the lengths on the host, which a CUDA graph cannot capture.
    """
    places = torch.arange(x.shape[1], device=x.device)
    reversal = torch.where(mask, mask.sum(1, keepdim=True) - 1 - places, places)[..., None]  # (B, T, 1)
    for layer in range(rnn.num_layers):
        x = nn.functional.dropout(x, rnn.dropout, rnn.training) if layer else x
        forward = _run_direction(rnn, 2 * layer, x)
        backward = _run_direction(rnn, 2 * layer + 1, x.gather(1, reversal.expand_as(x)))
        x = torch.cat([forward, backward.gather(1, reversal.expand_as(backward))], -1)
    return x


def _run_direction(rnn: nn.RNNBase, place: int, x: Tensor) -> Tensor:
    """Outputs (B, T, H) from a zero state of one direction of a layer; `place` as in `_run_cell`."""
    zeros = x.new_zeros(1, len(x), rnn.hidden_size)
    return _run_cell(rnn, place, x, (zeros, zeros) if isinstance(rnn, nn.LSTM) else (zeros,))[0]


def _run_cell(rnn: nn.RNNBase, place: int, x: Tensor, state: State) -> tuple[Tensor, State]:
    """Outputs (N, T, H) and last state (1, N, H) of the layer or direction `rnn.all_weights[place]`."""
    weights: list[Tensor] = list(rnn.all_weights[place])
    backward = rnn.training or torch.is_grad_enabled()  # cuDNN has no gradients in evaluation mode
    with warnings.catch_warnings():  # the copy of weights from a larger buffer is intended
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        if isinstance(rnn, nn.LSTM):
            y, *last = torch.lstm(x, state, weights, True, 1, 0.0, backward, False, True)
        else:
            y, *last = torch.gru(x, state[0], weights, True, 1, 0.0, backward, False, True)
    return y, tuple(last)


def _run_native_layers(rnn: nn.RNNBase, x: Tensor, state: State | None) -> tuple[Tensor, State]:
    """Layer by layer, with torch's dropout between them.

    The dropout inside cuDNN has a random state that `torch.manual_seed` does not reset and that no checkpoint
    contains: a resumed run would draw other masks.
    """
    if state is None:
        zeros = x.new_zeros(rnn.num_layers, len(x), rnn.hidden_size)
        state = (zeros, zeros) if isinstance(rnn, nn.LSTM) else (zeros,)
    ends: list[State] = []
    for layer in range(rnn.num_layers):
        x = nn.functional.dropout(x, rnn.dropout, True) if layer else x
        x, end = _run_cell(rnn, layer, x, tuple(part[layer : layer + 1] for part in state))
        ends.append(end)
    return x, tuple(torch.cat(parts) for parts in zip(*ends, strict=True))


def run_native(
    rnn: nn.RNNBase, x: Tensor, state: State | None = None, constant: Tensor | None = None
) -> tuple[Tensor, State]:
    """`run_rnn` by the module itself, which on CUDA is one call of cuDNN.

    The weights must be the module's own, which are views of one buffer: for weights that are cast one by one
    cuDNN makes a new buffer at each call, and warns. Under autocast torch casts that buffer as a whole, to
    float16 even if autocast's type is bfloat16 (ATen/cudnn/AutocastRNN.cpp). Outputs and states are float16
    then, with 3 bits more than bfloat16, but gradients below 6e-8 underflow.
    """
    x = _concat_inputs(x, state, None if constant is None or not constant.shape[1] else constant)
    dtype = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.float16
        if holds_weights():  # autocast would cast them again for every word
            rnn = cached((rnn, dtype), lambda: copy.deepcopy(rnn).to(dtype))
            x = x.to(dtype)
    state = None if state is None else tuple(part.to(dtype).contiguous() for part in state)
    if rnn.training and rnn.dropout and rnn.num_layers > 1 and not rnn.bidirectional:
        return _run_native_layers(rnn, x, state)
    with _training_mode(rnn):
        y, last = rnn(x, None if state is None else _pack_state(state))
    return y, last if isinstance(last, tuple) else (last,)


@contextmanager
def _training_mode(rnn: nn.RNNBase) -> Iterator[None]:
    """Training mode without dropout if gradients are needed: cuDNN has none in evaluation mode."""
    if rnn.training or not torch.is_grad_enabled():
        yield
        return
    dropout = rnn.dropout
    rnn.training, rnn.dropout = True, 0.0
    try:
        yield
    finally:
        rnn.training, rnn.dropout = False, dropout


def _concat_inputs(x: Tensor, state: State | None, constant: Tensor | None) -> Tensor:
    """Inputs (N, T, E + D) of as many rows as the state has."""
    rows = len(x) if state is None else state[0].shape[1]
    x = x if rows == len(x) else x.repeat(rows // len(x), 1, 1)
    return x if constant is None else torch.cat([x, constant[:, None].expand(-1, x.shape[1], -1).to(x)], -1)


def _run_samples(
    rnn: nn.RNNBase, x: Tensor, first: Tensor, constant: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, State]:
    """The GRU from states (L, S B, H) over one x (B, T, E) for all samples, without gradients."""
    h = first[0].view(-1, len(x), rnn.hidden_size)
    more = None if constant is None else constant.view(-1, len(x), constant.shape[1])
    y = gru_of_samples(x.transpose(0, 1), h, _weights(rnn, 0), dtype, more).flatten(1, 2)
    return _run_layers(rnn, [y[-1]], y, first, dtype)


def _run_layers(
    rnn: nn.RNNBase, last: list[Tensor], y: Tensor, first: Tensor, dtype: torch.dtype
) -> tuple[Tensor, State]:
    """The layers of a GRU above those with states `last`, over y (T, N, E), with dropout between."""
    for layer in range(len(last), rnn.num_layers):
        y = nn.functional.dropout(y, rnn.dropout, rnn.training) if layer else y
        y = gru_layer(y, first[layer], _weights(rnn, layer), dtype)
        last.append(y[-1])
    return y.transpose(0, 1), (torch.stack(last),)


def _weights(rnn: nn.RNNBase, layer: int) -> Weights:
    w_x, w_h, b_x, b_h = rnn.all_weights[layer]
    return w_x, w_h, b_x, b_h


def _pack_state(state: State) -> Tensor | State:
    return state if len(state) > 1 else state[0]
