"""Alignment: the code alone must predict the activations of a frozen encoder for the sentence.

Shapes: S samples, B examples, D latent dims, W activations.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from seqvae.data.text.batch import TextBatch
from seqvae.errors import UserError
from seqvae.interfaces import Encoder, Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput

Distance = Literal["mse", "cosine"]


def alignment_loss(predicted: Tensor, wanted: Tensor, distance: Distance) -> Tensor:
    """(S, B): the mean square over W of predicted (S, B, W) - wanted (B, W), or 1 - their cosine."""
    if distance == "mse":
        return (predicted - wanted).square().mean(-1)
    return 1 - functional.cosine_similarity(predicted, wanted.expand_as(predicted), dim=-1)


class Align(Remedy):
    """weight x distance between a linear map of z and the standardised activations of a frozen encoder.

    The activations are what `encoder: vectors` and a frozen `encoder: pretrained` read: no more is computed.
    An MSE of 1 is that of a map that ignores z.

    Raises:
        UserError: the encoder reads no frozen activations.
    """

    paper = "Meshchaninov et al., Compressed and Smooth Latent Space for Text Diffusion Modeling"
    year = 2025
    batch_type: ClassVar[str] = "text"

    def __init__(self, weight: Annotated[float, Field(ge=0)] = 1.0, distance: Distance = "mse") -> None:
        super().__init__()
        self.weight, self.distance = weight, distance

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Make the map."""
        encoder = vae.encoder
        if not isinstance(encoder, Encoder) or not encoder.activation_width:
            raise UserError(
                "align needs the activations of a frozen encoder: use encoder {name: pretrained, "
                "train: frozen} or {name: vectors}"
            )
        self.activations = nn.Linear(facts.latent_dim, encoder.activation_width)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: TextBatch) -> dict[str, Tensor]:
        """The distance, mean over samples and examples."""
        encoder = vae.encoder
        assert isinstance(encoder, Encoder)
        with torch.no_grad():
            wanted = encoder.activations(batch)
        loss = alignment_loss(self.activations(out.z).float(), wanted.float(), self.distance)
        return {"align": self.weight * loss.mean()}
