"""p(z): one a file, one row each below."""

from seqvae.interfaces import Prior
from seqvae.priors.sphere import UniformSphere, UniformSpherePrior
from seqvae.priors.standard import StandardNormal, StandardPrior

PRIORS: dict[str, type[Prior]] = {"standard": StandardPrior, "uniform_sphere": UniformSpherePrior}

__all__ = ["PRIORS", "StandardNormal", "StandardPrior", "UniformSphere"]
