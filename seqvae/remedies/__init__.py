"""Remedies against posterior collapse; the table `REMEDIES` maps config names to classes."""

from seqvae.interfaces import Remedy
from seqvae.remedies.aggressive_encoder import AggressiveEncoder
from seqvae.remedies.align import Align
from seqvae.remedies.attribute_regularization import AttributeRegularization
from seqvae.remedies.bag_of_words import BagOfWords
from seqvae.remedies.controllers import GECO, ControlVAE
from seqvae.remedies.denoising import Denoising
from seqvae.remedies.dip import DIP
from seqvae.remedies.factor_vae import FactorVAE
from seqvae.remedies.free_bits import FreeBits, FreeBitsExample, FreeBitsTotal
from seqvae.remedies.kl_dropout import KLDropout
from seqvae.remedies.latent_dropout import LatentDropout
from seqvae.remedies.learned_similarity import LearnedSimilarity
from seqvae.remedies.mmd import MMD
from seqvae.remedies.pixel_noise import PixelNoise
from seqvae.remedies.schedules import (
    ConstantBeta,
    CosineAnnealing,
    CyclicalAnnealing,
    ExponentialAnnealing,
    LinearAnnealing,
    SigmoidAnnealing,
)
from seqvae.remedies.target_rate import Capacity, TargetRate
from seqvae.remedies.total_correlation import TotalCorrelation
from seqvae.remedies.word_dropout import WordDropout

REMEDIES: dict[str, type[Remedy]] = {
    "constant_beta": ConstantBeta,
    "linear_annealing": LinearAnnealing,
    "sigmoid_annealing": SigmoidAnnealing,
    "cosine_annealing": CosineAnnealing,
    "exponential_annealing": ExponentialAnnealing,
    "cyclical_annealing": CyclicalAnnealing,
    "free_bits": FreeBits,
    "free_bits_example": FreeBitsExample,
    "free_bits_total": FreeBitsTotal,
    "capacity": Capacity,
    "target_rate": TargetRate,
    "control_vae": ControlVAE,
    "geco": GECO,
    "word_dropout": WordDropout,
    "denoising": Denoising,
    "pixel_noise": PixelNoise,
    "latent_dropout": LatentDropout,
    "kl_dropout": KLDropout,
    "bag_of_words": BagOfWords,
    "mmd": MMD,
    "total_correlation": TotalCorrelation,
    "dip": DIP,
    "factor_vae": FactorVAE,
    "learned_similarity": LearnedSimilarity,
    "attribute_regularization": AttributeRegularization,
    "aggressive_encoder": AggressiveEncoder,
    "align": Align,
}

__all__ = ["REMEDIES"]
