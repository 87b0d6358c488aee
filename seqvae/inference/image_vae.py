"""`ImageVAE`: a trained image VAE that encodes, samples, reconstructs and interpolates images.

Shapes: N images of C x H x W values in [0, 1], D latent dims, T points of a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqvae.config.schema import ImageRunConfig
from seqvae.data.image.batch import ImageBatch
from seqvae.data.image.batching import batch_from_pixels, keys_of
from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.dataset import load_examples
from seqvae.data.image.feed import measured_feed
from seqvae.data.image.image_store import ImageStore
from seqvae.data.image.load_files import levels, load_images
from seqvae.errors import UserError
from seqvae.evaluation.metrics.image import ImageMetrics
from seqvae.inference.given import as_count
from seqvae.inference.inputs import Inputs, Note, own_labels
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.interfaces import Batch, ModalityMetrics
from seqvae.keyed_noise import KeyedNoise, distinguish_repeats
from seqvae.models.sampling import Condition, Rate, make_condition, sample_prior
from seqvae.models.sampling import Path as CodePath
from seqvae.runs.run_folder import Run
from seqvae.utils.progress import track

VALUES = 1 << 22  # pixel values per batch, at most


class ImageVAE(PretrainedVAE, library_name="seqvae", tags=["image-vae"]):
    """A trained image VAE; images are arrays or tensors (N, C, H, W), or file names."""

    modality = "image"

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        super().__init__(run, device)
        assert isinstance(run.config, ImageRunConfig)
        self.codec: ImageProcessor = run.codec
        self.config = run.config

    def decode(self, z: Any, rate: Rate = None, condition: Condition | None = None) -> Tensor:
        """Images (N, C, H, W) of codes (N, D): the mean of p(x|z).

        Args:
            z: codes (N, D).
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.

        Raises:
            UserError: codes of another size, a rate that the model was not trained for, or labels that are
                missing or unknown.
        """
        z = self._codes(z)
        return self._render(z, None, make_condition(self.vae, len(z), rate, condition))

    def sample(
        self,
        n: int = 10,
        seed: int = 0,
        draw: bool = False,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> Tensor:
        """Images (n, C, H, W) of codes sampled from the prior.

        Args:
            n: number of images.
            seed: seed of all random draws.
            draw: sample the pixels from p(x|z) instead of taking its mean.
            rate: nats per code of a variable-rate run, one number or n; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of n.

        Raises:
            UserError: a rate that the model was not trained for, or labels that are missing or unknown.
        """
        n = as_count("n", n)
        c = make_condition(self.vae, n, rate, condition)
        z = sample_prior(self.vae, n, seed, c=c).cpu()
        return self._render(z, KeyedNoise(seed, 0, torch.arange(n)) if draw else None, c)

    def reconstruct(
        self,
        pictures: Any,
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> Tensor:
        """Reconstructions (N, C, H, W): the mean of p(x|z) at the code of each image.

        Args:
            pictures: images (N, C, H, W), or file names.
            sample: draw z ~ q(z|x) instead of the posterior mean.
            seed: seed of the samples.
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.

        Raises:
            UserError: as `encode`.
        """
        z, c = self._encode(pictures, sample, seed, rate, condition)
        return self._render(z, None, c)

    def interpolate(
        self,
        a: Any,
        b: Any,
        steps: int = 8,
        path: CodePath = "linear",
        rate: float | None = None,
        condition: Condition | None = None,
    ) -> Tensor:
        """Images (T, C, H, W) on the path between the codes of two images; the ends are reconstructions.

        Args:
            a: an image (C, H, W) or file name.
            b: another one.
            steps: T.
            path: `linear`, or `slerp` along the great arc.
            rate: nats per code of a variable-rate run; the run's default rate if None.
            condition: {label: value} of a conditional run.

        Raises:
            UserError: as `encode`, or fewer than two steps.
        """
        vae = self.with_defaults(rate, condition)
        return vae.decode(vae.path(a, b, steps, path))

    @torch.no_grad()
    def _render(
        self, z: Tensor, random: KeyedNoise | None, c: Tensor | None = None, batch_size: int = 256
    ) -> Tensor:
        """Images of codes (N, D), conditioned on c (N, C) or on the model's defaults."""
        parts = []
        batch_size = max(1, min(batch_size, VALUES // prod(self.codec.shape)))
        for start in track(range(0, len(z), batch_size), "rendering"):
            rows = slice(start, start + batch_size)
            part_c = None if c is None else c[rows].to(self.device)
            likelihood: Any = self.vae.likelihood(z[None, rows].to(self.device), part_c)
            if random is None:
                parts.append(likelihood.mean[0].cpu())
            else:
                noise = KeyedNoise(random.seed, random.step, random.index[rows]).to(self.device)
                parts.append(likelihood.sample(noise)[0].cpu())
        return torch.cat(parts) if parts else torch.zeros(0, *self.codec.shape)

    def _batches(
        self, examples: Any, seed: int, repeats_differ: bool = False, batch_size: int = 256
    ) -> Iterator[ImageBatch]:
        pixels = self._pixels(examples)
        keys = keys_of(pixels)
        keys = distinguish_repeats(keys) if repeats_differ else keys
        batch_size = max(1, min(batch_size, VALUES // max(1, pixels[:1].size)))
        for start in range(0, len(pixels), batch_size):
            rows = slice(start, start + batch_size)
            batch = batch_from_pixels(pixels[rows], self.codec, seed, keys=keys[rows])
            yield batch.replace(index=torch.arange(start, start + batch.size)).to(self.device)

    def _pixels(self, examples: Any) -> Any:
        """The user's images as uint8 (N, C, H, W).

        Raises:
            UserError: images of another shape, or files that are not images.
        """
        if isinstance(examples, list | tuple) and examples and isinstance(examples[0], str | Path):
            return load_images(examples, self.codec)
        if isinstance(examples, list | tuple):
            examples = np.stack([np.asarray(example) for example in examples])
        found = levels(examples, self.codec.bits)
        if found.ndim != 4 or found.shape[1:] != self.codec.shape:
            wanted = ("N", *self.codec.shape)
            raise UserError(
                f"pictures have shape {found.shape}: this model reads ({', '.join(map(str, wanted))})"
            )
        return found

    def evaluation_inputs(
        self, data: str | Sequence[str] | None, batch_size: int, examples: int | None
    ) -> tuple[str, Sequence[Batch], ModalityMetrics]:
        """The name of the evaluation data, its batches, and the metrics of the modality."""
        where, store = self.evaluation_store(data)
        batches = measured_feed(store, self.codec, batch_size, examples)
        discrete = all(self._of(batch).support != "real" for batch in batches[:1])
        return where, batches, ImageMetrics(lambda z, batch: self._of(batch, z), discrete)

    def _of(self, batch: ImageBatch, z: Tensor | None = None) -> Any:
        """p(x|z) for a batch and its codes (B, D), zeros by default."""
        batch = batch.to(self.device)
        z = torch.zeros(batch.size, self.latent_dim, device=self.device) if z is None else z
        return self.vae.likelihood(z[None], self.vae.condition(batch))

    def read_store(self, data: str | Sequence[str], id_column: str | None = None) -> ImageStore:
        """The images of other data than the run's: see `PretrainedVAE.read_store`.

        Raises:
            UserError: as there.
        """
        store = load_examples(data, self.codec, self.config.data, self.categories, id_column)
        self.check_labels(store, [lost.words(name) for name, lost in store.lost.items() if lost.unknown])
        return store

    def store_examples(self, store: ImageStore, count: int) -> Any:
        """The first `count` images of a store, uint8 (N, C, H, W)."""
        return store.pixels[:count]

    def read_inputs(
        self, source: str | Sequence[str], count: int | None, id_column: str | None, note: Note
    ) -> Inputs:
        """The first `count` rows of a source: see `PretrainedVAE.read_inputs`.

        Raises:
            UserError: as there.
        """
        store = self.read_store(source, id_column)
        total = store.total if count is None else min(count, store.total)
        places = [place for place in store.places.tolist() if place < total]
        n, ids = len(places), store.ids and store.ids[:total]
        return Inputs(store.pixels[:n], own_labels(self, store.labels[:n]), places, total, ids)
