"""Encoders and decoders of images made of dense layers.

Shapes: B examples, N rows, C x H x W an image, F its values, D latent dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from seqvae.models.conditioning import ConditionedSequential, extend_inputs, film_layers, first_linear
from seqvae.models.image.decoder import ImageDecoder, Kind, Shape, Size, Variance, zero_init
from seqvae.models.image.encoder import ImageEncoder

Widths = Annotated[tuple[Size, ...], Field(min_length=1)]
Activation = Literal["tanh", "relu", "gated"]


class Gated(nn.Module):
    """(A x + a) * sigmoid(B x + b), as a layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.both = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs)."""
        return functional.glu(self.both(x))


def dense(sizes: Sequence[int], activation: Activation, condition: int = 0) -> ConditionedSequential:
    """Dense layers with widths `sizes`, each with its activation and FiLM conditioning."""

    def layer(inputs: int, outputs: int) -> list[nn.Module]:
        if activation == "gated":
            return [Gated(inputs, outputs)]
        return [nn.Linear(inputs, outputs), nn.Tanh() if activation == "tanh" else nn.ReLU()]

    return ConditionedSequential(
        *(part for a, b in pairwise(sizes) for part in (*layer(a, b), *film_layers(b, condition)))
    )


class MLPEncoder(ImageEncoder):
    """Dense layers over all pixels: by default the 200-200 tanh network of the paper.

    `gated` layers, of 300 units, are those of Tomczak & Welling 2018.
    """

    paper = "Burda et al., Importance Weighted Autoencoders"
    year = 2016

    def __init__(self, shape: Shape, hidden: Widths = (200, 200), activation: Activation = "tanh") -> None:
        super().__init__(shape)
        self.layers = dense([math.prod(shape), *hidden], activation)
        self.out_dim = hidden[-1]

    def features(self, x: Tensor) -> Tensor:
        """Features (B, H) of images (B, C, H, W)."""
        h: Tensor = self.layers(x.flatten(1))
        return h


class MLPDecoder(ImageDecoder):
    """Dense layers from the code to all pixels: by default the 200-200 tanh network of the paper."""

    paper = "Burda et al., Importance Weighted Autoencoders"
    year = 2016

    def __init__(
        self,
        shape: Shape,
        latent_dim: int,
        hidden: Widths = (200, 200),
        activation: Activation = "tanh",
        likelihood: Kind = "bernoulli",
        variance: Variance = "global",
        condition: int = 0,
    ) -> None:
        super().__init__(shape, latent_dim, likelihood, variance)
        self.layers = dense([self.inputs, *hidden], activation, condition)
        extend_inputs(first_linear(self.layers), condition)
        self.out = zero_init(nn.Linear(hidden[-1], self.planes * shape[1] * shape[2]))

    def pixel_parameters(self, z: Tensor, c: Tensor | None) -> Tensor:
        """(N, P x C, H, W) of codes (N, D)."""
        raw: Tensor = self.out(self.layers(z, c))
        return raw.view(len(z), self.planes, *self.shape[1:])
