"""The sockets: what an encoder, latent, prior, decoder, likelihood and remedy must be able to do.

Shapes: S samples, B examples, D latent dims, H features, C conditions. A `Batch` is a TextBatch, or any
later modality's own. Everything above this floor knows only z, q(z|x), p(z), p(x|z) and nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from torch import Tensor, nn

if TYPE_CHECKING:
    from seqvae.batch import Loss, VAEOutput
    from seqvae.numerics import Randomness

Batch = Any  # a TextBatch here; every wing brings its own type with size, index, random, labels, condition


class Posterior(Protocol):
    """q(z|x) for B examples."""

    @property
    def mean(self) -> Tensor:
        """(B, D)."""
        ...

    def rsample(self, n: int, random: Randomness) -> Tensor:
        """Z (n, B, D), differentiable, drawn with the examples' own noise."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, B) nats, for z (S, B, D) or anything that broadcasts to it."""
        ...

    def detach(self) -> Self:
        """The same distribution, without gradients."""
        ...

    def index(self, i: Tensor | slice) -> Self:
        """q(z|x) of the chosen examples."""
        ...


class PriorDistribution(Protocol):
    """p(z)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, B) nats for z (S, B, D)."""
        ...

    def sample(self, n: int, random: Randomness) -> Tensor:
        """Z (n, D); row i of the noise belongs to sample i."""
        ...


class Likelihood(Protocol):
    """p(x|z) as an object: loss, metrics and generation need to know no more."""

    support: str  # tokens | binary | levels | real; numbers of different supports are not comparable

    def log_prob(self, batch: Batch) -> Tensor:
        """(S, B) nats, summed over each example."""
        ...


class Sourced:
    """Whatever comes from a paper says which."""

    paper: ClassVar[str] = ""  # authors, title, where
    year: ClassVar[int] = 0


class Encoder(nn.Module, Sourced, ABC):
    """Reads a batch into features."""

    out_dim: int

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """H (B, H), H = `out_dim`."""


class Latent(nn.Module, Sourced, ABC):
    """A family of q(z|x) and its divergence from the prior.

    `has_density` is false where log q(z|x) does not exist (a plain autoencoder): rate and likelihoods
    are then not defined, and evaluation says so instead of printing a number. `reads` is false where no
    encoder is needed.
    """

    dim: int
    reads: ClassVar[bool] = True
    default_prior: ClassVar[str] = "standard"  # where the config names none
    has_density: ClassVar[bool] = True

    @abstractmethod
    def posterior(self, h: Tensor, c: Tensor | None = None) -> Posterior:
        """q(z|x) from features (B, H)."""

    @abstractmethod
    def kl(self, q: Any, p: PriorDistribution, z: Tensor) -> Tensor:
        """(S, B, D), or (S, B, 1) where dims do not come apart; closed form where there is one."""


class Prior(nn.Module, Sourced, ABC):
    """p(z)."""

    @abstractmethod
    def forward(self, c: Tensor | None = None) -> PriorDistribution:
        """The distribution, differentiable in the prior's own parameters."""


class Decoder(nn.Module, Sourced, ABC):
    """Turns codes into p(x|z)."""

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor | None = None) -> Likelihood:
        """p(x|z) for z (S, B, D)."""


@dataclass(frozen=True)
class Facts:
    """What a remedy may know of the run when it is attached."""

    total_steps: int
    examples: int
    batch_size: int
    latent_dim: int
    vocab_size: int | None = None


class Remedy(nn.Module, Sourced):
    """One cure; every method is idle by default and `objective.py` is its only caller.

    Parameters train with the model, buffers are saved with it. The model itself is never kept here.
    """

    batch_type: ClassVar[str] = "any"  # "text" or "image" where the remedy reads what only these have
    shapes_whole_kl: ClassVar[bool] = False  # true where shape_kl is not elementwise: one of these a run

    def attach(self, vae: nn.Module, facts: Facts) -> None:
        """Create what depends on the model's sizes or on the run's length; called once."""

    def encoder_reads(self, batch: Batch) -> Batch:
        """Change what the encoder reads (training only)."""
        return batch

    def decoder_reads(self, batch: Batch) -> Batch:
        """Change what the decoder reads (training only), never the targets."""
        return batch

    def shape_kl(self, kl: Tensor, out: VAEOutput, step: int) -> Tensor:
        """(B, D) -> (B or 1, any): the KL that the optimizer sees."""
        return kl

    def beta(self, step: int) -> Tensor | float:
        """A factor of the KL at update `step`, counted from 0."""
        return 1.0

    def settled_at(self) -> int:
        """The first step from which this remedy's schedule does not change any more."""
        return 0

    def extra(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> Mapping[str, Tensor]:
        """Further named terms () of the loss, already weighted."""
        return {}

    def trained_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """Which of {encoder, latent, prior, decoder} the coming step updates."""
        return parts

    def after_step(self, loss: Loss) -> None:
        """Feedback after an update."""

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """Feedback after a validation."""

    def adversary(self) -> nn.Module | None:
        """A second player with its own optimizer; `player(out, batch)` is its loss () on detached input."""
        return None
