"""What training minimises: one loss a file, one row each below."""

from seqvae.objective.base import INFERENCE_PARTS, Objective, TrainStep
from seqvae.objective.elbo import ELBO
from seqvae.objective.iwae import IWAE
from seqvae.objective.semi_supervised import SemiSupervised

OBJECTIVES: dict[str, type[Objective]] = {"elbo": ELBO, "iwae": IWAE, "semi_supervised": SemiSupervised}

__all__ = ["ELBO", "INFERENCE_PARTS", "IWAE", "OBJECTIVES", "Objective", "SemiSupervised", "TrainStep"]
