"""Discrete codes: independent categorical variables as one-hot vectors, with Gumbel-softmax gradients.

Shapes: S samples, B examples, G groups, C classes, D = G C latent dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.interfaces import Latent, register_kl
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.priors.categorical import UniformCategorical
from seqvae.numerics import one_hot


def sample_gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise -ln(-ln u): argmax(ln p + noise) is a sample from p (Gumbel 1954)."""
    return -torch.log(-torch.log(uniform))


def straight_through(scores: Tensor) -> Tensor:
    """One-hot vector at the largest entry of the last dim, in the shape and type of `scores`."""
    return one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)


def kl_to_uniform(log_p: Tensor) -> Tensor:
    """KL(p || uniform) = sum_c p_c ln p_c + ln C in nats: (..., G) from ln p (..., G, C).

    Example:
        >>> kl_to_uniform(torch.log_softmax(torch.tensor([[0.0, 0.0], [99.0, 0.0]]), -1))  # 0 and ln 2
        tensor([0.0000, 0.6931])
    """
    return (log_p.exp() * log_p).sum(-1) + math.log(log_p.shape[-1])


@dataclass(frozen=True)
class Concrete:
    """Independent categorical variables of B examples.

    Attributes:
        log_p: log probabilities (B, G, C).
        temperature: of the relaxation.
        soft: whether samples are relaxed; else they are one-hot, with the gradients of the relaxed ones.
    """

    log_p: Tensor
    temperature: float
    soft: bool

    @property
    def mean(self) -> Tensor:
        """E z, (B, D): the class probabilities."""
        return self.log_p.exp().flatten(-2)

    @property
    def point_estimate(self) -> Tensor:
        """One-hot codes (B, D) of the most likely classes, since the mean is not a valid code."""
        return straight_through(self.log_p).flatten(-2)

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, B, D); the gradient is that of the relaxed sample (straight-through)."""
        groups, classes = self.log_p.shape[-2:]
        uniform = random.uniform("posterior", n, groups, classes).transpose(0, 1)  # (n, B, G, C)
        scores = self.log_p + sample_gumbel(uniform).to(self.log_p)
        relaxed = torch.softmax(scores / self.temperature, -1)
        # the value is one-hot, the gradient that of `relaxed`
        z = relaxed if self.soft else straight_through(scores) + (relaxed - relaxed.detach())
        return z.flatten(-2)

    def log_prob(self, z: Tensor) -> Tensor:
        """Sum over groups of ln p(class) in nats, (S, B), for one-hot z (S, B, D).

        For a relaxed z it is a weighted mean of ln p: not a density, and no bound can be built on it.
        """
        return (z * self.log_p.flatten(-2)).sum(-1)

    def detach(self) -> Concrete:
        """The same distribution, without gradients."""
        return replace(self, log_p=self.log_p.detach())

    def select(self, i: Tensor | slice) -> Concrete:
        """The posteriors of the examples with indices `i`."""
        return replace(self, log_p=self.log_p[i])


@register_kl(Concrete, UniformCategorical)
def _kl_to_uniform(q: Concrete, p: UniformCategorical) -> Tensor:
    return kl_to_uniform(q.log_p)  # (B, G), of the discrete choices whether or not z is relaxed


@register_kl(Concrete, object)
def _no_kl(q: Concrete, p: object) -> Tensor:
    raise UserError("latent 'categorical' got a prior over real codes: use its own, uniform_categorical")


class Categorical(Latent):
    """q(z|x) is a product of `groups` categorical variables; z concatenates their one-hot vectors.

    Samples are drawn by the Gumbel-max trick, with the gradient of the softmax at `temperature` (also
    Maddison et al. 2017, The Concrete Distribution). Evaluation always uses one-hot codes: rate, likelihoods
    and MI are those of the discrete code, at most groups x ln(classes) nats.

    Args:
        features: H, the number of encoder features.
        groups: G.
        classes: C; D = G C.
        temperature: of the relaxation.
        straight_through: train the decoder on one-hot codes, as at evaluation, with a biased gradient; else
            on relaxed codes, whose distortion is not that of the evaluated model.
    """

    paper = "Jang et al., Categorical Reparameterization with Gumbel-Softmax"
    year = 2017
    reparameterized = False
    default_prior: ClassVar[str] = "uniform_categorical"
    priors: ClassVar[tuple[str, ...]] = (default_prior,)

    def __init__(
        self,
        features: int,
        groups: Annotated[int, Field(gt=0)] = 16,
        classes: Annotated[int, Field(ge=2)] = 8,
        temperature: Annotated[float, Field(gt=0)] = 1.0,
        straight_through: bool = True,
    ) -> None:
        super().__init__()
        self.dim, self.groups, self.classes = groups * classes, groups, classes
        self.temperature, self.straight_through = temperature, straight_through
        self.logits = nn.Linear(features, self.dim)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> Concrete:
        """q(z|x) from features h (B, H)."""
        logits = self.logits(h).unflatten(-1, (self.groups, -1))
        soft = self.training and not self.straight_through
        return Concrete(torch.log_softmax(logits, -1), self.temperature, soft)
