"""Convolutional encoders and decoders whose depth follows the size of the pictures.

Shapes: B examples, N rows, C x H x W a picture, D latent dims.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from seqvae.conditions import told
from seqvae.image.decoder import ImageDecoder, Kind, Shape, Size, Variance, from_nothing
from seqvae.image.encoder import ImageEncoder

SMALLEST = 8  # a side is halved while both are at least so long
KERNEL, STRIDE, PADDING = 4, 2, 1  # n -> n // 2


def sizes_down(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of the maps: halved, rounded down, until a side is below 8; once at least, where it can."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= SMALLEST or (len(sizes) == 1 and min(sizes[-1]) >= 2):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def halved(inputs: int, outputs: int) -> nn.Conv2d:
    """A 4 x 4 convolution of stride 2."""
    return nn.Conv2d(inputs, outputs, KERNEL, STRIDE, PADDING)


def doubled(inputs: int, outputs: int, small: tuple[int, int], large: tuple[int, int]) -> nn.ConvTranspose2d:
    """The way back from maps of the `small` size to the `large` one, odd sides included."""
    spare = (large[0] - 2 * small[0], large[1] - 2 * small[1])
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, spare)


def to_planes(maps: int, planes: int, sizes: list[tuple[int, int]]) -> nn.Module:
    """The last layer of a decoder, to the last of `sizes`; 1 x 1 where nothing is left to double."""
    if len(sizes) == 1:
        return from_nothing(nn.Conv2d(maps, planes, 1))
    return from_nothing(doubled(maps, planes, *sizes[-2:]))


class ConvEncoder(ImageEncoder):
    """4 x 4 convolutions of stride 2, then two dense layers: of 32 maps and 256 units in the paper."""

    paper = "Burgess et al., Understanding Disentangling in beta-VAE"
    year = 2018

    def __init__(self, shape: Shape, channels: Size = 32, hidden: Size = 256) -> None:
        super().__init__(shape)
        sizes = sizes_down(*shape[1:])
        maps = [shape[0]] + [channels] * (len(sizes) - 1)
        self.maps = nn.Sequential(*(part for a, b in pairwise(maps) for part in (halved(a, b), nn.ReLU())))
        flat = maps[-1] * sizes[-1][0] * sizes[-1][1]
        self.dense = nn.Sequential(nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out_dim = hidden

    def features(self, x: Tensor) -> Tensor:
        """H (B, H) of pictures (B, C, H, W)."""
        h: Tensor = self.dense(self.maps(x).flatten(1))
        return h


class ConvDecoder(ImageDecoder):
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
        sizes = sizes_down(*shape[1:])[::-1]
        self.first = (channels, *sizes[0])
        flat = channels * sizes[0][0] * sizes[0][1]
        self.dense = nn.Sequential(
            told(nn.Linear(self.inputs, hidden), condition),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, flat),
        )
        ups = [
            part for a, b in pairwise(sizes[:-1]) for part in (nn.ReLU(), doubled(channels, channels, a, b))
        ]
        self.maps = nn.Sequential(*ups, nn.ReLU(), to_planes(channels, self.planes, sizes))

    def draw(self, z: Tensor) -> Tensor:
        """(N, P x C, H, W) of codes (N, D)."""
        raw: Tensor = self.maps(self.dense(z).view(len(z), *self.first))
        return raw
