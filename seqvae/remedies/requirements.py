"""What some remedies ask of the latent, and what is said where it does not have it."""

from __future__ import annotations

from typing import Any

from torch import nn

from seqvae.errors import UserError


def require_diagonal(name: str, vae: nn.Module) -> None:
    """Refuse latents whose q(z|x) is no diagonal normal.

    Raises:
        UserError: such a latent.
    """
    latent: Any = vae.latent
    _refuse_unless(latent.is_diagonal_gaussian, name, "a mean and a variance of each dim", latent)


def require_density(name: str, vae: nn.Module) -> None:
    """Refuse latents without a code, or without a density of it.

    Raises:
        UserError: such a latent.
    """
    latent: Any = vae.latent
    _refuse_unless(latent.dim > 0 and latent.has_density, name, "random codes", latent)


def require_reparameterized(name: str, vae: nn.Module) -> None:
    """Refuse what `require_density` does, and codes that are choices.

    Raises:
        UserError: such a latent.
    """
    latent: Any = vae.latent
    real = latent.dim > 0 and latent.has_density and latent.reparameterized
    _refuse_unless(real, name, "random codes of real numbers", latent)


def _refuse_unless(met: bool, name: str, what: str, latent: nn.Module) -> None:
    if not met:
        raise UserError(
            f"remedy {name!r} reads {what}, {type(latent).__name__} has none: "
            "leave it out, or take latent gaussian"
        )
