"""Amortisation gap: -ELBO saved by refining each example's posterior with gradient steps (SVI).

Shapes: S samples, B examples of a batch, N evaluation examples, D latent dims.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from seqvae.errors import UserError
from seqvae.evaluation.metrics.chunks import FEW, few_samples
from seqvae.evaluation.metrics.evaluation_pass import (
    ProgressCallback,
    detached_float64,
    device_of,
    evaluation_mode,
)
from seqvae.evaluation.metrics.latent_usage import standard_error
from seqvae.evaluation.metrics.likelihood import sample_codes
from seqvae.interfaces import Batch, kl_divergence
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.vae import VAE

OWN = 100_000  # first fold of noise that evaluation never uses
CLIP = 2.0  # of gradients, in nats: without it, a q three times too wide diverged
EPSILON = 1e-2  # of Adam, in nats: prevents full-size steps from rounding errors
Count = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class SVIConfig:
    """Settings of the refinement; the learning rate falls linearly to zero."""

    steps: Count = 20
    optimizer: Literal["adam", "sgd"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: float = 0.5  # of sgd
    draws: Count = 1  # samples per example for the gradient of a step
    samples: Count = 20  # new samples per example for the measurements before and after
    chunk: Count | None = None  # how many of these the decoder processes at once; None: what fits


def amortisation_gap(
    vae: VAE, batches: Sequence[Batch], how: SVIConfig | None = None, progress: ProgressCallback | None = None
) -> dict[str, Any]:
    """-ELBO of the encoder's q(z|x) minus that of the refined q*, in nats per example.

    L[q*] - L[q] of Cremer et al. 2018 (Inference Suboptimality in Variational Autoencoders), where q* is
    reached by SVI from q (Kim et al. 2018, Semi-Amortized Variational Autoencoders). q* may be any diagonal
    normal, regardless of constraints of the latent. Both are measured with evaluation's noise, which no step
    uses, so that `neg_elbo` equals that of `evaluate` at K = `samples`. The last q counts, not the best one:
    a gap below 0 means too few steps or too large ones. The model is not changed.

    Args:
        vae: the model.
        batches: the examples.
        how: settings of SVI.
        progress: called as (examples done, N, what).

    Returns:
        `n`, `steps`, `neg_elbo`, `rate`, `neg_elbo_refined`, `rate_refined`, `amortisation_gap` and
        `amortisation_gap_se`, in nats per example.

    Raises:
        UserError: q(z|x) is not a diagonal normal, or there is no example.
    """
    how = how or SVIConfig()
    require_diagonal_gaussian(vae)
    rows, done, total = [], 0, sum(batch.size for batch in batches)
    if not total:
        raise UserError("nothing to refine: the data set holds no example; give one that does")
    device = device_of(vae)
    chunk = few_samples(device)
    with evaluation_mode(vae), frozen_parameters(vae):
        for batch in batches:
            rows.append(_rows(vae, batch.to(device), replace(how, chunk=how.chunk or chunk(batch))))
            done += batch.size
            if progress is not None:
                progress(done, total, "refinement")
    return {"n": total, "steps": how.steps} | _summarise(
        *(torch.cat(column).cpu() for column in zip(*rows, strict=True))
    )


def svi_posterior(vae: VAE, batch: Batch, q: DiagonalNormal, how: SVIConfig) -> DiagonalNormal:
    """Refine `q` by gradient steps on each example's own ELBO in (mean, logvar), with new noise per step.

    Means change in units of the encoder's standard deviations, so that the scale of a dim does not matter. An
    example's steps do not depend on the others of its batch. No gradient reaches the model.
    """
    mean, logvar = q.mean.detach(), q.logvar.detach()
    deviation = torch.exp(0.5 * logvar)
    shift, more = torch.zeros_like(mean).requires_grad_(), torch.zeros_like(mean).requires_grad_()
    optimizer = _optimizer([shift, more], how)
    for step in range(how.steps):
        for group in optimizer.param_groups:
            group["lr"] = how.lr * (1 - step / how.steps)
        with torch.enable_grad(), without_cudnn():
            moved = DiagonalNormal(mean + deviation * shift, logvar + more)
            loss = path_loss(vae, batch, moved, how.draws, OWN + step)
            found = torch.autograd.grad(loss, [shift, more])
        shift.grad, more.grad = (gradient.clamp(-CLIP, CLIP) for gradient in found)
        optimizer.step()
    shift, more = shift.detach(), more.detach()
    return DiagonalNormal(mean + deviation * shift, logvar + more)


def path_loss(vae: VAE, batch: Batch, q: DiagonalNormal, draws: int, fold: int) -> Tensor:
    """-ELBO summed over the examples, (), whose gradient reaches q only through the samples z.

    The gradient has the same mean as the plain one, and is 0 for every sample if q is the exact posterior
    (Roeder et al. 2017, Sticking the Landing), so that steps do not move away from an optimal q.
    """
    z = q.rsample(draws, batch.random.fold(fold))
    kl = q.detach().log_prob(z) - vae.prior(vae.condition(batch)).log_prob(z)  # (S, B)
    loss: Tensor = (kl - vae.likelihood(z, vae.condition(batch)).log_prob(batch)).mean(0).sum()
    return loss


def negative_elbo(vae: VAE, batch: Batch, q: DiagonalNormal, z: Tensor) -> tuple[Tensor, Tensor]:
    """Distortion and rate, each (B,) nats, of codes z (S, B, D) from any diagonal q."""
    kl = kl_divergence(q, vae.prior(vae.condition(batch)), z)
    log_px_z = vae.likelihood(z, vae.condition(batch)).log_prob(batch)
    return -log_px_z.mean(0), kl.sum(-1).mean(0)


def require_diagonal_gaussian(vae: VAE) -> None:
    """Reject latents whose q(z|x) is not a diagonal normal.

    Raises:
        UserError: the latent has another posterior.
    """
    if not vae.latent.is_diagonal_gaussian:
        raise UserError(
            f"refinement changes a mean and a variance per dim, {type(vae.latent).__name__} has none: "
            "it is for gaussian, bn_gaussian, du_gaussian, exact_rate and delta"
        )


@contextlib.contextmanager
def frozen_parameters(module: nn.Module) -> Iterator[None]:
    """Context in which no parameter requires a gradient; restored on exit."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_()


