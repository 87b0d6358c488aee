"""Steps of a search on fixed buffers, captured as CUDA graphs and kept for the next call.

Shapes: N sentences, n that a stage works on.
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
from seqvae.models.text.search import F, Read, Search, Stage
from seqvae.numerics import static_execution
from seqvae.utils.accelerator import Function, Graphs

FEWEST = 16  # rows of the smallest stage
KEPT, KEPT_BYTES = 4, 1 << 30  # sessions of a decoder, and what the buffers of one may hold


def stage_size(rows: int) -> int:
    """The rows of a stage for so many sentences: 16, 24, 32, 48, 64, 96 ..., so that few graphs serve all."""
    size = max(FEWEST, 1 << (rows - 1).bit_length())
    return size * 3 // 4 if rows <= size * 3 // 4 and size > FEWEST else size


def filled_up(index: Tensor) -> Tensor:
    """The rows (m,), and the first of them again and again until they are as many as a stage has."""
    return torch.cat([index, index[:1].expand(stage_size(len(index)) - len(index))])


class FixedStage(Stage[F]):
    """A stage whose frame stays where it is: each step reads it and writes it."""

    def __init__(self, search: Search[F], frame: F, session: Session[F]) -> None:
        super().__init__(search, frame)
        self.session = session
        self.replay: Function = self.work

    def work(self) -> None:
        """One word of every sentence: what is captured."""
        with weight_cache(self.session.held), static_execution():
            self.frame.take(self.search.step(self.frame))

    def step(self) -> None:
        """One word of every sentence."""
        self.replay()

    def keep(self, going: Tensor) -> Stage[F]:
        """The stage of those rows (m,) that go on: this one, unless half the rows are enough for them."""
        if 2 * stage_size(len(going)) > len(self.frame.going):
            return self
        return self.session.stage(self.frame.refilled(filled_up(going), len(going)))


class Session(Generic[F]):
    """A search's stages for frames of one form; they share what is made of the weights, and their memory."""

    def __init__(self, search: Search[F], device: torch.device) -> None:
        self.search, self.graphs, self.held = search, Graphs(device), HeldWeights()
        self.renewals: list[Function] = []
        self.stages: dict[int, FixedStage[F]] = {}

    def start(self, frame: F) -> FixedStage[F]:
        """The first stage, of the weights as they are now."""
        for renew in self.renewals:
            renew()
        return self.stage(frame)

    def stage(self, frame: F) -> FixedStage[F]:
        """The stage of a frame, on its numbers."""
        size = len(frame.going)
        if size not in self.stages:
            self.stages[size] = self._captured(frame)
        self.stages[size].frame.take(frame)
        return self.stages[size]

    def _captured(self, frame: F) -> FixedStage[F]:
        """A stage whose step is captured, and with it what it is the first to make of the weights.

        The step that warms up works on the frame's own numbers: what it writes into tables, the first real
        step writes there again.
        """
        stage, known = FixedStage(self.search, frame.fixed(self.search.steps), self), set(self.held.makers)
        self.graphs.warm_up(stage.work)
        if new := [key for key in self.held.makers if key not in known]:
            # their memory is then that of a graph, which makes them anew at the start of each call
            self.renewals.append(self.graphs.capture(lambda: self.held.renew(new)))
            self.renewals[-1]()
        stage.frame.take(frame)  # as it was before the step that warmed up
        stage.replay = self.graphs.capture(stage.work)
        return stage

    @property
    def bytes(self) -> int:
        """What its buffers hold."""
        return sum(bytes_of(stage.frame) for stage in self.stages.values())


@contextmanager
def borrowed_session(
    decoder: TextDecoder, how: Hashable, frame: F, make: Callable[[Read], Search[F]]
) -> Iterator[Session[F]]:
    """The session of an earlier call for such frames, or a new one; a small one is kept for the next call."""
    device = frame.words.device
    key = _session_key(decoder, frame.state, how)
    session = decoder.searches.borrow(key, lambda: Session(make(_reader(decoder)), device))
    yield session
    if session.bytes <= KEPT_BYTES:
        decoder.searches.put_back(key, session, KEPT)


def _session_key(decoder: TextDecoder, state: DecoderState, *what: Hashable) -> Hashable:
    """What must be the same for captured work to serve again: addresses, shapes, precision and mode."""
    tensors = [*decoder.parameters(), *decoder.buffers()]
    form = tuple((tuple(x.shape), x.dtype) for x in tensors_in(state))
    device = tensors[0].device
    return (*what, form, device, compute_dtype(device), decoder.training, *(x.data_ptr() for x in tensors))


def _reader(decoder: TextDecoder) -> Read:
    """`decoder.read` by copies of its linear layers' weights in the precision of the surroundings.

    Autocast would make them at every word. It leaves what runs in fp32, as norms, to the weights themselves.
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
        lows = {name: cast_cached(weight, dtype) for name, weight in weights.items()}
        found: tuple[Tensor, Any] = torch.func.functional_call(
            module, lows, (words, state), tie_weights=False
        )
        return found

    return read


class _Reader(nn.Module):
    """A module whose forward pass is the decoder's `read`."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        return self.decoder.read(words, state)
