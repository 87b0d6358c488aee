"""Trained models for use: strings or images in and out.

from seqvae import TextVAE
vae = TextVAE.from_pretrained("runs/ptb")
z = vae.encode(["a man is walking ."])
vae.decode(z); vae.sample(5); vae.interpolate("a ...", "b ...", steps=8)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seqvae._deprecated import renamed_names
from seqvae.build import modality_of
from seqvae.inference.hub import RUN_FILES
from seqvae.inference.image_vae import ImageVAE
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.inference.text_vae import TextVAE
from seqvae.modalities import MODALITIES
from seqvae.runs.run_folder import load_run, read_card
from seqvae.utils.device import pick_device

VAE_CLASSES: dict[str, type[PretrainedVAE]] = {
    name: modality.load_vae_class() for name, modality in MODALITIES.items()
}
__all__ = ["VAE_CLASSES", "ImageVAE", "PretrainedVAE", "RUN_FILES", "TextVAE", "load"]


def load(run: str | Path, device: str = "auto", prior: str | None = None) -> PretrainedVAE:
    """Load a run as the class of its modality, `TextVAE` or `ImageVAE`.

    Args:
        run: a local run folder.
        device: auto, cpu, cuda or cuda:N.
        prior: name of a prior that `seqvae fit-prior` stored in the run; the trained prior by default.

    Raises:
        UserError: not a run folder, or no such device or prior.
    """
    read_card(Path(run))
    chosen = pick_device(device)
    loaded = load_run(run, chosen)
    made: type[PretrainedVAE] = modality_of(loaded.config).load_vae_class()
    vae = made(loaded, chosen)
    return vae if prior is None else vae.with_prior(prior)


if not TYPE_CHECKING:  # with a module `__getattr__` type checkers accept any name
    __getattr__ = renamed_names(__name__)
