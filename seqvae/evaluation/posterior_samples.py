"""Sources of codes for fitting a prior: posteriors that are sampled anew in every epoch.

Shapes: N examples, M of them held out, B examples of one batch, D latent dims, H features, C conditions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.interfaces import Batch, Posterior
from seqvae.keyed_noise import KeyedNoise

if TYPE_CHECKING:
    from seqvae.models.vae import VAE


@dataclass(frozen=True)
class LatentCodes:
    """Codes z (N, D), and the conditions c (N, C) of their posteriors, if there are any."""

    z: Tensor
    c: Tensor | None = None

    def __len__(self) -> int:
        return len(self.z)

    def rows(self, chosen: Tensor | slice) -> LatentCodes:
        """The codes of the chosen examples."""
        return LatentCodes(self.z[chosen], None if self.c is None else self.c[chosen])

    def split(self, size: int) -> Iterator[LatentCodes]:
        """Iterate over all codes in parts of at most `size`."""
        return (self.rows(slice(start, start + size)) for start in range(0, len(self), size))


def concat_codes(parts: Sequence[LatentCodes]) -> LatentCodes:
    """Concatenate codes."""
    conditions = [part.c for part in parts if part.c is not None]
    return LatentCodes(torch.cat([part.z for part in parts]), torch.cat(conditions) if conditions else None)


class PosteriorSource(Protocol):
    """B examples whose codes are sampled anew at every call."""

    @property
    def device(self) -> torch.device:
        """The device of the codes."""
        ...

    def __len__(self) -> int: ...

    def sample(self, random: KeyedNoise) -> LatentCodes:
        """Sample a code per example (B, D), with the examples' own noise."""
        ...


@dataclass(frozen=True)
class FixedPosterior:
    """Examples with one posterior each, and its condition (B, C) if there is one."""

    q: Posterior
    c: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """The device of the codes."""
        return self.q.mean.device

    def __len__(self) -> int:
        return len(self.q.mean)

    def sample(self, random: KeyedNoise) -> LatentCodes:
        """Sample each posterior."""
        return LatentCodes(self.q.rsample(1, random)[0], self.c)


@dataclass(frozen=True)
class RandomRatePosterior:
    """Examples with features h (B, H), whose rates are sampled as in training."""

    vae: VAE  # with a variable rate
    batch: Batch
    h: Tensor

    @property
    def device(self) -> torch.device:
        """The device of the codes."""
        return self.h.device

    def __len__(self) -> int:
        return len(self.h)

    def sample(self, random: KeyedNoise) -> LatentCodes:
        """Sample a rate per example, and its posterior at that rate."""
        latent: Any = self.vae.latent
        conditioned = self.batch.replace(condition=latent.sample_rates(random))
        q = self.vae.posterior(conditioned, self.h)
        return LatentCodes(q.rsample(1, random)[0], self.vae.condition(conditioned))


def merge_sources(sources: Sequence[PosteriorSource]) -> list[PosteriorSource]:
    """One source for all examples if all are `FixedPosterior`s made of tensors (B, D), else the same sources.

    One call then samples all of them. Codes stay the same, since noise is keyed by example.
    """
    fixed = [source for source in sources if isinstance(source, FixedPosterior)]
    tables = [_tables(source.q) for source in fixed]
    if len(fixed) < len(sources) or None in tables or len({type(source.q) for source in fixed}) > 1:
        return list(sources)
    conditions = [source.c for source in fixed if source.c is not None]
    columns = zip(*(table for table in tables if table is not None), strict=True)
    q: Posterior = type(fixed[0].q)(*(torch.cat(column) for column in columns))
    return [FixedPosterior(q, torch.cat(conditions) if conditions else None)]


def _tables(q: Any) -> list[Tensor] | None:
    """The fields of a posterior, if all of them are tensors of the shape of its mean (B, D)."""
    parts: list[Any] = [getattr(q, field.name) for field in fields(q)] if is_dataclass(q) else [None]
    plain = all(isinstance(part, Tensor) and part.shape == q.mean.shape for part in parts)
    return parts if plain else None


class PosteriorPool:
    """Codes of all examples, sampled anew per epoch; the held-out fraction `share` is sampled once.

    Raises:
        UserError: too few codes.
    """

    def __init__(self, sources: Sequence[PosteriorSource], seed: int, share: float) -> None:
        sizes = [len(source) for source in sources]
        self.sources = sources
        self.random = KeyedNoise(seed, 0, torch.arange(sum(sizes), device=sources[0].device))
        self.parts = torch.split(self.random.index, sizes)
        held = math.ceil(share * sum(sizes))
        if sum(sizes) - held < 2:  # a variance needs two codes
            raise UserError(f"a prior cannot be fitted to {sum(sizes)} codes: encode more examples")
        order = self.random.uniform("held out").argsort(stable=True)
        self.kept, rest = order[held:], order[:held]
        # held-out codes are fixed, so that their log-likelihood is comparable between epochs
        self.held = self._all(0).rows(rest)

    def sample(self, epoch: int) -> LatentCodes:
        """The kept examples' codes of an epoch, in its order."""
        order = replace(self.random, step=epoch).uniform("order")[self.kept].argsort(stable=True)
        return self._all(epoch).rows(self.kept[order])

    def _all(self, epoch: int) -> LatentCodes:
        random = replace(self.random, step=epoch)
        pairs = zip(self.sources, self.parts, strict=True)
        with torch.no_grad():
            return concat_codes([source.sample(replace(random, index=rows)) for source, rows in pairs])
