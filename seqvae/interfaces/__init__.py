"""Base classes and protocols of model parts, batches, modalities and remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqvae._deprecated import renamed_names
from seqvae.interfaces.batch import Batch
from seqvae.interfaces.kl import kl_divergence, register_kl
from seqvae.interfaces.modality import BatchSource, Data, LabeledSplit, ModalityMetrics, Processor
from seqvae.interfaces.model import (
    Citable,
    Decoder,
    Encoder,
    Latent,
    Likelihood,
    Posterior,
    Prior,
    PriorDistribution,
    point_estimate,
)
from seqvae.interfaces.remedy import Remedy, RunContext

__all__ = [
    "Batch",
    "BatchSource",
    "Citable",
    "Data",
    "Decoder",
    "Encoder",
    "LabeledSplit",
    "Latent",
    "Likelihood",
    "ModalityMetrics",
    "Posterior",
    "Prior",
    "PriorDistribution",
    "Processor",
    "Remedy",
    "RunContext",
    "kl_divergence",
    "point_estimate",
    "register_kl",
]

if not TYPE_CHECKING:  # or type checkers would accept any name
    __getattr__ = renamed_names(__name__)
