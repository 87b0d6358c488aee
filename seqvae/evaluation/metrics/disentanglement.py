"""All disentanglement metrics at once.

Shapes: N examples, D latent dims, F factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from seqvae.evaluation.metrics.beta_factor_vae import MIN_STD, beta_vae_score, factor_vae_score
from seqvae.evaluation.metrics.dci import DCI, dci
from seqvae.evaluation.metrics.factors import Floats, validate_factors
from seqvae.evaluation.metrics.mig_sap import mig, sap, shared_information, top_two_gap

__all__ = ["DCI", "beta_vae_score", "dci", "disentanglement", "factor_vae_score", "mig", "sap"]


def disentanglement(
    codes: Any, factors: Any, names: Sequence[str], seed: int = 0, min_std: float = MIN_STD
) -> dict[str, Any]:
    """All disentanglement scores, as JSON values.

    `n dims factors beta_vae factor_vae mig sap dci_disentanglement dci_completeness dci_informativeness
    dci_test_error`, and `..._by_factor`, {name: number}, for scores per factor; `dim_by_factor` is the dim
    with the highest mutual information. Undefined scores (a single factor, a single dim) are None.

    Args:
        codes: posterior means (N, D).
        factors: labels (N, F), NaN if unknown.
        names: F names of the factors.
        seed: of random splits, votes and forests.
        min_std: threshold of collapsed dims for the beta-VAE and FactorVAE scores.

    Raises:
        UserError: see `validate_factors` and `FactorGroups.of`; scikit-learn is missing.
    """
    codes, factors = validate_factors(codes, factors, names)
    shared, trees = shared_information(codes, factors), dci(codes, factors, seed)
    numbers: dict[str, Any] = {"n": len(codes), "dims": codes.shape[1], "factors": list(names)}
    numbers["beta_vae"] = beta_vae_score(codes, factors, seed, min_std=min_std)
    numbers["factor_vae"] = factor_vae_score(codes, factors, seed, min_std=min_std)
    numbers["dci_disentanglement"] = trees.disentanglement
    by_factor = {
        "mig": top_two_gap(shared),
        "sap": sap(codes, factors, seed),
        "dci_completeness": trees.completeness,
        "dci_informativeness": trees.informativeness,
        "dci_test_error": trees.test_error,
    }
    numbers |= {name: float(values.mean()) for name, values in by_factor.items()}
    numbers |= {f"{name}_by_factor": _name_scores(names, values) for name, values in by_factor.items()}
    numbers["dim_by_factor"] = dict(zip(names, shared.argmax(0).tolist(), strict=True))
    return {name: _null(value) for name, value in numbers.items()}


def _name_scores(names: Sequence[str], values: Floats) -> dict[str, float | None]:
    return {name: _null(value) for name, value in zip(names, values.tolist(), strict=True)}


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
