"""Convolutional encoders and decoders whose depth depends on the image size.

Shapes: C x H x W an image, D latent dims.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from seqvae.models.conditioning import ConditionedSequential, extend_inputs, film_layers
from seqvae.models.image.decoder import Kind, Shape, Size, Variance
from seqvae.models.image.feature_maps import (
    MapDecoder,
    MapEncoder,
    downsampled_sizes,
    downsampling_convs,
    flat_size,
    to_planes,
    upsampling_convs,
)


class ConvEncoder(MapEncoder):
    """4 x 4 convolutions of stride 2, then two dense layers; 32 maps and 256 units in the paper."""

    paper = "Burgess et al., Understanding Disentangling in beta-VAE"
    year = 2018

    def __init__(self, shape: Shape, channels: Size = 32, hidden: Size = 256) -> None:
        super().__init__(shape)
        sizes = downsampled_sizes(*shape[1:])
        maps = [shape[0]] + [channels] * (len(sizes) - 1)
        self.maps = nn.Sequential(
            *(part for a, b in pairwise(maps) for part in (downsampling_convs(a, b), nn.ReLU()))
        )
        flat = flat_size(maps[-1], sizes[-1])
        self.dense = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out_dim = hidden


class ConvDecoder(MapDecoder):
    """The mirror of the encoder: two dense layers, then transposed convolutions."""

    paper = "Burgess et al., Understanding Disentangling in beta-VAE"
    year = 2018

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        channels: Size = 32,
        hidden: Size = 256,
        likelihood: Kind = "bernoulli",
        variance: Variance = "global",
        condition: int = 0,
    ) -> None:
        super().__init__(shape, latent_dim, likelihood, variance)
        sizes = downsampled_sizes(*shape[1:])[::-1]
        self.first = (channels, *sizes[0])

        def rectified(units: int) -> list[nn.Module]:
            return [nn.ReLU(), *film_layers(units, condition)]

        self.dense = ConditionedSequential(
            extend_inputs(nn.Linear(self.inputs, hidden), condition),
            *rectified(hidden),
            nn.Linear(hidden, hidden),
            *rectified(hidden),
            nn.Linear(hidden, flat_size(channels, sizes[0])),
        )
        ups = [
            part
            for a, b in pairwise(sizes[:-1])
            for part in (*rectified(channels), upsampling_convs(channels, channels, a, b))
        ]
        self.maps = ConditionedSequential(*ups, *rectified(channels), to_planes(channels, self.planes, sizes))
