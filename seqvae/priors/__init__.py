"""p(z): one a file, one row each below."""

from seqvae.interfaces import Prior
from seqvae.priors.categorical import UniformCategoricalPrior
from seqvae.priors.conditional import ConditionalPrior
from seqvae.priors.flow import FlowPrior
from seqvae.priors.mixture import MixturePrior
from seqvae.priors.sphere import UniformSphere, UniformSpherePrior
from seqvae.priors.standard import StandardNormal, StandardPrior
from seqvae.priors.vamp import VampPrior

PRIORS: dict[str, type[Prior]] = {
    "standard": StandardPrior,
    "mixture": MixturePrior,
    "vamp": VampPrior,
    "flow": FlowPrior,
    "conditional": ConditionalPrior,
    "uniform_sphere": UniformSpherePrior,
    "uniform_categorical": UniformCategoricalPrior,
}

__all__ = ["PRIORS", "StandardNormal", "StandardPrior", "UniformSphere"]
