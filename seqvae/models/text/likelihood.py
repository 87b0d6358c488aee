"""p(x|z) over sentences as an object, and the base class of autoregressive decoders.

Shapes: S samples, B sentences, N = S x B rows, T tokens, H features, V words, D latent dims.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol, Self

from torch import Tensor

from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.interfaces import Decoder
from seqvae.models.text.kernels.output_layer import OutputHead
from seqvae.numerics import masked_sum
from seqvae.utils.accelerator import SessionCache

if TYPE_CHECKING:
    from seqvae.models.vae import VAE


class DecoderState(Protocol):
    """The state of a decoder between two calls of `read`."""

    def select(self, index: Tensor) -> Self:
        """The state of the rows at `index`: beams may repeat a row, and ended sentences are dropped."""
        ...

    def allocate(self, length: int) -> Self:
        """A copy with room for `length` tokens in total.

        `read` may write into such a state. Its shapes do not depend on the number of tokens read, so that
        reading one token can be captured as a CUDA graph.
        """
        ...

    def copy_from(self, other: Self) -> None:
        """Overwrite this allocated state, in place, by one of as many rows, allocated or from `start`."""
        ...


class TextDecoder(Decoder[TextBatch]):
    """p(x|z) = prod_t p(x_t | x_<t, z). Teacher forcing and decoding both use `start` and `read`."""

    head: OutputHead
    special: SpecialIds
    shares_inputs = False  # whether `read` takes words (B, T) for states of S x B rows

    def __init__(self) -> None:
        super().__init__()
        self.sessions = SessionCache()

    @abstractmethod
    def start(self, z: Tensor, c: Tensor | None = None) -> DecoderState:
        """The state before the first word, for codes (N, D)."""

    @abstractmethod
    def read(self, inputs: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read words (N, T); features (N, T, H) for the head, and the state after them."""

    def forward(self, z: Tensor, c: Tensor | None = None) -> Autoregressive:
        """p(x|z) for z (S, B, D)."""
        return Autoregressive(self, z, c)


class Autoregressive:
    """p(x|z) for S codes of each of B sentences."""

    support = "tokens"

    def __init__(self, decoder: TextDecoder, z: Tensor, c: Tensor | None = None) -> None:
        self.decoder, self.z, self.c = decoder, z, c

    def token_log_probs(self, batch: TextBatch) -> Tensor:
        """Log p(x_t | x_<t, z) in nats, (S, B, T), zero at padding."""
        samples = len(self.z)
        state = self.start()
        inputs = batch.inputs if self.decoder.shares_inputs else batch.inputs.repeat(samples, 1)
        features, _ = self.decoder.read(inputs, state)  # (S B, T, H)
        log_probs = self.decoder.head.log_prob(features, batch.targets.repeat(samples, 1))
        return log_probs.view(samples, *batch.targets.shape).masked_fill(~batch.mask, 0.0)

    def log_prob(self, batch: TextBatch) -> Tensor:
        """Log p(x|z) in nats, (S, B), the end token counted."""
        return masked_sum(self.token_log_probs(batch), batch.mask)

    def start(self) -> DecoderState:
        """The decoder's state before the first word, for the S x B codes as rows."""
        c = self.c if self.c is None else self.c.repeat(len(self.z), 1)
        return self.decoder.start(self.z.flatten(0, 1), c)


def start_decoder(vae: VAE, z: Tensor, c: Tensor | None = None) -> tuple[TextDecoder, DecoderState]:
    """The decoder of a text model, and its state before the first word.

    Args:
        vae: a model of text.
        z: codes (N, D).
        c: condition (N, C), by default that of the model.
    """
    likelihood = vae.likelihood(z[None], c)
    assert isinstance(likelihood, Autoregressive)
    return likelihood.decoder, likelihood.start()


def forbidden_ids(special: SpecialIds) -> tuple[int, ...]:
    """Padding and start; the start is allowed if it is also the end token, as in GPT-2's tokenizers."""
    return tuple({special.pad, special.bos} - {special.eos})
