"""What networks of feature maps share: the sizes they pass through, and the way from pictures and to them.

Shapes: B examples, N rows, C x H x W a picture, M maps, D latent dims.
"""

from __future__ import annotations

from torch import Tensor, nn

from seqvae.models.conditioning import ConditionedSequential
from seqvae.models.image.decoder import ImageDecoder, zero_init
from seqvae.models.image.encoder import ImageEncoder

SMALLEST = 8  # a side is halved while both are at least so long
KERNEL, STRIDE, PADDING = 4, 2, 1  # n -> n // 2

Sides = tuple[int, int]  # height, width


def downsampled_sizes(height: int, width: int) -> list[Sides]:
    """The sizes of the maps: halved, rounded down, until a side is below 8; once at least, where it can."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= SMALLEST or (len(sizes) == 1 and min(sizes[-1]) >= 2):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def downsampling_convs(inputs: int, outputs: int) -> nn.Conv2d:
    """A 4 x 4 convolution of stride 2."""
    return nn.Conv2d(inputs, outputs, KERNEL, STRIDE, PADDING)


def upsampling_convs(inputs: int, outputs: int, small: Sides, large: Sides) -> nn.ConvTranspose2d:
    """The way back from maps of the `small` size to the `large` one, odd sides included."""
    spare = (large[0] - 2 * small[0], large[1] - 2 * small[1])
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, spare)


def to_planes(maps: int, planes: int, sizes: list[Sides]) -> nn.Module:
    """The last layer of a decoder, to the last of `sizes`; 1 x 1 where nothing is left to double."""
    if len(sizes) == 1:
        return zero_init(nn.Conv2d(maps, planes, 1))
    return zero_init(upsampling_convs(maps, planes, *sizes[-2:]))


def flat_size(maps: int, size: Sides) -> int:
    """Numbers in `maps` maps of one size."""
    return maps * size[0] * size[1]


class MapEncoder(ImageEncoder):
    """Maps of a picture, smaller and smaller, then dense layers."""

    maps: nn.Sequential  # (B, C, H, W) -> (B, M, h, w)
    dense: nn.Sequential  # (B, M h w) -> (B, H)

    def features(self, x: Tensor) -> Tensor:
        """H (B, H) of pictures (B, C, H, W)."""
        h: Tensor = self.dense(self.maps(x).flatten(1))
        return h


class MapDecoder(ImageDecoder):
    """The mirror: dense layers, then maps that are larger and larger."""

    first: tuple[int, int, int]  # M, h, w of the smallest maps
    dense: ConditionedSequential  # (N, D) -> (N, M h w)
    maps: ConditionedSequential  # (N, M, h, w) -> (N, P x C, H, W)

    def pixel_parameters(self, z: Tensor, c: Tensor | None) -> Tensor:
        """(N, P x C, H, W) of codes (N, D)."""
        raw: Tensor = self.maps(self.dense(z, c).view(len(z), *self.first), c)
        return raw
