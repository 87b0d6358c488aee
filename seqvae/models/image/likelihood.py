"""p(x|z) over images: Bernoulli, Gaussian and discretised logistic pixels.

Pixels are independent given z, of values in [0, 1].
Shapes: S samples, B examples, C x H x W an image; x (B, C, H, W) broadcasts to (S, B, C, H, W).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from seqvae.data.image.batch import ImageBatch
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.diagonal_normals import scaled_squares
from seqvae.numerics import LOG_2PI

LEVELS = 256


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """Sum of x l - log(1 + e^l) over all but the first two dims: (S, B) nats."""
    x, logits = x.flatten(1), logits.flatten(2)
    weighed: Tensor = torch.linalg.vecdot(logits, x)
    return weighed - softplus(logits).sum(-1)


def gaussian_log_prob(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Log N(x; mean, exp(logvar)), summed over all but the first two dims: (S, B) nats."""
    squares = scaled_squares(x - mean, logvar)
    return -0.5 * (LOG_2PI + logvar + squares).flatten(2).sum(-1)


def logistic_log_prob(x: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """Log of the mass of Logistic(location, scale) in the bin of each level, summed: (S, B) nats.

    The level k of x = k / 255 has the bin (k - 1/2, k + 1/2) / 255; the bins of 0 and 255 are unbounded.
    Inside, F(b) - F(a) = F(b) (1 - F(a)) (1 - e^(a - b)) in units of the scale: no cancellation.
    """
    last = LEVELS - 1
    level = torch.round(x * last)
    inverse = torch.exp(-log_scale)
    below = ((level - 0.5) / last - location) * inverse
    above = ((level + 0.5) / last - location) * inverse
    upper = torch.where(level < last, logsigmoid(above), 0.0)
    lower = torch.where(level > 0, logsigmoid(-below), 0.0)
    width = torch.where((level > 0) & (level < last), torch.log(-torch.expm1(-inverse / last)), 0.0)
    return (upper + lower + width).flatten(2).sum(-1)


class PixelLikelihood(ABC):
    """p(x|z) for S codes of each of B images; all parameters are fp32."""

    support: str  # binary | real | levels

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Mean image (S, B, C, H, W) in [0, 1]."""

    def log_prob(self, batch: ImageBatch) -> Tensor:
        """Log p(x|z) in nats, (S, B), summed over pixels."""
        with torch.autocast(batch.targets.device.type, enabled=False):
            return self.score(batch.targets.float())

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """`log_prob` (S, B) of images (B, C, H, W), in nats."""

    @abstractmethod
    def sample(self, random: KeyedNoise) -> Tensor:
        """Sample one image per code, (S, B, C, H, W), with the examples' own noise."""


def _noise(random: KeyedNoise, like: Tensor) -> Tensor:
    """Uniform noise in the shape (S, B, C, H, W) of `like`, keyed by example."""
    samples, size, *shape = like.shape
    return random.for_n(size).uniform("pixels", samples, *shape).transpose(0, 1).to(like)


@dataclass(frozen=True)
class Bernoulli(PixelLikelihood):
    """Each pixel is white with probability sigmoid(logit).

    Grey targets are scored by the usual cross-entropy sum x l - log(1 + e^l), which is not a normalised
    density and only comparable with itself. `support` stays "binary".
    """

    logits: Tensor
    support = "binary"

    @property
    def mean(self) -> Tensor:
        """The probability of white, (S, B, C, H, W)."""
        return torch.sigmoid(self.logits)

    def score(self, x: Tensor) -> Tensor:
        """Log p(x|z) in nats, (S, B)."""
        return bernoulli_log_prob(x, self.logits)

    def sample(self, random: KeyedNoise) -> Tensor:
        """Binary images (S, B, C, H, W)."""
        return (_noise(random, self.logits) < self.mean).float()


@dataclass(frozen=True)
class Gaussian(PixelLikelihood):
    """N(x; location, exp(logvar)) per pixel; `logvar` is a scalar or one per pixel."""

    location: Tensor
    logvar: Tensor
    support = "real"

    @property
    def mean(self) -> Tensor:
        """The location (S, B, C, H, W)."""
        return self.location

    def score(self, x: Tensor) -> Tensor:
        """Log density in nats, (S, B)."""
        return gaussian_log_prob(x, self.location, self.logvar)

    def sample(self, random: KeyedNoise) -> Tensor:
        """Real values (S, B, C, H, W), possibly outside [0, 1]."""
        samples, size, *shape = self.location.shape
        noise = random.for_n(size).normal("pixels", samples, *shape).transpose(0, 1).to(self.location)
        return self.location + torch.exp(0.5 * self.logvar) * noise


@dataclass(frozen=True)
class DiscretizedLogistic(PixelLikelihood):
    """The mass of a logistic in the bin of each of 256 levels (Kingma et al. 2016; Salimans et al. 2017)."""

    location: Tensor
    log_scale: Tensor  # a scalar or one per pixel; the scale is in units of the range [0, 1]
    support = "levels"

    @property
    def mean(self) -> Tensor:
        """The location (S, B, C, H, W), also the logistic's median."""
        return self.location

    def score(self, x: Tensor) -> Tensor:
        """Log mass in nats, (S, B)."""
        return logistic_log_prob(x, self.location, self.log_scale)

    def sample(self, random: KeyedNoise) -> Tensor:
        """Levels k / 255, (S, B, C, H, W)."""
        real = self.location + torch.exp(self.log_scale) * torch.logit(_noise(random, self.location))
        return torch.round(real.clamp(0, 1) * (LEVELS - 1)) / (LEVELS - 1)


def at_least(raw: Tensor, low: float) -> Tensor:
    """Smooth lower bound `low` + log(1 + e^(raw - low)): close to raw if that is large."""
    return low + softplus(raw - low)


LOWEST_LOGVAR = -2 * math.log(LEVELS)  # a standard deviation of one grey level
LOWEST_LOG_SCALE = -9.0  # all but 1e-7 of the mass may be in one bin
