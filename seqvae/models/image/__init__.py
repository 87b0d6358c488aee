"""Encoders and decoders of images, by config name."""

from seqvae.interfaces import Encoder
from seqvae.models.image.conv import ConvDecoder, ConvEncoder
from seqvae.models.image.decoder import ImageDecoder
from seqvae.models.image.mlp import MLPDecoder, MLPEncoder
from seqvae.models.image.residual import ResidualDecoder, ResidualEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "mlp": MLPEncoder,
    "conv": ConvEncoder,
    "residual": ResidualEncoder,
}
DECODERS: dict[str, type[ImageDecoder]] = {
    "mlp": MLPDecoder,
    "conv": ConvDecoder,
    "residual": ResidualDecoder,
}
