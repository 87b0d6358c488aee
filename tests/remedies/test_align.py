"""Alignment of codes with a frozen encoder's activations: known distances, and that it is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import Listener
from tiny_backbones import bert_folder
from tiny_pretrained import config, vector_config

from seqvae.errors import UserError
from seqvae.modalities import MODALITIES
from seqvae.remedies.align import alignment_loss
from seqvae.training.trainer import Trainer


def test_known_distances() -> None:
    wanted = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    predicted = torch.stack([wanted, -2 * wanted, torch.tensor([[-4.0, 3.0], [0.0, 5.0]])])
    mse, cosine = (alignment_loss(predicted, wanted, distance) for distance in ("mse", "cosine"))
    torch.testing.assert_close(mse, torch.tensor([[0.0, 0.0], [9 * 12.5, 4.5], [25.0, 13.0]]))
    torch.testing.assert_close(cosine, torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]))


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_codes_learn_to_predict_the_activations(distance: str, tmp_path: Path) -> None:
    sets = ("train.steps=80", "train.lr=0.02", "latent={name: deterministic, dim: 6}")
    made = vector_config(tmp_path, *sets, remedies=[{"name": "align", "weight": 2.0, "distance": distance}])
    trainer = Trainer(tmp_path / "run", made, MODALITIES["text"].load_data(made, None), Listener())
    logged = []
    for _ in range(80):
        trainer.update()
        logged.append(float(trainer.meter.means(trainer.names, trainer.unit)["align"]))
    assert logged[0] > 1.5  # a map that ignores z has 1, times the weight
    assert logged[-1] < 0.6 * logged[0]  # the mean over all updates so far


@pytest.mark.parametrize("encoder", [{"name": "gru"}, {"name": "pretrained", "model": "?", "train": "full"}])
def test_only_frozen_activations_will_do(encoder: dict[str, str], tmp_path: Path) -> None:
    given = {**encoder, "model": bert_folder()} if "model" in encoder else encoder
    made = config(tmp_path, encoder=given, remedies=[{"name": "align"}])
    with pytest.raises(UserError, match="needs the activations of a frozen encoder"):
        Trainer(tmp_path / "run", made, MODALITIES["text"].load_data(made, None), Listener())
