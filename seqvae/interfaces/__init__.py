"""The sockets: what every part of a model, every cure and every modality must be able to do."""

from __future__ import annotations

from seqvae.interfaces.kl import kl_divergence, register_kl
from seqvae.interfaces.modality import Batch, Codec, Data, Feed, Labelled, Measures
from seqvae.interfaces.model import (
    Decoder,
    Encoder,
    Latent,
    Likelihood,
    Posterior,
    Prior,
    PriorDistribution,
    Sourced,
    stands_for,
)
from seqvae.interfaces.remedy import Facts, Remedy

__all__ = [
    "Batch",
    "Codec",
    "Data",
    "Decoder",
    "Encoder",
    "Facts",
    "Feed",
    "Labelled",
    "Latent",
    "Likelihood",
    "Measures",
    "Posterior",
    "Prior",
    "PriorDistribution",
    "Remedy",
    "Sourced",
    "kl_divergence",
    "register_kl",
    "stands_for",
]
