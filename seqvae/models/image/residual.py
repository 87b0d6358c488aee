"""Residual encoders and decoders of images.

Shapes: B examples, N rows, C x H x W an image, M maps, D latent dims.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from seqvae.models.conditioning import ConditionedModule, ConditionedSequential, extend_inputs, film_layers
from seqvae.models.image.decoder import Kind, Shape, Size, Variance, zero_init
from seqvae.models.image.feature_maps import (
    MapDecoder,
    MapEncoder,
    downsampled_sizes,
    downsampling_convs,
    flat_size,
    to_planes,
    upsampling_convs,
)

WIDEST = 4  # factor of `channels`: maps double with each halving up to this


def smooth(units: int, condition: int = 0) -> list[nn.Module]:
    """SiLU activation and FiLM conditioning of hidden units or maps."""
    return [nn.SiLU(), *film_layers(units, condition)]


class Block(ConditionedModule):
    """x + f(x), where f is SiLU and a 3 x 3 convolution, twice; zero at initialisation."""

    def __init__(self, maps: int, condition: int = 0) -> None:
        super().__init__()
        second = nn.Conv2d(maps, maps, 3, padding=1)
        nn.init.zeros_(second.weight)  # otherwise the variance would grow with every block
        first = nn.Conv2d(maps, maps, 3, padding=1)
        self.f = ConditionedSequential(
            *smooth(maps, condition), first, *smooth(maps, condition), zero_init(second)
        )

    def forward(self, h: Tensor, c: Tensor | None = None) -> Tensor:
        """(N, M, H, W)."""
        return h + self.f(h, c)  # type: ignore[no-any-return]


def widths(channels: int, count: int) -> list[int]:
    """Number of maps at each size, the largest size first."""
    return [channels * min(2**i, WIDEST) for i in range(count)]


class ResidualEncoder(MapEncoder):
    """At each size a downsampling convolution and `blocks` residual blocks; then one dense layer."""

    paper = "He et al., Identity Mappings in Deep Residual Networks"
    year = 2016

    def __init__(self, shape: Shape, channels: Size = 32, blocks: Size = 1, hidden: Size = 256) -> None:
        super().__init__(shape)
        sizes = downsampled_sizes(*shape[1:])
        maps = [shape[0], *widths(channels, len(sizes) - 1)]
        self.maps = nn.Sequential(
            *(
                part
                for a, b in pairwise(maps)
                for part in (downsampling_convs(a, b), *(Block(b) for _ in range(blocks)))
            )
        )
        self.dense = nn.Sequential(nn.SiLU(), nn.Linear(flat_size(maps[-1], sizes[-1]), hidden), nn.SiLU())
        self.out_dim = hidden


class ResidualDecoder(MapDecoder):
    """The mirror of the encoder: a dense layer, then blocks and a transposed convolution at each size."""

    paper = "He et al., Identity Mappings in Deep Residual Networks"
    year = 2016

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        channels: Size = 32,
        blocks: Size = 1,
        hidden: Size = 256,
        likelihood: Kind = "bernoulli",
        variance: Variance = "global",
        condition: int = 0,
    ) -> None:
        super().__init__(shape, latent_dim, likelihood, variance)
        sizes = downsampled_sizes(*shape[1:])[::-1]
        maps = widths(channels, max(1, len(sizes) - 1))[::-1]
        self.first = (maps[0], *sizes[0])
        reads = extend_inputs(nn.Linear(self.inputs, hidden), condition)
        self.dense = ConditionedSequential(
            reads, *smooth(hidden, condition), nn.Linear(hidden, flat_size(maps[0], sizes[0]))
        )
        stages: list[nn.Module] = [Block(maps[0], condition) for _ in range(blocks)]
        for (small, large), (a, b) in zip(pairwise(sizes[:-1]), pairwise(maps), strict=True):
            stages += [*smooth(a, condition), upsampling_convs(a, b, small, large)]
            stages += [Block(b, condition) for _ in range(blocks)]
        self.maps = ConditionedSequential(
            *stages, *smooth(maps[-1], condition), to_planes(maps[-1], self.planes, sizes)
        )
