"""Steps of a search on fixed buffers, captured as CUDA graphs that the next call reuses.

Shapes: N sentences, n of them that a step works on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic

import torch
from torch import Tensor, nn

from seqvae.models.text.kernels.buffers import bytes_of, tensors_in
from seqvae.models.text.kernels.precision import HeldWeights, cast_cached, compute_dtype, weight_cache
from seqvae.models.text.likelihood import DecoderState, TextDecoder
from seqvae.models.text.search import Read, S, Search, Stepper
from seqvae.numerics import static_execution
from seqvae.utils.accelerator import Function, Graphs

SMALLEST = 16  # rows of the smallest step
KEPT, KEPT_BYTES = 4, 1 << 30  # sessions that a decoder keeps, and the most bytes of the buffers of each


def padded_size(rows: int) -> int:
    """Size of a step for `rows` sentences: 16, 24, 32, 48, 64, 96 ..., so that few graphs are captured."""
    size = max(SMALLEST, 1 << (rows - 1).bit_length())
    return size * 3 // 4 if rows <= size * 3 // 4 and size > SMALLEST else size


def pad_index(index: Tensor) -> Tensor:
    """The index (m,), padded to the size of a step by repeating its first row."""
    return torch.cat([index, index[:1].expand(padded_size(len(index)) - len(index))])


class FixedStepper(Stepper[S]):
    """Runs steps on a state at fixed addresses, which each step reads and overwrites."""

    def __init__(self, search: Search[S], state: S, session: Session[S]) -> None:
        super().__init__(search, state)
        self.session = session
        self.replay: Function = self.work

    def work(self) -> None:
        """One step; this function is captured."""
        with weight_cache(self.session.weights), static_execution():
            self.state.copy_from(self.search.step(self.state))

    def step(self) -> None:
        """Write one word of every sentence."""
        self.replay()

    def drop_ended(self, active: Tensor) -> Stepper[S]:
        """This stepper, or a smaller one if half the rows suffice for `active` (m,)."""
        if 2 * padded_size(len(active)) > len(self.state.active):
            return self
        return self.session.stepper(self.state.select_padded(pad_index(active), len(active)))


class Session(Generic[S]):
    """The steppers of one search, one per size; they share copies of weights and the memory of graphs."""

    def __init__(self, search: Search[S], device: torch.device) -> None:
        self.search, self.graphs, self.weights = search, Graphs(device), HeldWeights()
        self.renewals: list[Function] = []
        self.steppers: dict[int, FixedStepper[S]] = {}

    def start(self, state: S) -> FixedStepper[S]:
        """The first stepper of a call, with copies of the current weights."""
        for renew in self.renewals:
            renew()
        return self.stepper(state)

    def stepper(self, state: S) -> FixedStepper[S]:
        """The stepper for as many rows as `state` has, filled with `state`."""
        size = len(state.active)
        if size not in self.steppers:
            self.steppers[size] = self._capture(state)
        self.steppers[size].state.copy_from(state)
        return self.steppers[size]

    def _capture(self, state: S) -> FixedStepper[S]:
        """A stepper whose step is captured.

        The warm-up step runs on the values of `state`. What it writes into tables of all N is written there
        again by the first real step.
        """
        stepper = FixedStepper(self.search, state.allocate(self.search.steps), self)
        known = set(self.weights.makers)
        self.graphs.warm_up(stepper.work)
        if new := [key for key in self.weights.makers if key not in known]:
            # weights change between calls: a graph of its own makes the copies again, in its memory
            self.renewals.append(self.graphs.capture(lambda: self.weights.renew(new)))
            self.renewals[-1]()
        stepper.state.copy_from(state)  # undoes the warm-up step
        stepper.replay = self.graphs.capture(stepper.work)
        return stepper

    @property
    def bytes(self) -> int:
        """Size of the buffers in bytes."""
        return sum(bytes_of(stepper.state) for stepper in self.steppers.values())


@contextmanager
def open_session(
    decoder: TextDecoder, how: Hashable, state: S, make: Callable[[Read], Search[S]]
) -> Iterator[Session[S]]:
    """The session of an earlier call with states of the same shapes, or a new one; small ones are kept."""
    key = _session_key(decoder, state.decoder, how)
    device = state.active.device
    session = decoder.sessions.take(key) or Session(make(_cast_reader(decoder)), device)
    yield session
    if session.bytes <= KEPT_BYTES:
        decoder.sessions.put(key, session, KEPT)


def _session_key(decoder: TextDecoder, state: DecoderState, *what: Hashable) -> Hashable:
    """Everything that a captured graph depends on: addresses of weights, shapes, precision and mode."""
    tensors = [*decoder.parameters(), *decoder.buffers()]
    form = tuple((tuple(x.shape), x.dtype) for x in tensors_in(state))
    device = tensors[0].device
    return (*what, form, device, compute_dtype(device), decoder.training, *(x.data_ptr() for x in tensors))


def _cast_reader(decoder: TextDecoder) -> Read:
    """`decoder.read` with weights of linear layers cast once; autocast would cast them for every word.

    Other weights are not cast: autocast runs norms in fp32.
    """
    module = _Reader(decoder)
    layers = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    weights = {
        f"{name}.{kind}": weight
        for name in layers
        for kind, weight in module.get_submodule(name).named_parameters(recurse=False)
    }

    def read(words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        dtype = compute_dtype(words.device)
        if dtype == torch.float32:
            return decoder.read(words, state)
        cast = {name: cast_cached(weight, dtype) for name, weight in weights.items()}
        found: Any = torch.func.functional_call(module, cast, (words, state), tie_weights=False)
        return found  # type: ignore[no-any-return]

    return read


class _Reader(nn.Module):
    """A module whose forward pass is the decoder's `read`."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        return self.decoder.read(words, state)
