"""The sockets of a model: what an encoder, latent, prior, decoder and likelihood must be able to do.

Shapes: S samples, B examples, D latent dims, H features, C conditions. Everything above this floor knows only
z, q(z|x), p(z), p(x|z) and nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.interfaces.kl import kl_divergence
from seqvae.interfaces.modality import Batch

if TYPE_CHECKING:
    from seqvae.keyed_noise import KeyedNoise


class Posterior(Protocol):
    """q(z|x) for B examples."""

    @property
    def mean(self) -> Tensor:
        """(B, D)."""
        ...

    @property
    def point_estimate(self) -> Tensor:
        """(B, D): the one code that is decoded for each example, the mean unless that is no code."""
        ...

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, B, D), differentiable, drawn with the examples' own noise."""
        ...

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, B) nats, for z (S, B, D) or anything that broadcasts to it."""
        ...

    def detach(self) -> Self:
        """The same distribution, without gradients."""
        ...

    def select(self, i: Tensor | slice) -> Self:
        """q(z|x) of the chosen examples."""
        ...


def point_estimate(q: Posterior) -> Tensor:
    """(B, D): the one code that is decoded for each example."""
    return q.point_estimate


class PriorDistribution(Protocol):
    """p(z)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, B) nats for z (S, B, D)."""
        ...

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, D); row i of the noise belongs to sample i."""
        ...


class Likelihood(Protocol):
    """p(x|z) as an object: loss, metrics and generation need to know no more."""

    support: str  # tokens | binary | levels | real; numbers of different supports are not comparable

    def log_prob(self, batch: Batch) -> Tensor:
        """(S, B) nats, summed over each example."""
        ...


class Citable:
    """Whatever comes from a paper says which."""

    paper: ClassVar[str] = ""  # authors, title, where
    year: ClassVar[int] = 0


class Encoder(nn.Module, Citable, ABC):
    """Reads a batch into features.

    `own_source` is true where `batch.source` holds something else than the run's own tokens: vectors, or ids
    of another tokenizer.
    """

    out_dim: int
    own_source: ClassVar[bool] = False
    activation_width: int = 0  # W of `activations`; 0 where nothing frozen is read

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """H (B, H), H = `out_dim`."""

    def activations(self, batch: Batch) -> Tensor:
        """(B, W) what a frozen model made of the examples, standardised.

        Raises:
            UserError: this encoder reads no such activations.
        """
        raise UserError(f"{type(self).__name__} reads no activations of a frozen model")

    def pseudo_inputs(self, count: int) -> Tensor:
        """First values of `count` inputs that can be learned, (count, ...) as `read` takes them.

        Raises:
            UserError: this encoder reads no such inputs.
        """
        raise UserError(f"{type(self).__name__} reads no learned inputs, which vamp needs: use prior mixture")

    def read(self, x: Tensor) -> Tensor:
        """H (B, H) of inputs (B, ...) such as `pseudo_inputs` gives.

        Raises:
            UserError: this encoder reads no such inputs.
        """
        raise UserError(f"{type(self).__name__} reads no learned inputs, which vamp needs: use prior mixture")


class Latent(nn.Module, Citable, ABC):
    """A family of q(z|x) and its divergence from the prior.

    `has_density` is false where log q(z|x) does not exist (a plain autoencoder): rate and likelihoods
    are then not defined, and evaluation says so instead of printing a number. `needs_encoder` is false where
    no encoder is needed. `is_diagonal_gaussian` is true where q(z|x) is a normal with `mean` and `logvar` (B,
    D). `reparameterized` is false where codes are choices, whose draws have no gradient but a substitute.
    `condition` is how many features C the family tells posterior and decoder besides x: the rate that is
    asked for.
    """

    dim: int
    condition: int = 0
    needs_encoder: ClassVar[bool] = True
    default_prior: ClassVar[str] = "standard"  # where the config names none
    priors: ClassVar[tuple[str, ...]] = ()  # the only ones that fit, where not all do
    has_density: ClassVar[bool] = True
    is_diagonal_gaussian: ClassVar[bool] = False
    reparameterized: ClassVar[bool] = True

    @abstractmethod
    def posterior(self, h: Tensor, c: Tensor | None = None) -> Posterior:
        """q(z|x) from features (B, H), labels among them; c (B, C) is what the family is told besides.

        Only a family whose `condition` C is not 0 is ever told one.
        """

    def kl(self, q: Any, p: PriorDistribution, z: Tensor) -> Tensor:
        """KL(q || p) in nats by `kl_divergence`: (1, B, D) in closed form, else (S, B, 1) from draws z.

        (1, B, 1) or (1, B, G) where dims do not come apart, or groups of them do.
        """
        return kl_divergence(q, p, z)

    def default_condition(self, random: KeyedNoise) -> Tensor | None:
        """C (B, C) of the examples of `random`: drawn in training, the default at use; none where C = 0."""
        return None

    def decoder_inputs(self, z: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the decoder reads of codes z (S, B, D) and hears of the whole condition (B, C).

        What the family told is the condition's end.
        """
        return z, c

    def rate_condition(self, nats: Tensor) -> Tensor:
        """C (B, C) that asks for rates (B,) in nats.

        Raises:
            UserError: a rate that this family was not trained for, or one that knows no rates.
        """
        raise UserError(
            "this run has no dial: a rate can be chosen where the latent is exact_rate and was trained "
            "over a range, as `nats: [2, 64]`"
        )

    def at_rate(self, nats: float) -> Self:
        """The same family with another default rate.

        Raises:
            UserError: as `rate_condition`.
        """
        self.rate_condition(torch.tensor([nats]))
        return self


class Prior(nn.Module, Citable, ABC):
    """p(z), or p(z|c) where it is told the C = `condition` features c."""

    condition: int = 0

    @abstractmethod
    def forward(self, c: Tensor | None = None) -> PriorDistribution:
        """The distribution, differentiable in the prior's own parameters."""


class Decoder(nn.Module, Citable, ABC):
    """Turns codes into p(x|z)."""

    @abstractmethod
    def forward(self, z: Tensor, c: Tensor | None = None) -> Likelihood:
        """p(x|z) for z (S, B, D)."""
