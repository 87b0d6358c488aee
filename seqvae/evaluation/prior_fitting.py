"""Post-hoc priors: a mixture or a flow fitted to the codes of a finished model.

Shapes: N examples, M of them held out, K components, D latent dims.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback, detached_float64
from seqvae.evaluation.metrics.latent_usage import standard_error
from seqvae.evaluation.posterior_samples import LatentCodes, PosteriorPool, PosteriorSource
from seqvae.interfaces import Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.coupling_flow import STRETCH, Coupling
from seqvae.models.priors.flow import FlowPrior
from seqvae.models.priors.mixture import MixturePrior

Count = Annotated[int, Field(gt=0)]
RATES: dict[type[Prior], float] = {MixturePrior: 5e-3, FlowPrior: 2e-3}
FLOOR = 1e-3  # minimum variance relative to all codes', else the density of equal codes is unbounded
LLOYD, CENTRED = 10, 10_000  # rounds of k-means, and number of codes that it uses
UPDATES, LEAST = 50, 16  # minimum updates per epoch and minimum batch size, if codes are few
SHRINK = 10  # pseudo-count that shrinks a cluster's variance to the mean within-cluster variance


@dataclass(frozen=True)
class PriorFitConfig:
    """Settings of a prior fit; an epoch uses one new sample of each example's posterior."""

    seed: int = 0
    epochs: Count = 60
    batch_size: Count = 512  # at most
    lr: float | None = None  # default from RATES; halved after an epoch without improvement
    patience: Count = 5  # number of such epochs before it stops
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1  # fraction of the examples used only to measure
    rate: float | None = None  # nats; of a variable-rate run: fit at this rate only, not at all rates


@dataclass(frozen=True)
class PriorFit:
    """A fitted prior, with E ln p(z) of the held-out codes in nats before and after the fit."""

    prior: Prior
    before: float
    after: float
    after_se: float  # over held-out examples
    n: int  # examples used for the fit
    held_out: int
    epochs: int


def fit_prior(
    prior: Prior,
    sources: Sequence[PosteriorSource],
    how: PriorFitConfig | None = None,
    progress: ProgressCallback | None = None,
) -> PriorFit:
    """Maximise E_x E_q(z|x) ln p(z|c) over the prior's parameters, so that it fits the aggregated posterior.

    The ex-post density estimation of Ghosh et al. 2020 (From Variational to Deterministic Autoencoders) by
    Adam on new posterior samples per epoch (the codes of a plain autoencoder are points and do not change).
    The epoch with the best held-out density is kept. A mixture is initialised by k-means, a flow as a
    diagonal Gaussian. The same seed and prior give the same fit.

    Args:
        prior: the prior; it is modified.
        sources: the posteriors of the training examples.
        how: settings of the fit.
        progress: called as (epoch, epochs, what).

    Raises:
        UserError: a prior without parameters, or too few codes.
    """
    how = how or PriorFitConfig()
    device = sources[0].device
    prior.to(device).train()
    if not any(p.requires_grad for p in prior.parameters()):
        raise UserError(f"{type(prior).__name__} has nothing to fit: take a mixture or a flow")
    pool = PosteriorPool(sources, how.seed, how.held_out)
    before, _ = log_density(prior, pool.held)
    init_from_codes(prior, pool.sample(0).z, KeyedNoise(how.seed, 0, torch.arange(1, device=device)))
    epochs = _maximise(prior, pool, how, progress)
    after, after_se = log_density(prior.eval(), pool.held)
    return PriorFit(prior, before, after, after_se, len(pool.kept), len(pool.held), epochs)


def log_density(prior: Prior, codes: LatentCodes) -> tuple[float, float]:
    """E ln p(z|c) in nats over N codes, and its standard error."""
    with torch.no_grad():
        scored = detached_float64(
            torch.cat([prior(part.c).log_prob(part.z[None])[0] for part in codes.split(4096)])
        )
    return float(scored.mean()), standard_error(scored)


def held_out_codes(sources: Sequence[PosteriorSource], how: PriorFitConfig) -> LatentCodes:
    """The M held-out codes of a fit with these settings."""
    return PosteriorPool(sources, how.seed, how.held_out).held


