"""Variational autoencoders for text and images whose latent code is used, measured and controllable."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqvae import _deprecated

if TYPE_CHECKING:
    from seqvae.config.loading import load_config
    from seqvae.errors import UserError
    from seqvae.inference import ImageVAE, TextVAE, load
    from seqvae.inference.constraint import Constraint
    from seqvae.models.text.decoding import UNTRUNCATED, GenerationConfig

__version__ = "0.1.0"
__all__ = [
    "UNTRUNCATED",
    "Constraint",
    "GenerationConfig",
    "ImageVAE",
    "TextVAE",
    "UserError",
    "__version__",
    "load",
    "load_config",
]

_HOMES = {
    "UNTRUNCATED": "seqvae.models.text.decoding",
    "Constraint": "seqvae.inference.constraint",
    "GenerationConfig": "seqvae.models.text.decoding",
    "ImageVAE": "seqvae.inference",
    "TextVAE": "seqvae.inference",
    "UserError": "seqvae.errors",
    "load": "seqvae.inference",
    "load_config": "seqvae.config.loading",
}

_deprecated.install()  # old import paths work and warn


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `seqvae --help` must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqvae' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
