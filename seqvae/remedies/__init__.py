"""Cures for ignored codes: one a file, one row each below."""

from seqvae.interfaces import Remedy
from seqvae.remedies.free_bits import FreeBits
from seqvae.remedies.schedules import (
    ConstantBeta,
    CosineAnnealing,
    CyclicalAnnealing,
    LinearAnnealing,
    SigmoidAnnealing,
)
from seqvae.remedies.word_dropout import WordDropout

REMEDIES: dict[str, type[Remedy]] = {
    "constant_beta": ConstantBeta,
    "linear_annealing": LinearAnnealing,
    "sigmoid_annealing": SigmoidAnnealing,
    "cosine_annealing": CosineAnnealing,
    "cyclical_annealing": CyclicalAnnealing,
    "free_bits": FreeBits,
    "word_dropout": WordDropout,
}

__all__ = ["REMEDIES"]