def without_cudnn() -> Any:
    """Context without cuDNN, whose RNNs have no backward pass in evaluation mode."""
    return torch.backends.cudnn.flags(enabled=False)


def _rows(vae: VAE, batch: Batch, how: SVIConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q: Any = vae.posterior(batch)
    after = svi_posterior(vae, batch, q, how)
    return *_measure(vae, batch, q, how), *_measure(vae, batch, after, how)


def _summarise(before: Tensor, rate: Tensor, after: Tensor, rate_after: Tensor) -> dict[str, float]:
    """Means over the examples, from columns (N,)."""
    gap = before - after
    return {
        "neg_elbo": float(before.mean()),
        "rate": float(rate.mean()),
        "neg_elbo_refined": float(after.mean()),
        "rate_refined": float(rate_after.mean()),
        "amortisation_gap": float(gap.mean()),
        "amortisation_gap_se": standard_error(gap),
    }


def _measure(vae: VAE, batch: Batch, q: DiagonalNormal, how: SVIConfig) -> tuple[Tensor, Tensor]:
    """-ELBO and rate (B,), means over the samples, in fp64."""
    parts, chunk = [], how.chunk or FEW
    for z in sample_codes(q, batch.random, how.samples, chunk):
        distortion, rate = (detached_float64(x) for x in negative_elbo(vae, batch, q, z))
        parts.append(torch.stack([distortion + rate, rate]) * len(z))
    neg_elbo, rate = torch.stack(parts).sum(0) / how.samples
    return neg_elbo, rate


def _optimizer(leaves: list[Tensor], how: SVIConfig) -> Optimizer:
    if how.optimizer == "adam":
        return Adam(leaves, lr=how.lr, eps=EPSILON)
    return SGD(leaves, lr=how.lr, momentum=how.momentum)
