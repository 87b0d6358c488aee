"""Metrics of images: bits per dim (pixel value), and reconstruction quality.

Shapes: B examples, N of all batches, D latent dims, C x H x W an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.data.image.batch import ImageBatch

Draw = Callable[[Tensor, ImageBatch], Any]  # codes (B, D) to p(x|z), S = 1


def squared_error(mean: Tensor, targets: Tensor) -> Tensor:
    """Mean over pixel values of (mean - target)^2, (B,)."""
    return (mean - targets).square().flatten(1).mean(1)


def pixel_accuracy(mean: Tensor, targets: Tensor) -> Tensor:
    """Fraction of pixel values on the same side of one half, (B,)."""
    return ((mean >= 0.5) == (targets >= 0.5)).float().flatten(1).mean(1)


def bits_per_dim(nats: float, dims: int) -> float:
    """Nats / (D ln 2) for D pixel values; for a likelihood of discrete pixels (binary, levels)."""
    return nats / (dims * math.log(2))


@dataclass(frozen=True)
class ImageMetrics:
    """`interfaces.ModalityMetrics` of images; without `draw` only metrics that need no decoding."""

    draw: Draw | None = None
    discrete: bool = True  # whether the likelihood is over discrete pixels

    def per_target(self, batches: Sequence[ImageBatch], iw_nll: Tensor | None) -> dict[str, Any]:
        """Number of images, and IW-NLL in bits per pixel value."""
        numbers: dict[str, Any] = {"pictures": sum(batch.num_targets for batch in batches)}
        if iw_nll is None or not self.discrete:
            return numbers
        return numbers | {"bits_per_dim": bits_per_dim(float(iw_nll.mean()), batches[0].targets[0].numel())}

    def position_log_probs(self, likelihood: Any, batch: ImageBatch) -> Tensor:
        """Log p (B, 1) of each image, in nats."""
        scored: Tensor = likelihood.log_prob(batch)[0]
        return scored[:, None]

    def position_gains(self, gains: Tensor, batch: ImageBatch) -> None:
        """None: images have no positions."""

    def summarise_positions(self, parts: Sequence[Any]) -> dict[str, Any]:
        """Empty: images have no positions."""
        return {}

    def compare_reconstructions(self, batch: ImageBatch, codes: Tensor, drawn: Tensor) -> tuple[Tensor, ...]:
        """Squared error and accuracy per image (B,), from posterior means and from one sample each."""
        if self.draw is None:
            return ()
        back = [self.draw(z, batch).mean[0] for z in (codes, drawn)]
        numbers = [kind(mean, batch.targets) for mean in back for kind in (squared_error, pixel_accuracy)]
        return tuple(numbers)

    def summarise_reconstructions(self, parts: Sequence[tuple[Tensor, ...]]) -> dict[str, Any]:
        """Means over all images."""
        if self.draw is None or not parts:
            return {}
        error, accuracy, *sampled = (float(torch.cat(column).mean()) for column in zip(*parts, strict=True))
        at_samples = {"squared_error": sampled[0], "pixel_accuracy": sampled[1]}
        return {"squared_error": error, "pixel_accuracy": accuracy, "reconstruction_at_samples": at_samples}

    def sample_metrics(self, n: int, seed: int) -> dict[str, Any]:
        """Empty: sampled images always differ."""
        return {}
