"""Shared parts of convolutional and residual networks: sizes, down- and upsampling, base classes.

Shapes: B examples, N rows, C x H x W an image, M maps, D latent dims.
"""

from __future__ import annotations

from torch import Tensor, nn

from seqvae.models.conditioning import ConditionedSequential
from seqvae.models.image.decoder import ImageDecoder, zero_init
from seqvae.models.image.encoder import ImageEncoder

SMALLEST = 8  # sides are halved while both are at least this
KERNEL, STRIDE, PADDING = 4, 2, 1  # n -> n // 2

Sides = tuple[int, int]  # height, width


def downsampled_sizes(height: int, width: int) -> list[Sides]:
    """Sizes of the maps: halved, rounded down, until a side is below 8; at least once if possible."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= SMALLEST or (len(sizes) == 1 and min(sizes[-1]) >= 2):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def downsampling_convs(inputs: int, outputs: int) -> nn.Conv2d:
    """A 4 x 4 convolution of stride 2."""
    return nn.Conv2d(inputs, outputs, KERNEL, STRIDE, PADDING)


def upsampling_convs(inputs: int, outputs: int, small: Sides, large: Sides) -> nn.ConvTranspose2d:
    """A transposed convolution from maps of the `small` size to the `large` one, also for odd sides."""
    spare = (large[0] - 2 * small[0], large[1] - 2 * small[1])
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING, spare)


def to_planes(maps: int, planes: int, sizes: list[Sides]) -> nn.Module:
    """The last layer of a decoder, to the last of `sizes`; a 1 x 1 convolution if there is only one size."""
    if len(sizes) == 1:
        return zero_init(nn.Conv2d(maps, planes, 1))
    return zero_init(upsampling_convs(maps, planes, *sizes[-2:]))


def flat_size(maps: int, size: Sides) -> int:
    """Number of values in `maps` maps of one size."""
    return maps * size[0] * size[1]


class MapEncoder(ImageEncoder):
    """Convolutions with decreasing map sizes, then dense layers."""

    maps: nn.Sequential  # (B, C, H, W) -> (B, M, h, w)
    dense: nn.Sequential  # (B, M h w) -> (B, H)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, H) of images (B, C, H, W)."""
        h: Tensor = self.dense(self.maps(x).flatten(1))
        return h


class MapDecoder(ImageDecoder):
    """Dense layers, then transposed convolutions with increasing map sizes."""

    first: tuple[int, int, int]  # M, h, w of the smallest maps
    dense: ConditionedSequential  # (N, D) -> (N, M h w)
    maps: ConditionedSequential  # (N, M, h, w) -> (N, P x C, H, W)

    def pixel_parameters(self, z: Tensor, c: Tensor | None) -> Tensor:
        """(N, P x C, H, W) of codes (N, D)."""
        raw: Tensor = self.maps(self.dense(z, c).view(len(z), *self.first), c)
        return raw
