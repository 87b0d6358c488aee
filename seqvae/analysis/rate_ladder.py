"""One example along the dial, from gist to copy: what comes back of it at one rate after the other.

Shapes: N examples, T rates, C x H x W a picture.
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
    """What comes back of a sentence at a rate."""

    text: str
    nats: float
    reconstruction: str
    exact: bool


def reconstruct_at_rates(
    vae: TextVAE, sentences: Inputs, rates: Sequence[float] | None = None
) -> list[RateReconstruction]:
    """Each sentence at each rate, from gist to copy: its greedy reconstruction from the posterior mean.

    The rates are 2, 4, 8 ... nats over the trained range where none are given.

    Raises:
        UserError: a rate out of that range, or a run without a dial.
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
    """Each picture at each rate (N, T, C, H, W), and the rates.

    Raises:
        UserError: as `reconstruct_at_rates`.
    """
    chosen = resolve_rates(vae.vae.latent, rates)
    strips = [vae.reconstruct(pictures.x, rate=nats, condition=pictures.condition) for nats in chosen]
    return torch.stack(strips, 1), chosen
