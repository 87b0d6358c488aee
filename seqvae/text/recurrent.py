"""GRU and LSTM encoders and decoders.

Shapes: B sentences (N rows in a decoder), T tokens, E embedding, H hidden, L layers, D latent dims,
C conditions.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.batch import SpecialIds
from seqvae.conditions import beside, widened, with_zeros
from seqvae.text.encoder import TextEncoder
from seqvae.text.gru import gru_layer
from seqvae.text.likelihood import TextDecoder, never_said
from seqvae.text.output import OutputHead
from seqvae.text.pooling import POOLINGS, Pooling
from seqvae.text.precision import compute_dtype, low

Size = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Place = Literal["state", "steps", "softmax"]
State = tuple[Tensor, ...]  # h, or h and c of an LSTM, each (L, N, H)


def run(rnn: nn.RNNBase, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Run a GRU or LSTM over x (B, T, E) in the precision of the surroundings.

    Autocast on CPU leaves a GRU in fp32 (an LSTM it casts), which makes it the slowest part of a step;
    casting weights, inputs and state runs it in bf16, accumulated in fp32 inside each product.
    """
    dtype = compute_dtype(x.device)
    with torch.autocast(x.device.type, enabled=False):
        if isinstance(rnn, nn.GRU) and x.device.type == "cpu" and not rnn.bidirectional:
            return _run_gru(rnn, x, state, dtype)
        weights = {name: low(weight, dtype) for name, weight in rnn.named_parameters()}
        given = None if state is None else _packed(tuple(part.to(dtype) for part in state))
        y, last = torch.func.functional_call(rnn, weights, (x.to(dtype), given))
    return y, last if isinstance(last, tuple) else (last,)


def _run_gru(rnn: nn.GRU, x: Tensor, state: State | None, dtype: torch.dtype) -> tuple[Tensor, State]:
    """The layers of a GRU on a CPU, with its dropout between them."""
    first = x.new_zeros(rnn.num_layers, len(x), rnn.hidden_size) if state is None else state[0]
    y, last = x.transpose(0, 1), []  # (T, B, E)
    for layer, weights in enumerate(rnn.all_weights):
        y = nn.functional.dropout(y, rnn.dropout, rnn.training) if layer else y
        y = gru_layer(y, first[layer], tuple(weights), dtype)  # type: ignore[arg-type]
        last.append(y[-1])
    return y.transpose(0, 1), (torch.stack(last),)


def _packed(state: State) -> Tensor | State:
    return state if len(state) > 1 else state[0]


