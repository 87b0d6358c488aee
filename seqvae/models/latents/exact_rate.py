"""The exact-rate posterior: every example costs exactly R nats, by construction, for one R or any of a range.

Shapes: B examples, D latent dims, H features.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_shards import global_batch_size
from seqvae.distributed.batch_statistics import batch_mean
from seqvae.errors import UserError
from seqvae.interfaces import Latent, register_kl
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.conditioning import QuadraticCodeMap, extend_inputs
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.latents.rate_range import RateRange, RateSampling
from seqvae.models.priors.standard import StandardNormal

SQRT_2 = 2**0.5
NEWTON_STEPS = 10  # 8 reach 1e-12 for every abs(s) from 1e-20 to 1e3
MOMENTUM = 0.1  # of the running statistics that evaluation uses
Nats = Annotated[float, Field(gt=0)]


class _LogVariance(torch.autograd.Function):
    """u = ln sigma^2 with e^u - u = 1 + s^2 and sign(u) = sign(s), by Newton's method in fp64.

    Started where f(u) = e^u - u - 1 - s^2 falls monotonically to its root: from the far side of it.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        wide = s.double()
        squares = wide**2
        length = torch.log1p(squares)
        below = -(SQRT_2 * wide.abs() + squares)
        above = torch.minimum(SQRT_2 * wide, length + torch.log(2 + length))
        u = torch.where(wide < 0, below, above)
        for _ in range(NEWTON_STEPS):  # a fixed number: asking whether it converged would stall a GPU
            slope = torch.expm1(u)
            change = torch.where(slope == 0, 0.0, (slope - u - squares) / torch.where(slope == 0, 1.0, slope))
            u = u - change
        ctx.save_for_backward(wide, u)
        return u.to(s.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        s, u = ctx.saved_tensors
        near = s.abs() < 1e-3  # du/ds = 2 s / (e^u - 1) is 0/0 at 0: its series there
        series = SQRT_2 - 2 * s / 3 + s**2 / (3 * SQRT_2)
        slope = torch.where(near, series, 2 * s / torch.where(near, 1.0, torch.expm1(u)))
        return grads[0] * slope.to(grads[0].dtype)


def log_variance(s: Tensor) -> Tensor:
    """Ln sigma^2 where (sigma^2 - 1 - ln sigma^2) / 2 = s^2 / 2, with sigma < 1 iff s < 0; any shape."""
    out: Tensor = _LogVariance.apply(s)  # type: ignore[no-untyped-call]
    return out


@dataclass(frozen=True)
class ExactNormal(DiagonalNormal):
    """A diagonal normal that knows its KL to N(0, 1) a dim, (m^2 + s^2) / 2, without rounding it twice."""

    kl: Tensor

    def detach(self) -> ExactNormal:
        """The same distribution, without gradients."""
        return ExactNormal(self.mean.detach(), self.logvar.detach(), self.kl.detach())

    def select(self, i: Tensor | slice) -> ExactNormal:
        """The posteriors of the chosen examples."""
        return ExactNormal(self.mean[i], self.logvar[i], self.kl[i])


@register_kl(ExactNormal, StandardNormal)
def _known_kl(q: ExactNormal, p: StandardNormal) -> Tensor:
    return q.kl


class ExactRate(Latent):
    """KL(q(z|x) || N(0, I)) = `nats` exactly, for every x.

    Raw features (m, s) in R^2D, m centred over the batch (a shift of all codes costs nats and tells
    nothing), are scaled to norm sqrt(2R); then mu = m and sigma solves sigma^2 - ln sigma^2 = 1 + s^2, so
    that KL = (|m|^2 + |s|^2) / 2. `normalise` says what is R: each `example`, the mean over the `batch`, or
    R / D for each `feature` in the mean over the batch.

    With a range of `nats`, as [2, 64], one model serves all its rates: training draws an R for every example
    (`rate_sampling`: uniform in ln R, or in R), use asks for one. The features are told ln R by scale and
    shift, each raw m_j and s_j by a power of R (a high rate may spread over more dims than a low one). What
    the decoder reads of z is turned, z + c z A + c^2 z B with c the ln R laid on [-1, 1], and each coordinate
    scaled by another power, for a code of few nats is mostly noise; all start as the identity. Or the
    features are told by one more `concat`. The decoder reads c beside z in any case (`condition_on`: both of
    them are told, or one). Where nothing is asked for, evaluation takes the `rate` of the model: the range's
    geometric mean, until another one is chosen; a training chooses one at its end.

    Raises:
        UserError: a range upside down, or rates of a range that are not each example's own.
    """

    paper = "Slashed Normal: Parameterize Normal Posterior Distributions with KL Amplitude"
    year = 2025
    is_diagonal_gaussian = True

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
        """What a range of rates adds, all of it drawn from no generator: other weights stay as they were."""
        if self.normalise != "example":
            raise UserError(f"normalise got {self.normalise!r}: a range of nats needs 'example'")
        self.condition = 1
        if self.condition_on != "decoder" and self.conditioning == "concat":
            extend_inputs(self.raw, 1)
        elif self.condition_on != "decoder":
            self.scale = nn.Parameter(torch.zeros(1, features))
            self.shift = nn.Parameter(torch.zeros(1, features))
            self.spread = nn.Parameter(torch.zeros(1, 2 * self.dim))  # powers of R
        if self.condition_on != "encoder" and self.conditioning == "film":
            self.trust = nn.Parameter(torch.zeros(1, self.dim))  # powers of R
            self.turn = QuadraticCodeMap(self.dim)
        self.register_buffer("rate", torch.tensor(self.nats))
        self.rate: Tensor

    def posterior(self, h: Tensor, c: Tensor | None = None) -> ExactNormal:
        """q(z|x) from h (B, H), at the rates that c (B, 1) asks for."""
        if self.rate_range is None:
            return self._at(self.raw(h), (2 * self.nats) ** 0.5)
        c = self._default(len(h)) if c is None else c
        return self._at(self._raw(h, c), torch.sqrt(2 * self.rate_range.nats(c)).to(h.dtype))

    def _raw(self, h: Tensor, c: Tensor) -> Tensor:
        """Raw (m, s), (B, 2D), that know the rate."""
        if self.condition_on == "decoder":
            raw: Tensor = self.raw(h)
        elif self.conditioning == "concat":
            raw = self.raw(torch.cat([h, c], -1))
        else:
            raw = self.raw(h * (1 + c @ self.scale) + c @ self.shift) * self._powers(c, self.spread)
        return raw

    def _powers(self, c: Tensor, exponents: Tensor) -> Tensor:
        """(B, ·): (R / the middle of the range) to each of the exponents (1, ·)."""
        assert self.rate_range is not None
        return torch.exp(self.rate_range.half * c @ exponents)

    def decoder_inputs(self, z: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Codes (S, B, D) turned by their rate and scaled by powers of it, and c (B, C).

        If only the encoder is told, c has a rate of nothing: what reads it stays as it began.
        """
        if c is None or self.rate_range is None:
            return z, c
        if self.condition_on == "encoder":
            return z, torch.cat([c[:, :-1], torch.zeros_like(c[:, -1:])], -1)
        if self.conditioning == "concat":
            return z, c
        told = c[:, -1:].to(z)
        return self.turn(z, told) * self._powers(told, self.trust), c

    def default_condition(self, random: KeyedNoise) -> Tensor | None:
        """C (B, 1): a rate drawn for each example in training, the model's own otherwise."""
        if self.rate_range is None:
            return None
        return self.sample_rates(random) if self.training else self._default(len(random.index))

    def sample_rates(self, random: KeyedNoise) -> Tensor:
        """C (B, 1): a rate drawn for each example, as training does."""
        assert self.rate_range is not None
        return self.rate_range.sample(random, self.rate_sampling)

    def rate_condition(self, nats: Tensor) -> Tensor:
        """C (B, 1) that asks for rates (B,) in nats.

        Raises:
            UserError: a rate outside the range that was trained, or there is none.
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

    def _default(self, n: int) -> Tensor:
        assert self.rate_range is not None
        return self.rate_range.condition(self.rate.expand(n))

    def _at(self, raw: Tensor, length: Tensor | float) -> ExactNormal:
        m, s = self._scale(self._center(raw), length).chunk(2, -1)
        return ExactNormal(m, log_variance(s), 0.5 * (m**2 + s**2))

    def _center(self, raw: Tensor) -> Tensor:
        """M without its mean: the batch's in training, the running one otherwise or for a batch of one."""
        m, s = raw.chunk(2, -1)
        if self.training and global_batch_size(raw) > 1:
            centre = batch_mean(m)
            self.centre.lerp_(centre.detach(), MOMENTUM)
        else:
            centre = self.centre
        return torch.cat([m - centre, s], -1)

    def _scale(self, v: Tensor, length: Tensor | float) -> Tensor:
        """(B, 2D) scaled to `length` = sqrt(2R), so that half its square norm is R."""
        if self.normalise == "example":
            return torch.mul(unit_vector(v), length)
        power = self._power(v)
        if self.normalise == "batch":
            return torch.mul(v, (2 * self.nats / power.sum()).sqrt())
        m, s = power.chunk(2, -1)
        scale = (2 * self.nats / self.dim / (m + s)).sqrt()  # (1, D)
        return torch.mul(v, torch.cat([scale, scale], -1))

    def _power(self, v: Tensor) -> Tensor:
        """Mean squares (1, 2D): the batch's in training, the running ones otherwise."""
        if not self.training:
            return self.power
        power = batch_mean(v**2) + torch.finfo(v.dtype).tiny
        self.power.lerp_(power.detach(), MOMENTUM)
        return power


def unit_vector(v: Tensor) -> Tensor:
    """V / |v| along the last dim for any finite v; the zero vector becomes a fixed direction."""
    largest = v.abs().amax(-1, keepdim=True)
    tiny = torch.finfo(v.dtype).tiny
    fixed = torch.full_like(v, v.shape[-1] ** -0.5)
    safe = torch.where(largest > tiny, v / largest.clamp(min=tiny), fixed)  # its squares stay in range
    direction: Tensor = safe / safe.norm(dim=-1, keepdim=True)
    return direction
