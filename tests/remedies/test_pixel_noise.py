"""Noise on pixels: its amount, keyed by example, and never on the targets."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_pictures import picture_batch

from seqvae.keyed_noise import KeyedNoise
from seqvae.remedies import REMEDIES
from seqvae.remedies.pixel_noise import add_noise

PIXELS = torch.full((2, 3, 40, 50), 0.5)
NOISE = KeyedNoise(0, 0, torch.arange(2))


def test_noise_on_pixels() -> None:
    assert torch.equal(add_noise(PIXELS, NOISE), PIXELS)
    lost = add_noise(PIXELS, NOISE, drop=0.25)
    assert set(lost.unique().tolist()) == {0.0, 0.5}
    assert float((lost == 0).float().mean()) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))
    assert torch.equal(lost[:, 0], lost[:, 2]), "a pixel is lost in all channels"
    salted = add_noise(PIXELS, NOISE, salt=0.4)
    for value in (0.0, 1.0):
        assert float((salted == value).float().mean()) == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 4000))
    blurred = add_noise(PIXELS, NOISE, gaussian=0.1)
    assert float(blurred.std()) == pytest.approx(0.1, abs=0.005)
    assert float(add_noise(PIXELS, NOISE, gaussian=5.0).min()) == 0.0
    assert float(add_noise(PIXELS, NOISE, gaussian=5.0).max()) == 1.0


def test_noise_on_pixels_is_the_examples_own() -> None:
    both = add_noise(PIXELS, NOISE, 0.2, 0.2, 0.2)
    alone = add_noise(PIXELS[1:], KeyedNoise(0, 0, torch.tensor([1])), 0.2, 0.2, 0.2)
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[0], both[1])


def test_pixel_noise_leaves_the_targets() -> None:
    batch = picture_batch(4)
    remedy = REMEDIES["pixel_noise"](drop=1.0)  # type: ignore[call-arg]
    read = remedy.on_encoder_input(batch)
    assert torch.equal(read.targets, batch.targets)
    assert float(read.source.abs().sum()) == 0.0
    assert remedy.on_decoder_input(batch) is batch