class RecurrentEncoder(TextEncoder, ABC):
    """Embeds, runs the recurrence and pools its states into one vector."""

    cell: ClassVar[type[nn.GRU] | type[nn.LSTM]]

    def __init__(
        self,
        vocab_size: int,
        embed: Size = 256,
        hidden: Size = 256,
        layers: Size = 1,
        bidirectional: bool = False,
        pooling: Pooling = "last",
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed)
        nn.init.normal_(self.embedding.weight, std=0.1)
        between = dropout if layers > 1 else 0.0
        self.rnn = self.cell(
            embed, hidden, layers, batch_first=True, bidirectional=bidirectional, dropout=between
        )
        self.dropout = nn.Dropout(dropout)
        self.pool = POOLINGS[pooling]
        self.out_dim = hidden * (2 if bidirectional else 1)

    def pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        """H (B, H) of embedded words (B, T, E), those where `mask` (B, T) is true."""
        x = self.dropout(x)
        if self.rnn.bidirectional:
            states = self._both_directions(x, mask)
        else:
            states, _ = run(self.rnn, x)  # padding is on the right: no real state has read it
        return self.dropout(self.pool(states.float(), mask))  # type: ignore[no-any-return]

    def _both_directions(self, x: Tensor, mask: Tensor) -> Tensor:
        """States (B, T, 2H); the backward half of a sentence is moved to where `last` looks."""
        packed = nn.utils.rnn.pack_padded_sequence(
            x.float(), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        with torch.autocast(x.device.type, enabled=False):
            out, _ = self.rnn(packed)
            states, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
        forward, backward = states.chunk(2, -1)
        if self.pool is not POOLINGS["last"]:
            return states
        whole = backward[:, :1].expand_as(backward)  # at the first word it has read the sentence
        return torch.cat([forward, whole], -1)


class GRUEncoder(RecurrentEncoder):
    """A GRU over the words."""

    paper = "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder"
    year = 2014
    cell = nn.GRU


class LSTMEncoder(RecurrentEncoder):
    """An LSTM over the words."""

    paper = "Hochreiter & Schmidhuber, Long Short-Term Memory"
    year = 1997
    cell = nn.LSTM


@dataclass(frozen=True)
class RecurrentState:
    """The recurrence's own state and what z adds at every step and to the features."""

    state: State
    every_step: Tensor  # (N, D + C) or (N, 0)
    skip: Tensor | None  # (N, F)

    def select(self, index: Tensor) -> RecurrentState:
        """The chosen rows."""
        state = tuple(part[:, index] for part in self.state)
        skip = None if self.skip is None else self.skip[index]
        return RecurrentState(state, self.every_step[index], skip)


class RecurrentDecoder(TextDecoder, ABC):
    """z reaches it in the first state, at every step and past the recurrence at the softmax, by choice."""

    cell: ClassVar[type[nn.GRU] | type[nn.LSTM]]

    def __init__(
        self,
        vocab_size: int,
        special: SpecialIds,
        latent_dim: int,
        embed: Size = 256,
        hidden: Size = 256,
        layers: Size = 1,
        dropout: Rate = 0.0,
        z_to: tuple[Place, ...] = ("state", "steps", "softmax"),
        tie: bool = False,
        condition: int = 0,
    ) -> None:
        super().__init__()
        places = set(z_to) if latent_dim else set()
        self.special, self.steps = special, "steps" in places
        self.embedding = nn.Embedding(vocab_size, embed)
        nn.init.normal_(self.embedding.weight, std=0.1)
        between = dropout if layers > 1 else 0.0
        width = embed + (latent_dim if self.steps else 0)
        self.rnn = self.cell(width, hidden, layers, batch_first=True, dropout=between)
        if self.steps:
            self._tell_steps(condition)
        self.dropout = nn.Dropout(dropout)
        self.first = widened(nn.Linear(latent_dim, layers * hidden), condition) if "state" in places else None
        features = embed if tie else hidden
        self.narrow = nn.Linear(hidden, features) if features != hidden else nn.Identity()
        self.skip = widened(nn.Linear(latent_dim, features), condition) if "softmax" in places else None
        tied = self.embedding.weight if tie else None
        self.head = OutputHead(features, vocab_size, never_said(special), tied)

    def _tell_steps(self, condition: int) -> None:
        """Let the recurrence read `condition` features more, to which it is deaf at first."""
        weight: Tensor = self.rnn.get_parameter("weight_ih_l0")
        self.rnn.weight_ih_l0 = with_zeros(weight, condition)
        self.rnn.input_size += condition

    def start(self, z: Tensor, c: Tensor | None = None) -> RecurrentState:
        """The state before the first word, for codes (N, D)."""
        z = beside(z, c)
        skip = None if self.skip is None else self.skip(z)
        return RecurrentState(self._first_state(z), z if self.steps else z[:, :0], skip)

    def read(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:  # type: ignore[override]
        """Features (N, T, F) after each of the words (N, T), and the state after the last."""
        x = self.dropout(self.embedding(inputs))  # (N, T, E)
        every_step = state.every_step[:, None].expand(-1, x.shape[1], -1)
        y, last = run(self.rnn, torch.cat([x, every_step.to(x)], -1), state.state)
        features = self.narrow(self.dropout(y))
        if state.skip is not None:
            features = features + state.skip[:, None]
        return features, replace(state, state=last)

    def _first_state(self, z: Tensor) -> State:
        layers, hidden = self.rnn.num_layers, self.rnn.hidden_size
        if self.first is None:
            cell = z.new_zeros(layers, len(z), hidden)
        else:
            cell = self.first(z).view(len(z), layers, hidden).transpose(0, 1).contiguous()
        output = torch.tanh(cell)  # what both cells may hold as their output
        return (output, cell) if self.cell is nn.LSTM else (output,)


class GRUDecoder(RecurrentDecoder):
    """A GRU that writes word by word."""

    paper = "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder"
    year = 2014
    cell = nn.GRU


class LSTMDecoder(RecurrentDecoder):
    """An LSTM that writes word by word, as in Bowman et al. 2016."""

    paper = "Bowman et al., Generating Sentences from a Continuous Space"
    year = 2016
    cell = nn.LSTM
