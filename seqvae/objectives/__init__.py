"""Training objectives; the table `OBJECTIVES` maps config names to classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqvae._deprecated import renamed_names
from seqvae.objectives.base import INFERENCE_PARTS, Objective, TrainStep
from seqvae.objectives.elbo import ELBO
from seqvae.objectives.iwae import IWAE
from seqvae.objectives.semi_supervised import SemiSupervised

OBJECTIVES: dict[str, type[Objective]] = {"elbo": ELBO, "iwae": IWAE, "semi_supervised": SemiSupervised}

__all__ = ["ELBO", "INFERENCE_PARTS", "IWAE", "OBJECTIVES", "Objective", "SemiSupervised", "TrainStep"]

if not TYPE_CHECKING:  # or type checkers would accept any name
    __getattr__ = renamed_names(__name__)
