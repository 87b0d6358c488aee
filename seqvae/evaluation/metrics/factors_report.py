"""How well a model's code tells the factors of its data apart, and how many nats it spends on each.

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

SIZES = ("n", "dims")  # of the codes that were measured; a report has its own


def factor_metrics(walk: EvaluationPass, names: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """What `disentanglement` says of the codes that stand for the examples, and what each factor costs.

    The factors are the labels of the batches, whose `names` are given; one of more than 20 values is cut into
    20 classes where classes are needed. `nats_per_factor` {name: nats} and `nats_unassigned` are those of
    `nats_per_factor`, from the mean KL of each dim over these examples and one draw of each; null where the
    KL does not come apart by dims.

    Raises:
        UserError: a model without a code, no labels, or labels that are no factors (see `checked`).
    """
    if walk.vae.latent.dim == 0:
        raise UserError("a language model (latent: none) has no code to tell factors from")
    if not names:
        raise UserError("the data bring no labels, so there are no factors: train with data.labels")
    codes, kl = _collect_codes(walk)
    labels = torch.cat([batch.labels for batch in walk.batches]).cpu().double().numpy()  # (N, F)
    if np.isnan(labels).all():
        raise UserError(f"no example has a label: factors need {', '.join(names)} of each of them")
    found = disentanglement(codes, labels, names, seed)
    numbers = {key: value for key, value in found.items() if key not in SIZES}
    if kl is None:
        return numbers | {"nats_per_factor": None, "nats_unassigned": None}
    spent = nats_per_factor(kl, factor_information(codes, labels, told=True))
    shares = dict(zip(names, spent.tolist(), strict=True))
    return numbers | {"nats_per_factor": shares, "nats_unassigned": float(kl.sum() - spent.sum())}


def nats_per_factor(kl: Floats, told: Floats) -> Floats:
    """(F,): sum_j KL_j I_jk / sum_m I_jm, the nats of each dim shared out by what it tells of the factors.

    From the mean KL of each dim (D,) and the information I_jk = I(z_j; v_k) (D, F) beyond chance, both in
    nats. A dim that tells of one factor counts whole for it. One that tells of none counts for none: over the
    factors the nats add up to the rate less that of such dims. It is as exact as dims are independent.
    """
    whole = told.sum(1, keepdims=True)
    shares = np.divide(told, whole, out=np.zeros_like(told), where=whole > 0)  # (D, F)
    spent: Floats = kl @ shares
    return spent


def _collect_codes(walk: EvaluationPass) -> tuple[Floats, Floats | None]:
    """Codes (N, D), and the mean KL (D,) in nats where it comes apart by dims."""
    vae = walk.vae

    def read(batch: Batch, _: slice) -> tuple[Tensor, Tensor | None]:
        q = vae.posterior(batch)
        if not vae.latent.has_density:
            return detached_float64(point_estimate(q)), None
        kl = vae.latent.kl(q, vae.prior(vae.condition(batch)), q.rsample(1, batch.random))
        return detached_float64(point_estimate(q)), detached_float64(kl[0])

    with evaluation_mode(vae):
        codes, costs = zip(*walk.over("factors", read), strict=True)
    z = torch.cat(codes).cpu().numpy()
    if costs[0] is None or costs[0].shape[1] != z.shape[1]:
        return z, None
    return z, kl_per_dim(torch.cat(costs)).cpu().numpy()
