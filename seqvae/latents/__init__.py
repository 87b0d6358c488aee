"""q(z|x) and its divergence from the prior: one family a file, one row each below."""

from seqvae.interfaces import Latent
from seqvae.latents.batch_norm import BatchNormGaussian, DUGaussian
from seqvae.latents.categorical import Categorical
from seqvae.latents.delta import Delta
from seqvae.latents.exact_rate import ExactRate
from seqvae.latents.flow import Flow
from seqvae.latents.gaussian import DiagonalNormal, Gaussian
from seqvae.latents.point import Deterministic, NoEncoder, NoLatent
from seqvae.latents.vmf import VMF

LATENTS: dict[str, type[Latent]] = {
    "gaussian": Gaussian,
    "bn_gaussian": BatchNormGaussian,
    "du_gaussian": DUGaussian,
    "exact_rate": ExactRate,
    "delta": Delta,
    "vmf": VMF,
    "flow": Flow,
    "categorical": Categorical,
    "deterministic": Deterministic,
    "none": NoLatent,
}

__all__ = ["LATENTS", "Deterministic", "DiagonalNormal", "Gaussian", "NoEncoder", "NoLatent"]
