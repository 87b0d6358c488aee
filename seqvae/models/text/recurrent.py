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

from seqvae.data.text.batch import SpecialIds
from seqvae.models.conditioning import FeatureScale, append_zero_columns, concat_condition, extend_inputs
from seqvae.models.text.encoder import TextEncoder
from seqvae.models.text.kernels.buffers import copy_of, overwrite
from seqvae.models.text.kernels.cells import run_one_step
from seqvae.models.text.kernels.output_layer import OutputHead
from seqvae.models.text.kernels.recurrence import State, run_both_directions, run_rnn
from seqvae.models.text.likelihood import TextDecoder, forbidden_ids
from seqvae.models.text.pooling import POOLINGS, Pooling
from seqvae.utils.accelerator import is_asynchronous

Size = Annotated[int, Field(gt=0)]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
InjectionPoint = Literal["state", "steps", "softmax"]


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
        dropout: DropoutRate = 0.0,
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

    def pool_states(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B, H) of embedded words (B, T, E); `mask` (B, T) is false at padding."""
        x = self.dropout(x)
        if self.rnn.bidirectional:
            states = self._both_directions(x, mask)
        else:
            # padding is on the right, so no state of a real word depends on it
            states, _ = run_rnn(self.rnn, x)
        return self.dropout(self.pool(states.float(), mask))  # type: ignore[no-any-return]

    def _both_directions(self, x: Tensor, mask: Tensor) -> Tensor:
        """States (B, T, 2H) in fp32; for `last` the final backward state is copied to every position."""
        with torch.autocast(x.device.type, enabled=False):
            states = run_both_directions(self.rnn, x.float(), mask)
        forward, backward = states.chunk(2, -1)
        if self.pool is not POOLINGS["last"]:
            return states
        whole = backward[:, :1].expand_as(backward)  # the backward direction ends at the first word
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
    """The hidden state, and what z adds at every step and to the features."""

    state: State
    every_step: Tensor  # (N, D + C) or (N, 0)
    skip: Tensor | None  # (N, F)
    gain: Tensor | None = None  # (N, F) scales of the features

    def select(self, index: Tensor) -> RecurrentState:
        """The state of the rows at `index`."""
        state = tuple(part[:, index] for part in self.state)
        skip, gain = (None if x is None else x[index] for x in (self.skip, self.gain))
        return RecurrentState(state, self.every_step[index], skip, gain)

    def allocate(self, length: int) -> RecurrentState:
        """A copy; its size does not depend on the number of tokens."""
        return copy_of(self)

    def copy_from(self, other: RecurrentState) -> None:
        """Overwrite this state, in place, by another one."""
        overwrite(self, other)


class RecurrentDecoder(TextDecoder, ABC):
    """Reads z in the first state, at every step, or at the softmax past the recurrence (`z_to`).

    A condition is appended to z everywhere; at the softmax it also scales the term of z and the features.
    """

    shares_inputs = True
    cell: ClassVar[type[nn.GRU] | type[nn.LSTM]]

    def __init__(
        self,
        vocab_size: int,
        special: SpecialIds,
        latent_dim: int,
        embed: Size = 256,
        hidden: Size = 256,
        layers: Size = 1,
        dropout: DropoutRate = 0.0,
        z_to: tuple[InjectionPoint, ...] = ("state", "steps", "softmax"),
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
            self._extend_recurrence(condition)
        self.dropout = nn.Dropout(dropout)
        self.first = (
            extend_inputs(nn.Linear(latent_dim, layers * hidden), condition) if "state" in places else None
        )
        features = embed if tie else hidden
        self.narrow = nn.Linear(hidden, features) if features != hidden else nn.Identity()
        self.skip = extend_inputs(nn.Linear(latent_dim, features), condition) if "softmax" in places else None
        self.gains = FeatureScale(2 * features, condition) if condition and self.skip else None
        tied = self.embedding.weight if tie else None
        self.head = OutputHead(features, vocab_size, forbidden_ids(special), tied)

    def _extend_recurrence(self, condition: int) -> None:
        """Add `condition` features to the inputs of the recurrence, with weights 0 at first."""
        weight: Tensor = self.rnn.get_parameter("weight_ih_l0")
        self.rnn.weight_ih_l0 = append_zero_columns(weight, condition)
        self.rnn.input_size += condition

    def start(self, z: Tensor, c: Tensor | None = None) -> RecurrentState:
        """The state before the first word, for codes (N, D)."""
        z, gain = concat_condition(z, c), None
        skip = None if self.skip is None else self.skip(z)
        if self.gains is not None:
            gain, of_skip = self.gains(c).chunk(2, -1)
            skip = skip * of_skip
        return RecurrentState(self._first_state(z), z if self.steps else z[:, :0], skip, gain)

    def read(self, inputs: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:  # type: ignore[override]
        """Features (N, T, F) after each of the words (N, T), and the state after the last."""
        if self.training:  # each row has its own dropout mask
            inputs = inputs.repeat(len(state.every_step) // len(inputs), 1)
        x = self.dropout(self.embedding(inputs))  # (N, T, E), or fewer rows that several states share
        read = run_one_step if self._is_one_step(x, state) else run_rnn
        y, last = read(self.rnn, x, state.state, state.every_step)
        features = self.narrow(self.dropout(y))
        if state.gain is not None:
            features = features * state.gain[:, None].to(features)
        if state.skip is not None:
            features = features + state.skip[:, None]
        return features, replace(state, state=last)

    @staticmethod
    def _is_one_step(x: Tensor, state: RecurrentState) -> bool:
        """Whether x (N, T, E) is one word per row, on a device where a cell is faster than a recurrence."""
        if not is_asynchronous(x.device) or torch.is_grad_enabled():
            return False
        return x.shape[1] == 1 and len(x) == len(state.every_step)

    def _first_state(self, z: Tensor) -> State:
        layers, hidden = self.rnn.num_layers, self.rnn.hidden_size
        if self.first is None:
            cell = z.new_zeros(layers, len(z), hidden)
        else:
            cell = self.first(z).view(len(z), layers, hidden).transpose(0, 1).contiguous()
        output = torch.tanh(cell)  # a GRU and an LSTM both have outputs in (-1, 1)
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
