"""Disentanglement metrics of a model's codes, and the nats that it spends on each factor.

Shapes: N examples, D latent dims, F factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.evaluation.metrics.disentanglement import disentanglement
from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass, detached_float64, evaluation_mode
from seqvae.evaluation.metrics.factors import Floats
from seqvae.evaluation.metrics.latent_usage import kl_per_dim
from seqvae.evaluation.metrics.mig_sap import factor_information
from seqvae.interfaces import Batch, point_estimate

SIZES = ("n", "dims")  # sizes of the codes; a report has its own


def factor_metrics(evaluation: EvaluationPass, names: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """The scores of `disentanglement`, and the nats spent on each factor.

    The factors are the labels of the batches; those with more than 20 values are binned where classes are
    needed. `nats_per_factor` {name: nats} and `nats_unassigned` come from the mean KL of each dim over the
    examples, with one sample each; None if the KL does not decompose over dims.

    Args:
        evaluation: the model and its evaluation batches.
        names: names of the batches' label columns.
        seed: of random splits.

    Raises:
        UserError: a model without a code, no labels, or labels that are not factors (`validate_factors`).
    """
    if evaluation.vae.latent.dim == 0:
        raise UserError("a language model (latent: none) has no code to measure factors on")
    if not names:
        raise UserError("the data have no labels, so there are no factors: train with data.labels")
    codes, kl = _collect_codes(evaluation)
    labels = torch.cat([batch.labels for batch in evaluation.batches]).cpu().double().numpy()  # (N, F)
    if np.isnan(labels).all():
        raise UserError(f"no example has a label: factors need {', '.join(names)} of each of them")
    found = disentanglement(codes, labels, names, seed)
    numbers = {key: value for key, value in found.items() if key not in SIZES}
    if kl is None:
        return numbers | {"nats_per_factor": None, "nats_unassigned": None}
    spent = nats_per_factor(kl, factor_information(codes, labels, beyond_chance=True))
    shares = dict(zip(names, spent.tolist(), strict=True))
    return numbers | {"nats_per_factor": shares, "nats_unassigned": float(kl.sum() - spent.sum())}


def nats_per_factor(kl: Floats, information: Floats) -> Floats:
    """(F,): sum_j KL_j I_jk / sum_m I_jm, each dim's nats divided among factors by mutual information.

    A dim that is informative about one factor counts fully for it, a dim informative about none counts for
    none: the sum over factors is the rate minus that of such dims. Exact only if dims are independent.

    Args:
        kl: mean KL per dim (D,), nats.
        information: I_jk = I(z_j; v_k) (D, F) beyond chance, nats.
    """
    whole = information.sum(1, keepdims=True)
    shares = np.divide(information, whole, out=np.zeros_like(information), where=whole > 0)  # (D, F)
    spent: Floats = kl @ shares
    return spent


def _collect_codes(evaluation: EvaluationPass) -> tuple[Floats, Floats | None]:
    """Codes (N, D), and the mean KL per dim (D,) in nats, or None if it does not decompose over dims."""
    vae = evaluation.vae

    def read(batch: Batch, _: slice) -> tuple[Tensor, Tensor | None]:
        q = vae.posterior(batch)
        if not vae.latent.has_density:
            return detached_float64(point_estimate(q)), None
        kl = vae.latent.kl(q, vae.prior(vae.condition(batch)), q.rsample(1, batch.random))
        return detached_float64(point_estimate(q)), detached_float64(kl[0])

    with evaluation_mode(vae):
        codes, costs = zip(*evaluation.over("factors", read), strict=True)
    z = torch.cat(codes).cpu().numpy()
    if costs[0] is None or costs[0].shape[1] != z.shape[1]:
        return z, None
    return z, kl_per_dim(torch.cat(costs)).cpu().numpy()
