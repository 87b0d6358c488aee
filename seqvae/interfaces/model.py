"""Base classes and protocols of the model: encoder, latent, prior, decoder and their distributions.

Shapes: S samples, B examples, D latent dims, H features, C conditions. Code above this layer sees only
z, q(z|x), p(z), p(x|z) and nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self

import torch
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.interfaces.batch import BatchT, ReadBatchT
from seqvae.interfaces.kl import kl_divergence

if TYPE_CHECKING:
    from seqvae.keyed_noise import KeyedNoise


class Posterior(Protocol):
    """q(z|x) of B examples."""

    @property
    def mean(self) -> Tensor:
        """E[z], (B, D)."""
        ...

    @property
    def point_estimate(self) -> Tensor:
        """(B, D): the code that is decoded per example: the mean, unless the mean is not a valid code."""
        ...

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, B, D): `n` reparameterised samples per example, from the noise of the examples."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """Log q(z|x) in nats, (S, B), for z (S, B, D) or any shape that broadcasts to it."""
        ...

    def detach(self) -> Self:
        """The same distribution, without gradients."""
        ...

    def select(self, i: Tensor | slice) -> Self:
        """q(z|x) of the examples with indices `i`."""
        ...


def point_estimate(q: Posterior) -> Tensor:
    """(B, D): the code that is decoded per example, `q.point_estimate`."""
    return q.point_estimate


class PriorDistribution(Protocol):
    """p(z)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, (S, B), for z (S, B, D)."""
        ...

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, D): `n` samples; sample i uses row i of the noise, so it does not depend on `n`."""
        ...


class Likelihood(Protocol[ReadBatchT]):
    """p(x|z) as a distribution object, which losses, metrics and generation read."""

    support: str  # tokens | binary | levels | real; numbers of different supports are not comparable

    def log_prob(self, batch: ReadBatchT) -> Tensor:
        """Log p(x|z) in nats, (S, B), summed over the targets of each example."""
        ...


class Citable:
    """Mixin that names the paper a class implements."""

    paper: ClassVar[str] = ""  # authors, title, where
    year: ClassVar[int] = 0


class Encoder(nn.Module, Citable, ABC, Generic[BatchT]):
    """Maps a batch to one feature vector per example.

    `out_dim` is H, the number of features. `own_source` is true where `batch.source` holds something else
    than the run's own tokens: vectors, or ids of another tokenizer.
    """

    out_dim: int
    own_source: ClassVar[bool] = False
    activation_width: int = 0  # W of `activations`; 0 where nothing frozen is read

    @abstractmethod
    def forward(self, batch: BatchT) -> Tensor:
        """Features h (B, H), H = `out_dim`."""

    def activations(self, batch: BatchT) -> Tensor:
        """(B, W) what a frozen model made of the examples, standardised.

        Raises:
            UserError: this encoder reads no such activations.
        """
        raise UserError(f"{type(self).__name__} reads no activations of a frozen model")

    def pseudo_inputs(self, count: int) -> Tensor:
        """Initial values of `count` learnable pseudo-inputs, (count, ...), in the format of `read`.

        Raises:
            UserError: this encoder does not support pseudo-inputs.
        """
        raise UserError(f"{type(self).__name__} reads no learned inputs, which vamp needs: use prior mixture")

    def read(self, x: Tensor) -> Tensor:
        """Features h (B, H) of pseudo-inputs x (B, ...).

        Raises:
            UserError: this encoder does not support pseudo-inputs.
        """
        raise UserError(f"{type(self).__name__} reads no learned inputs, which vamp needs: use prior mixture")


class RateInterval(Protocol):
    """The rates in nats that a variable-rate latent was trained for."""

    @property
    def low(self) -> float:
        """The lowest."""
        ...

    @property
    def high(self) -> float:
        """The highest."""
        ...

    @property
    def geometric_mean(self) -> float:
        """The default rate."""
        ...

    def nats(self, c: Tensor) -> Tensor:
        """Rates (B, 1) in nats of their condition features c (B, 1)."""
        ...


class Latent(nn.Module, Citable, ABC):
    """A family of posteriors q(z|x) and its KL divergence from the prior.

    Attributes:
        dim: D, the number of latent dims.
        condition: C, the number of condition features that the family adds for posterior and decoder, such as
            the requested rate; 0 for most families.
        needs_encoder: false where no encoder is built.
        default_prior: prior that a config gets if it names none.
        priors: names of the only compatible priors; empty where all are.
        has_density: false where log q(z|x) does not exist (a plain autoencoder). Rate and likelihoods are
            then undefined, and evaluation reports that instead of a value.
        is_diagonal_gaussian: true where q(z|x) is a normal with `mean` and `logvar` (B, D).
        rate_range: the rates that it was trained for if it is variable-rate, else None.
        reparameterized: false where z is discrete, so that gradients of samples are a biased surrogate.
    """

    dim: int
    condition: int = 0
    needs_encoder: ClassVar[bool] = True
    default_prior: ClassVar[str] = "standard"  # where the config names none
    priors: ClassVar[tuple[str, ...]] = ()  # the only ones that fit, where not all do
    has_density: ClassVar[bool] = True
    is_diagonal_gaussian: ClassVar[bool] = False
    reparameterized: ClassVar[bool] = True
    rate_range: RateInterval | None = None

    @abstractmethod
    def posterior(self, h: Tensor, c: Tensor | None = None) -> Posterior:
        """q(z|x) from the features of the encoder.

        Args:
            h: features (B, H), label features included.
            c: condition features (B, C) of this family; None where `condition` is 0.
        """

    def kl(self, q: Any, p: PriorDistribution, z: Tensor) -> Tensor:
        """KL(q || p) in nats by `kl_divergence`.

        Args:
            q: posterior of B examples.
            p: prior distribution.
            z: samples (S, B, D) from q, used where there is no closed form.

        Returns:
            (1, B, D) in closed form, (1, B, G) or (1, B, 1) where only groups of dims or no dims factorise,
            else an estimate (S, B, 1) from the samples.
        """
        return kl_divergence(q, p, z)

    def default_condition(self, random: KeyedNoise) -> Tensor | None:
        """C (B, C) per example of `random`: sampled in training, else the default; None where C = 0."""
        return None

    def decoder_inputs(self, z: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Codes and condition as the decoder reads them, from z (S, B, D) and the whole condition c (B, C).

        The features of this family are the last columns of c, after those of the labels.
        """
        return z, c

    def rate_condition(self, nats: Tensor) -> Tensor:
        """Condition features c (B, C) that request the rates `nats` (B,).

        Raises:
            UserError: a rate outside the trained range, or this family is not variable-rate.
        """
        raise UserError(
            "this run is not variable-rate: a rate can be chosen where the latent is exact_rate and was "
            "trained over a range, as `nats: [2, 64]`"
        )

    def at_rate(self, nats: float) -> Self:
        """The same family with another default rate.

        Raises:
            UserError: as `rate_condition`.
        """
        self.rate_condition(torch.tensor([nats]))
        return self


class Prior(nn.Module, Citable, ABC):
    """p(z), or p(z|c) where it is conditioned on C = `condition` features c."""

    condition: int = 0

    @abstractmethod
    def forward(self, c: Tensor | None = None) -> PriorDistribution:
        """The distribution p(z), or p(z|c) for c (B, C), differentiable in the parameters of the prior."""


class Decoder(nn.Module, Citable, ABC, Generic[BatchT]):
    """Maps codes to p(x|z)."""

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor | None = None) -> Likelihood[BatchT]:
        """p(x|z) for codes z (S, B, D), conditioned on c (B, C) where it is given."""
