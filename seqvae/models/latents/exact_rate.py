"""Exact-rate posterior: every example has a KL of exactly R nats, for one R or a range (variable rate).

Shapes: B examples, D latent dims, H features.
"""

from __future__ import annotations

import copy
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_shards import global_batch_size
from seqvae.distributed.batch_statistics import batch_mean
from seqvae.errors import UserError
from seqvae.interfaces import Latent
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.conditioning import QuadraticCodeMap, extend_inputs
from seqvae.models.latents.exact_normal import ExactNormal, log_variance, unit_vector
from seqvae.models.latents.rate_range import RateRange, RateSampling

MOMENTUM = 0.1  # of the running statistics for evaluation
Nats = Annotated[float, Field(gt=0)]


class ExactRate(Latent):
    """KL(q(z|x) || N(0, I)) = `nats` exactly, for every x.

    Raw features (m, s) in R^2D, m centred over the batch (a shift of all codes costs nats without carrying
    information), are scaled to norm sqrt(2R); then mu = m and sigma solves sigma^2 - ln sigma^2 = 1 + s^2, so
    that KL = (|m|^2 + |s|^2) / 2.

    With a range of `nats`, such as [2, 64], one model works at every rate in it: training samples an R per
    example, and at use a rate can be requested; the default is the buffer `rate`, the geometric mean of the
    range until training selects another at its end. The condition is c = ln R scaled to [-1, 1]. With
    `conditioning: film`, c scales and shifts the encoder's features and each raw m_j and s_j is multiplied by
    a learned power of R, since a high rate may use more dims than a low one; the decoder reads
    z + c z A + c^2 z B, with each coordinate multiplied by another learned power of R, since a code of few
    nats is mostly noise. All of these are the identity at initialisation. With `concat`, c is one more input
    of the layer that computes (m, s). The decoder reads c beside z in both cases.

    Args:
        features: H, the number of encoder features.
        dim: D.
        nats: R, or the lowest and highest R of a range.
        normalise: R is the KL of each `example`, the mean over the `batch`, or D times the mean over the
            batch of each `feature`. A range needs `example`.
        rate_sampling: distribution of R in training: uniform in ln R, or in R.
        condition_on: which of encoder and decoder are conditioned on the rate.
        conditioning: how they are, `film` or `concat`.

    Raises:
        UserError: the range is reversed, or it is combined with another `normalise` than `example`.

    Example:
        >>> latent = ExactRate(features=16, dim=4, nats=(2.0, 64.0)).eval()
        >>> q = latent.posterior(torch.randn(3, 16), latent.rate_condition(torch.tensor([2.0, 8.0, 64.0])))
        >>> torch.round(q.kl.sum(-1), decimals=3).tolist()
        [2.0, 8.0, 64.0]
    """

    paper = "Slashed Normal: Parameterize Normal Posterior Distributions with KL Amplitude"
    year = 2025
    is_diagonal_gaussian = True

    rate_range: RateRange | None

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(gt=0)] = 32,
        nats: Nats | tuple[Nats, Nats] = 6.0,
        normalise: Literal["example", "batch", "feature"] = "example",
        rate_sampling: RateSampling = "log_uniform",
        condition_on: Literal["both", "encoder", "decoder"] = "both",
        conditioning: Literal["film", "concat"] = "film",
    ) -> None:
        super().__init__()
        self.dim, self.normalise, self.rate_sampling = dim, normalise, rate_sampling
        self.condition_on, self.conditioning = condition_on, conditioning
        self.rate_range = RateRange(*nats) if isinstance(nats, tuple) else None
        self.nats: float = nats if self.rate_range is None else self.rate_range.geometric_mean  # type: ignore[assignment]
        self.raw = nn.Linear(features, 2 * dim)
        self.register_buffer("centre", torch.zeros(1, dim))
        self.register_buffer("power", torch.ones(1, 2 * dim))  # running mean squares of the raw features
        self.centre: Tensor
        self.power: Tensor
        if self.rate_range:
            self._add_conditioning(features)

    def _add_conditioning(self, features: int) -> None:
        """Create the parameters that a range of rates needs, all zero.

        No random number is drawn, so that all other weights are initialised as without a range.
        """
        if self.normalise != "example":
            raise UserError(f"normalise got {self.normalise!r}: a range of nats needs 'example'")
        self.condition = 1
        if self.condition_on != "decoder" and self.conditioning == "concat":
            extend_inputs(self.raw, 1)
        elif self.condition_on != "decoder":
            # names of parameters are keys of checkpoints: renaming one would need a key map
            self.scale = nn.Parameter(torch.zeros(1, features))
            self.shift = nn.Parameter(torch.zeros(1, features))
            self.spread = nn.Parameter(torch.zeros(1, 2 * self.dim))  # powers of R
        if self.condition_on != "encoder" and self.conditioning == "film":
            self.trust = nn.Parameter(torch.zeros(1, self.dim))  # powers of R
            self.turn = QuadraticCodeMap(self.dim)
        self.register_buffer("rate", torch.tensor(self.nats))
        self.rate: Tensor

    def posterior(self, h: Tensor, c: Tensor | None = None) -> ExactNormal:
        """q(z|x) from features h (B, H), at the rates that c (B, 1) requests."""
        if self.rate_range is None:
            return self._normalize(self.raw(h), (2 * self.nats) ** 0.5)
        c = self._default_rates(len(h)) if c is None else c
        return self._normalize(self._raw_features(h, c), torch.sqrt(2 * self.rate_range.nats(c)).to(h.dtype))

    def _raw_features(self, h: Tensor, c: Tensor) -> Tensor:
        """Raw features (m, s), (B, 2D), conditioned on c (B, 1)."""
        if self.condition_on == "decoder":
            raw: Tensor = self.raw(h)
        elif self.conditioning == "concat":
            raw = self.raw(torch.cat([h, c], -1))
        else:
            raw = self.raw(h * (1 + c @ self.scale) + c @ self.shift) * self._powers(c, self.spread)
        return raw

    def _powers(self, c: Tensor, exponents: Tensor) -> Tensor:
        """(R / geometric mean of the range) to the power of each of `exponents` (1, n): (B, n)."""
        assert self.rate_range is not None
        return torch.exp(self.rate_range.half * c @ exponents)

    def decoder_inputs(self, z: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Codes (S, B, D), transformed and scaled by their rate, and the condition c (B, C).

        If only the encoder is conditioned on the rate, the decoder sees zero for it.
        """
        if c is None or self.rate_range is None:
            return z, c
        if self.condition_on == "encoder":
            return z, torch.cat([c[:, :-1], torch.zeros_like(c[:, -1:])], -1)
        if self.conditioning == "concat":
            return z, c
        rate = c[:, -1:].to(z)
        return self.turn(z, rate) * self._powers(rate, self.trust), c

    def default_condition(self, random: KeyedNoise) -> Tensor | None:
        """C (B, 1): a random rate per example in training, else the default rate."""
        if self.rate_range is None:
            return None
        return self.sample_rates(random) if self.training else self._default_rates(len(random.index))

    def sample_rates(self, random: KeyedNoise) -> Tensor:
        """C (B, 1): a random rate per example, as in training."""
        assert self.rate_range is not None
        return self.rate_range.sample(random, self.rate_sampling)

    def rate_condition(self, nats: Tensor) -> Tensor:
        """Condition c (B, 1) that requests the rates `nats` (B,).

        Raises:
            UserError: a rate is outside the trained range, or there is no range.
        """
        if self.rate_range is None:
            return super().rate_condition(nats)
        self.rate_range.check(nats)
        return self.rate_range.condition(nats)

    def at_rate(self, nats: float) -> ExactRate:
        """The same family with another default rate.

        Raises:
            UserError: as `rate_condition`.
        """
        self.rate_condition(torch.tensor([nats]))
        other = copy.deepcopy(self)
        other.rate.fill_(nats)
        return other

    def _default_rates(self, n: int) -> Tensor:
        assert self.rate_range is not None
        return self.rate_range.condition(self.rate.expand(n))

    def _normalize(self, raw: Tensor, length: Tensor | float) -> ExactNormal:
        """The posterior from raw features (B, 2D), scaled to `length` = sqrt(2R)."""
        m, s = self._scale(self._center(raw), length).chunk(2, -1)
        return ExactNormal(m, log_variance(s), 0.5 * (m**2 + s**2))

    def _center(self, raw: Tensor) -> Tensor:
        """Raw features, m centred by the batch mean in training, else, or if B = 1, by the running mean."""
        m, s = raw.chunk(2, -1)
        if self.training and global_batch_size(raw) > 1:
            centre = batch_mean(m)
            self.centre.lerp_(centre.detach(), MOMENTUM)
        else:
            centre = self.centre
        return torch.cat([m - centre, s], -1)

    def _scale(self, v: Tensor, length: Tensor | float) -> Tensor:
        """V (B, 2D) scaled to `length` = sqrt(2R), so that half its squared norm is R."""
        if self.normalise == "example":
            return torch.mul(unit_vector(v), length)
        power = self._mean_squares(v)
        if self.normalise == "batch":
            return torch.mul(v, (2 * self.nats / power.sum()).sqrt())
        m, s = power.chunk(2, -1)
        scale = (2 * self.nats / self.dim / (m + s)).sqrt()  # (1, D)
        return torch.mul(v, torch.cat([scale, scale], -1))

    def _mean_squares(self, v: Tensor) -> Tensor:
        """Mean squares (1, 2D): of the batch in training, else the running ones."""
        if not self.training:
            return self.power
        power = batch_mean(v**2) + torch.finfo(v.dtype).tiny
        self.power.lerp_(power.detach(), MOMENTUM)
        return power
