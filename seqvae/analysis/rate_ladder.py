"""Reconstructions of an example at several rates, from gist to copy, with a variable-rate run.

Shapes: N examples, T rates, C x H x W an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.evaluation.rate_sweep import resolve_rates
from seqvae.inference import TextVAE
from seqvae.inference.inputs import Inputs


@dataclass(frozen=True)
class RateReconstruction:
    """The reconstruction of a sentence at a rate in nats."""

    text: str
    nats: float
    reconstruction: str
    exact: bool


def reconstruct_at_rates(
    vae: TextVAE, sentences: Inputs, rates: Sequence[float] | None = None
) -> list[RateReconstruction]:
    """Greedy reconstructions from the posterior mean of each sentence at each rate.

    Args:
        vae: a variable-rate run.
        sentences: N sentences.
        rates: T rates in nats; the doublings 2, 4, 8 ... within the trained range by default.

    Returns:
        N x T reconstructions, sentence by sentence.

    Raises:
        UserError: a rate outside the trained range, or not a variable-rate run.
    """
    chosen = resolve_rates(vae.vae.latent, rates)
    steps = [vae.reconstruct(sentences.x, rate=r, condition=sentences.condition) for r in chosen]
    return [
        RateReconstruction(back.text, nats, back.reconstruction, back.exact)
        for each in zip(*steps, strict=True)
        for nats, back in zip(chosen, each, strict=True)
    ]


def reconstruct_images_at_rates(
    vae: Any, pictures: Inputs, rates: Sequence[float] | None = None
) -> tuple[Tensor, list[float]]:
    """Reconstructions (N, T, C, H, W) of each image at each rate, and the rates in nats.

    Raises:
        UserError: as `reconstruct_at_rates`.
    """
    chosen = resolve_rates(vae.vae.latent, rates)
    strips = [vae.reconstruct(pictures.x, rate=nats, condition=pictures.condition) for nats in chosen]
    return torch.stack(strips, 1), chosen
