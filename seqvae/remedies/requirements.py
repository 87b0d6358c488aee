"""Checks of the latent that several remedies need, and their errors."""

from __future__ import annotations

from typing import Any

from torch import nn

from seqvae.errors import UserError


def require_diagonal(name: str, vae: nn.Module) -> None:
    """Reject latents whose q(z|x) is not a diagonal normal.

    Raises:
        UserError: the latent is one of them.
    """
    latent: Any = vae.latent
    _refuse_unless(latent.is_diagonal_gaussian, name, "a mean and a variance of each dim", latent)


def require_density(name: str, vae: nn.Module) -> None:
    """Reject latents without a code, or without a density q(z|x).

    Raises:
        UserError: the latent is one of them.
    """
    latent: Any = vae.latent
    _refuse_unless(latent.dim > 0 and latent.has_density, name, "random codes", latent)


def require_reparameterized(name: str, vae: nn.Module) -> None:
    """Reject latents as `require_density` does, and discrete codes.

    Raises:
        UserError: the latent is one of them.
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
