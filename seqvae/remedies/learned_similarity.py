"""Learned similarity: pictures are alike where a discriminator's features of them are.

Shapes: S samples, B examples, C x H x W a picture, F features.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from seqvae.data.image.batch import ImageBatch
from seqvae.errors import UserError
from seqvae.interfaces import Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput

SLOPE = 0.2  # of the leaky rectifiers
SMALLEST = 8  # a side is halved while both are at least so long
WIDEST = 4  # times `channels`: maps double with each halving up to here


def feature_distance(a: Tensor, b: Tensor) -> Tensor:
    """(B,): |a - b|^2 / 2 of features (B, F): nats of a normal of variance 1 around b, its constant aside."""
    return 0.5 * (a - b).square().flatten(1).sum(1)


def discriminator_loss(real: Tensor, drawn: Tensor) -> Tensor:
    """Cross-entropy () in nats of telling pictures from reconstructions by their logits (B,)."""
    return 0.5 * (softplus(-real).mean() + softplus(drawn).mean())


class Discriminator(nn.Module):
    """Tells pictures from reconstructions; what its last convolution puts out are the features."""

    def __init__(self, shape: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        maps, height, width = shape
        parts: list[nn.Module] = []
        while min(height, width) >= SMALLEST or (not parts and min(height, width) >= 2):
            wider = channels * min(2 ** (len(parts) // 2), WIDEST)
            parts += [nn.Conv2d(maps, wider, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            maps, height, width = wider, height // 2, width // 2
        # of a fixed norm an example, or larger features alone would make the distance larger
        self.features = nn.Sequential(*parts, nn.GroupNorm(1, maps, affine=False))
        self.logit = nn.Linear(maps * height * width, 1)

    def forward(self, out: VAEOutput, batch: ImageBatch) -> Tensor:
        """Its own loss ()."""
        with torch.no_grad():
            drawn = _reconstruct(out)
        with torch.autocast(drawn.device.type, enabled=False):
            logits = [self.logit(self.features(x).flatten(1))[:, 0] for x in (batch.targets, drawn)]
            return discriminator_loss(*logits)

    def distance(self, x: Tensor, drawn: Tensor) -> Tensor:
        """`feature_distance` (B,), with gradients to pictures `drawn` and not to the weights."""
        fixed = {name: weight.detach() for name, weight in self.features.named_parameters()}
        with torch.autocast(x.device.type, enabled=False):
            found = [functional_call(self.features, fixed, (picture,)) for picture in (drawn, x)]
            return feature_distance(found[0], found[1])


def _reconstruct(out: VAEOutput) -> Tensor:
    """Reconstructions (B, C, H, W) from the first sample of each code."""
    likelihood: Any = out.likelihood
    mean: Tensor = likelihood.mean[0].float()
    return mean


class LearnedSimilarity(Remedy[ImageBatch]):
    """weight x the distance of picture and reconstruction in the features of a discriminator.

    The discriminator trains beside the model, at its rate, to tell the two apart. In the paper this distance
    takes the place of the likelihood, and the decoder gains by deceiving as well; here the likelihood stays,
    so that distortion is what it was, and deceiving gains nothing.
    """

    paper = "Larsen et al., Autoencoding beyond Pixels Using a Learned Similarity Metric"
    year = 2016
    batch_type: ClassVar[str] = "image"

    def __init__(
        self, weight: Annotated[float, Field(ge=0)] = 0.1, channels: Annotated[int, Field(gt=0)] = 32
    ) -> None:
        super().__init__()
        self.weight, self.channels = weight, channels

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Make the discriminator.

        Raises:
            UserError: the decoder draws no pictures.
        """
        decoder: Any = vae.decoder
        shape = getattr(decoder, "shape", None)
        if shape is None:
            raise UserError(
                f"remedy 'learned_similarity' compares pictures, {type(decoder).__name__} draws none: "
                "leave it out"
            )
        self.player = Discriminator(shape, self.channels)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: ImageBatch) -> dict[str, Tensor]:
        """The weighted distance, in the mean over this batch."""
        distance = self.player.distance(batch.targets, _reconstruct(out))
        return {"learned_similarity": self.weight * distance.mean()}

    def discriminator(self) -> nn.Module:
        """The discriminator."""
        return self.player
