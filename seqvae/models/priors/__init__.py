"""Priors p(z); the table `PRIORS` maps config names to classes."""

from seqvae.interfaces import Prior
from seqvae.models.priors.categorical import UniformCategoricalPrior
from seqvae.models.priors.conditional import ConditionalPrior
from seqvae.models.priors.flow import FlowPrior
from seqvae.models.priors.mixture import MixturePrior
from seqvae.models.priors.sphere import UniformSphere, UniformSpherePrior
from seqvae.models.priors.standard import StandardNormal, StandardPrior
from seqvae.models.priors.vamp import VampPrior
from seqvae.models.priors.zuko_flow import ZukoFlowPrior

PRIORS: dict[str, type[Prior]] = {
    "standard": StandardPrior,
    "mixture": MixturePrior,
    "vamp": VampPrior,
    "flow": FlowPrior,
    "zuko_flow": ZukoFlowPrior,
    "conditional": ConditionalPrior,
    "uniform_sphere": UniformSpherePrior,
    "uniform_categorical": UniformCategoricalPrior,
}

__all__ = ["PRIORS", "StandardNormal", "StandardPrior", "UniformSphere"]
