"""q(z|x) and its divergence from the prior: one family a file, one row each below."""

from seqvae.interfaces import Latent
from seqvae.latents.gaussian import DiagonalNormal, Gaussian
from seqvae.latents.point import Deterministic, NoEncoder, NoLatent

LATENTS: dict[str, type[Latent]] = {
    "gaussian": Gaussian,
    "deterministic": Deterministic,
    "none": NoLatent,
}

__all__ = ["LATENTS", "Deterministic", "DiagonalNormal", "Gaussian", "NoEncoder", "NoLatent"]
