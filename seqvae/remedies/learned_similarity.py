"""Learned similarity: a reconstruction loss in the feature space of a discriminator.

Shapes: S samples, B examples, images C x H x W, F features.
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

SLOPE = 0.2  # negative slope of the leaky ReLUs
SMALLEST = 8  # pixels; maps are halved while both sides are at least this long
WIDEST = 4  # largest number of maps, in multiples of `channels`


def feature_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|^2 / 2, (B,), of features (B, F): -log N(a; b, 1) in nats without its constant."""
    return 0.5 * (a - b).square().flatten(1).sum(1)


def discriminator_loss(real: Tensor, drawn: Tensor) -> Tensor:
    """Cross-entropy () in nats of classifying images and reconstructions by their logits (B,)."""
    return 0.5 * (softplus(-real).mean() + softplus(drawn).mean())


class Discriminator(nn.Module):
    """Convolutional classifier of images and reconstructions; its last feature maps are the features."""

    def __init__(self, shape: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        maps, height, width = shape
        parts: list[nn.Module] = []
        while min(height, width) >= SMALLEST or (not parts and min(height, width) >= 2):
            wider = channels * min(2 ** (len(parts) // 2), WIDEST)
            parts += [nn.Conv2d(maps, wider, 4, 2, 1), nn.LeakyReLU(SLOPE)]
            maps, height, width = wider, height // 2, width // 2
        # normalised per example, or the distance would grow with the scale of the features
        self.features = nn.Sequential(*parts, nn.GroupNorm(1, maps, affine=False))
        self.logit = nn.Linear(maps * height * width, 1)

    def forward(self, out: VAEOutput, batch: ImageBatch) -> Tensor:
        """Classification loss () on detached reconstructions."""
        with torch.no_grad():
            drawn = _reconstruct(out)
        with torch.autocast(drawn.device.type, enabled=False):
            logits = [self.logit(self.features(x).flatten(1))[:, 0] for x in (batch.targets, drawn)]
            return discriminator_loss(*logits)

    def distance(self, x: Tensor, drawn: Tensor) -> Tensor:
        """`feature_distance` (B,) of images, with gradients to `drawn` but not to the weights."""
        # the model must not train the discriminator, which minimises another loss
        fixed = {name: weight.detach() for name, weight in self.features.named_parameters()}
        with torch.autocast(x.device.type, enabled=False):
            found = [functional_call(self.features, fixed, (image,)) for image in (drawn, x)]
            return feature_distance(found[0], found[1])


def _reconstruct(out: VAEOutput) -> Tensor:
    """Mean of p(x|z) (B, C, H, W) for the first sample of z."""
    likelihood: Any = out.likelihood
    mean: Tensor = likelihood.mean[0].float()
    return mean


class LearnedSimilarity(Remedy[ImageBatch]):
    """weight x the distance of image and reconstruction in the features of a discriminator.

    The discriminator is trained jointly to classify the two. In the paper this distance replaces the
    likelihood, and the decoder also has an adversarial loss; here the likelihood stays, so that distortions
    are comparable, and there is no adversarial loss.

    Args:
        weight: factor of the distance.
        channels: number of feature maps of the first convolution.
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
        """Create the discriminator.

        Raises:
            UserError: the decoder does not generate images.
        """
        decoder: Any = vae.decoder
        shape = getattr(decoder, "shape", None)
        if shape is None:
            raise UserError(
                f"remedy 'learned_similarity' compares images, {type(decoder).__name__} generates none: "
                "leave it out"
            )
        self.player = Discriminator(shape, self.channels)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: ImageBatch) -> dict[str, Tensor]:
        """The weighted distance, averaged over this batch."""
        distance = self.player.distance(batch.targets, _reconstruct(out))
        return {"learned_similarity": self.weight * distance.mean()}

    def discriminator(self) -> nn.Module:
        """The discriminator."""
        return self.player
