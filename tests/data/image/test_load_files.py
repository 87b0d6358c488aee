"""Image files, the saved processor, and metrics of reconstructed images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pictures import codec_of, grey, picture_batch, tiny_vae, write_folder

from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.load_files import levels, load_images
from seqvae.errors import UserError
from seqvae.evaluation.metrics.image import ImageMetrics, bits_per_dim, pixel_accuracy, squared_error


def test_values_outside_the_range_are_cut_off() -> None:
    values = torch.tensor([-1.0, 0.0, 0.5, 1.0, 7.0]).view(1, 1, 1, 5)
    assert levels(values).ravel().tolist() == [0, 0, 128, 255, 255]


def test_pictures_are_read_as_the_model_wants_them(tmp_path: Path) -> None:
    pixels = grey(3, channels=3)
    root = write_folder(tmp_path, pixels, [""] * 3)
    files = sorted(root.glob("*.png"))
    assert np.array_equal(load_images(files, codec_of(pixels)), pixels)
    assert load_images(files[:2], ImageProcessor(1, 9, 4)).shape == (2, 1, 9, 4)
    assert load_images([], ImageProcessor(1, 9, 4)).shape == (0, 1, 9, 4)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for name, told in (("none.png", "no such file"), ("bad.png", "cannot identify")):
        with pytest.raises(UserError, match=f"{name} cannot be read as a picture \\(.*{told}"):
            load_images([tmp_path / name], codec_of(pixels))


def test_a_codec_is_its_card(tmp_path: Path) -> None:
    codec = ImageProcessor(3, 9, 4, "fixed", 7)
    assert ImageProcessor.from_metadata(codec.metadata) == codec
    assert codec.sizes == {"shape": (3, 9, 4)}
    assert codec.fingerprint == ImageProcessor(**codec.metadata).fingerprint
    assert codec.fingerprint != ImageProcessor(3, 9, 4, "fixed", 8).fingerprint
    assert str(codec) == "9 x 4 x 3"
    codec.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    for card in ({}, {"vocab_size": 7}, {**codec.metadata, "more": 1}):
        with pytest.raises(UserError, match="describes no pictures"):
            ImageProcessor.from_metadata(card)


def test_measures_of_pixels() -> None:
    targets = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]]).view(2, 1, 2, 2)
    mean = torch.tensor([[0.5, 1.0, 0.0, 0.0], [1.0, 0.5, 0.5, 1.0]]).view(2, 1, 2, 2)
    assert squared_error(mean, targets).tolist() == [1.25 / 4, 0.5 / 4]
    assert pixel_accuracy(mean, targets).tolist() == [0.5, 1.0]
    assert bits_per_dim(784 * math.log(2), 784) == pytest.approx(1.0)


def test_what_an_evaluation_asks_of_pictures() -> None:
    vae, batches = tiny_vae(), [picture_batch(3), picture_batch(2, seed=1)]
    measures = ImageMetrics(lambda z, batch: vae.likelihood(z[None], batch.condition))
    assert measures.per_target(batches, None) == {"pictures": 5}
    units = measures.per_target(batches, torch.full((5,), 35 * math.log(2)))
    assert units["bits_per_dim"] == pytest.approx(1.0)
    assert "bits_per_dim" not in ImageMetrics(discrete=False).per_target(batches, torch.ones(5))
    with torch.no_grad():
        codes = [torch.randn(batch.size, 2) for batch in batches]
        parts = [
            measures.compare_reconstructions(batch, z, z + 1) for batch, z in zip(batches, codes, strict=True)
        ]
        numbers = measures.summarise_reconstructions(parts)
        errors = [
            squared_error(vae.likelihood(z[None]).mean[0], b.targets)
            for b, z in zip(batches, codes, strict=True)
        ]
        scores = measures.position_log_probs(vae.likelihood(codes[0][None]), batches[0])
    assert numbers["squared_error"] == pytest.approx(float(torch.cat(errors).mean()))
    assert set(numbers["reconstruction_at_samples"]) == {"squared_error", "pixel_accuracy"}
    assert scores.shape == (3, 1)
    assert (
        ImageMetrics().summarise_reconstructions(
            [ImageMetrics().compare_reconstructions(batches[0], codes[0], codes[0])]
        )
        == {}
    )
    assert (measures.summarise_positions([None]), measures.sample_metrics(3, 0)) == ({}, {})
