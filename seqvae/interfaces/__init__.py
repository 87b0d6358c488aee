"""The sockets: what every part of a model, every cure and every modality must be able to do."""

from __future__ import annotations

from seqvae.interfaces.kl import kl_divergence, register_kl
from seqvae.interfaces.modality import Batch, BatchSource, Data, LabeledSplit, ModalityMetrics, Processor
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
    "Processor",
    "Data",
    "Decoder",
    "Encoder",
    "RunContext",
    "BatchSource",
    "LabeledSplit",
    "Latent",
    "Likelihood",
    "ModalityMetrics",
    "Posterior",
    "Prior",
    "PriorDistribution",
    "Remedy",
    "Citable",
    "kl_divergence",
    "register_kl",
    "point_estimate",
]
