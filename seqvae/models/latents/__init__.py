"""Families of posteriors q(z|x); the table `LATENTS` maps config names to classes."""

from seqvae.interfaces import Latent
from seqvae.models.latents.batch_norm import BatchNormGaussian, DUGaussian
from seqvae.models.latents.categorical import Categorical
from seqvae.models.latents.delta import Delta
from seqvae.models.latents.deterministic import Deterministic, NoEncoder, NoLatent
from seqvae.models.latents.exact_rate import ExactRate
from seqvae.models.latents.flow import Flow
from seqvae.models.latents.gaussian import DiagonalNormal, Gaussian
from seqvae.models.latents.vmf import VMF
from seqvae.models.latents.zuko_flow import ZukoFlowLatent

LATENTS: dict[str, type[Latent]] = {
    "gaussian": Gaussian,
    "bn_gaussian": BatchNormGaussian,
    "du_gaussian": DUGaussian,
    "exact_rate": ExactRate,
    "delta": Delta,
    "vmf": VMF,
    "flow": Flow,
    "zuko_flow": ZukoFlowLatent,
    "categorical": Categorical,
    "deterministic": Deterministic,
    "none": NoLatent,
}

__all__ = ["LATENTS", "Deterministic", "DiagonalNormal", "Gaussian", "NoEncoder", "NoLatent"]
