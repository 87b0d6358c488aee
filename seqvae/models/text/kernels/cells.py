"""One step of a GRU or an LSTM by torch's fused cells: on a GPU three kernels per layer.

Shapes: N rows, E inputs, D constant inputs, H hidden, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqvae.models.text.kernels.precision import cast_cached, compute_dtype

State = tuple[Tensor, ...]  # h, or h and c of an LSTM, each (L, N, H)


def run_one_step(
    rnn: nn.RNNBase, x: Tensor, state: State, constant: Tensor | None = None
) -> tuple[Tensor, State]:
    """Outputs (N, 1, H) over x (N, 1, E) and constant inputs `constant` (N, D), and the last state.

    The same as `nn.GRU` and `nn.LSTM`, without gradients. cuDNN casts or copies all weights at each call,
    which would be once per word.
    """
    dtype = _cell_dtype(x.device)
    y = x[:, 0] if constant is None or not constant.shape[1] else torch.cat([x[:, 0], constant.to(x)], -1)
    cell = torch.lstm_cell if isinstance(rnn, nn.LSTM) else _gru_cell
    lasts: list[State] = []
    with torch.autocast(x.device.type, enabled=False):
        y = y.to(dtype)
        for layer, weights in enumerate(rnn.all_weights):
            y = functional.dropout(y, rnn.dropout, rnn.training and layer > 0)
            before = tuple(part[layer].to(dtype) for part in state)
            lasts.append(cell(y, before, *(cast_cached(weight, dtype) for weight in weights)))
            y = lasts[-1][0]
        # inside the context: autocast to bfloat16 refuses to promote float16 states
        return y[:, None], tuple(torch.stack(parts) for parts in zip(*lasts, strict=True))


def _gru_cell(x: Tensor, state: State, *weights: Tensor) -> State:
    return (torch.gru_cell(x, state[0], *weights),)


def _cell_dtype(device: torch.device) -> torch.dtype:
    """Autocast's type; float16 on CUDA, where autocast runs cuDNN's recurrences in it even for bfloat16.

    So sentences are written in the precision in which they are scored.
    """
    on_cuda = device.type == "cuda" and torch.is_autocast_enabled("cuda")
    return torch.float16 if on_cuda else compute_dtype(device)