def _maximise(
    prior: Prior, pool: PosteriorPool, how: PriorFitConfig, progress: ProgressCallback | None
) -> int:
    """Train until the held-out density stops rising, and restore the best epoch; returns the epochs."""
    lr = RATES.get(type(prior), 1e-3) if how.lr is None else how.lr
    optimizer = torch.optim.Adam(prior.parameters(), lr=lr)
    best, kept, worse, epoch = log_density(prior, pool.held)[0], copy.deepcopy(prior.state_dict()), 0, 0
    floor = torch.log(FLOOR * pool.sample(0).z.var(0).clamp(min=1e-8))
    size = max(LEAST, min(how.batch_size, len(pool.kept) // UPDATES))
    while epoch < how.epochs and worse < how.patience:
        epoch += 1
        for codes in pool.sample(epoch).split(size):
            _step(prior, codes, optimizer, floor)
        reached, _ = log_density(prior, pool.held)
        if reached > best:
            best, kept = reached, copy.deepcopy(prior.state_dict())
        else:
            worse += 1
            for group in optimizer.param_groups:
                group["lr"] /= 2
        if progress is not None:
            progress(epoch, how.epochs, f"ln p(z) {reached:.3f} nats")
    prior.load_state_dict(kept)
    return epoch


def _step(prior: Prior, codes: LatentCodes, optimizer: torch.optim.Optimizer, floor: Tensor) -> None:
    optimizer.zero_grad()
    (-prior(codes.c).log_prob(codes.z[None]).mean()).backward()
    nn.utils.clip_grad_norm_(prior.parameters(), 10.0)
    optimizer.step()
    if isinstance(prior, MixturePrior):
        with torch.no_grad():
            prior.logvar.clamp_(min=floor)


def init_from_codes(prior: Prior, z: Tensor, random: KeyedNoise) -> None:
    """Initialise a mixture or a flow from codes (N, D); other priors are not changed."""
    with torch.no_grad():
        if isinstance(prior, MixturePrior):
            init_mixture(prior, z, random)
        elif isinstance(prior, FlowPrior):
            init_flow(prior, z)


def init_mixture(prior: MixturePrior, z: Tensor, random: KeyedNoise) -> None:
    """Initialise a mixture with the weights, means and variances of k-means clusters of codes (N, D).

    Raises:
        UserError: fewer codes than components.
    """
    components = len(prior.logits)
    if len(z) < components:
        raise UserError(
            f"a mixture of {components} components got {len(z)} codes: ask for fewer, or encode more examples"
        )
    centres = k_means(z[:CENTRED], components, random)
    nearest = torch.cdist(z, centres).argmin(1)  # (N,)
    count = torch.bincount(nearest, minlength=components).to(z)[:, None]
    squares = torch.zeros_like(centres).index_add_(0, nearest, (z - centres[nearest]) ** 2)
    within = squares.sum(0) / len(z)
    variance = (squares + SHRINK * within) / (count + SHRINK)
    prior.logits.copy_(torch.log((count[:, 0] + 1) / (len(z) + components)))
    prior.mean.copy_(centres)
    prior.logvar.copy_(torch.log(variance.clamp(min=FLOOR * z.var(0).clamp(min=1e-8))))


def k_means(z: Tensor, count: int, random: KeyedNoise) -> Tensor:
    """(K, D): the centres of `count` clusters of codes (N, D).

    Initialised by k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's iterations;
    a cluster without codes keeps its centre.
    """
    chance = random.for_n(1).uniform("centres", count)[0]  # (K,)
    centres = z[int(chance[0] * len(z))][None]
    far = torch.cdist(z, centres)[:, 0] ** 2  # squared distance to the nearest centre so far
    for k in range(1, count):
        cumulative = (far + 1e-12).double().cumsum(0)
        chosen = torch.searchsorted(cumulative, chance[k].double() * cumulative[-1]).clamp(max=len(z) - 1)
        centres = torch.cat([centres, z[chosen][None]])
        far = torch.minimum(far, ((z - z[chosen]) ** 2).sum(1))
    for _ in range(LLOYD):
        nearest = torch.cdist(z, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, z)
        members = torch.bincount(nearest, minlength=count)[:, None]
        centres = torch.where(members > 0, sums / members.clamp(min=1), centres)
    return centres


def init_flow(prior: FlowPrior, z: Tensor) -> None:
    """Initialise a flow as the diagonal Gaussian of codes (N, D), by the biases of the last two couplings.

    Each of the two covers half of the dims. Standard deviations are clipped to e^-STRETCH ... e^STRETCH.
    """
    half = prior.dim // 2
    log_sd, mean = 0.5 * torch.log(z.var(0).clamp(min=1e-8)), z.mean(0)
    bounded = (log_sd / STRETCH).clamp(-0.99, 0.99)
    raw = STRETCH * torch.atanh(bounded)  # (D,)
    for coupling in list(prior.flow.couplings)[-2:]:
        assert isinstance(coupling, Coupling)
        moved = slice(0, half) if coupling.first else slice(half, None)
        coupling.says.bias.copy_(torch.cat([raw[moved], mean[moved]]))
