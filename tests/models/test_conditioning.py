"""Conditioned layers: known answers, and no effect at first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from tiny_text import SIZES, tiny_config
from torch import nn

from seqvae.build import build_vae
from seqvae.models.conditioning import (
    ConditionedSequential,
    FeatureScale,
    FiLM,
    QuadraticCodeMap,
    film_layers,
)


@pytest.mark.parametrize("maps", [(), (5, 4)])
def test_units_and_maps_are_scaled_and_shifted(maps: tuple[int, ...]) -> None:
    layer, h = FiLM(3, 2), torch.randn(4, 3, *maps)
    c = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-2.0, 3.0]])
    assert torch.equal(layer(h, c), h), "the identity at first"
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]]))
        layer.shift.copy_(torch.tensor([[0.0, 1.0, 0.0], [3.0, 0.0, -1.0]]))
    scale = torch.tensor([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0], [1.5, 3.0, 1.0], [0.5, 7.0, 3.0]])
    shift = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, -1.0], [9.0, -2.0, -3.0]])
    whole = (4, 3) + (1,) * len(maps)
    torch.testing.assert_close(layer(h, c), h * scale.view(whole) + shift.view(whole))


def test_codes_are_turned_by_their_own_condition() -> None:
    layer, z = QuadraticCodeMap(2), torch.tensor([[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]])  # (S, B, D)
    c = torch.tensor([[0.0], [1.0], [-2.0]])
    assert torch.equal(layer(z, c), z), "the identity at first"
    with torch.no_grad():
        layer.linear.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))  # the first coordinate onto the second
        layer.square.copy_(torch.tensor([[0.0, 0.0], [0.0, -0.5]]))
    torch.testing.assert_close(layer(z, c), torch.tensor([[[1.0, 2.0], [1.0, 2.0], [1.0, -4.0]]]))


def test_layers_without_a_condition_are_a_sequence() -> None:
    parts = [nn.Linear(3, 4), nn.Tanh(), *film_layers(4, 0), nn.Linear(4, 2)]
    layers, h = ConditionedSequential(*parts), torch.randn(5, 3)
    assert torch.equal(layers(h), nn.Sequential(*parts)(h))
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_conditioned_layers_get_the_condition() -> None:
    layers = ConditionedSequential(nn.Linear(3, 4), *film_layers(4, 2), nn.Linear(4, 2))
    torch.nn.init.normal_(layers[1].scale)
    h, c = torch.randn(5, 3), torch.randn(5, 2)
    scaled = layers[0](h) * (1 + c @ layers[1].scale)
    torch.testing.assert_close(layers(h, c), layers[2](scaled))


def test_an_older_checkpoint_gets_zero_conditions(tmp_path: Path) -> None:
    """Of layers without conditions; other missing weights are still refused."""
    old, file = nn.Sequential(nn.Linear(3, 4)), str(tmp_path / "old.safetensors")
    save_model(old, file)
    new, h, c = (
        ConditionedSequential(nn.Linear(3, 4), *film_layers(4, 2), Named(FeatureScale(4, 2))),
        torch.randn(5, 3),
        torch.randn(5, 2),
    )
    for parameter in new.parameters():
        torch.nn.init.normal_(parameter)
    load_model(new, file, strict=True)
    assert torch.equal(new(h, c), old(h))
    assert torch.equal(new[2].gain(c), torch.ones(5, 4))
    with pytest.raises(RuntimeError, match="Missing key"):
        new.load_state_dict({"0.weight": old[0].weight}, strict=True)


class Named(nn.Identity):
    """Passes on what it is given and keeps a gain."""

    def __init__(self, gain: FeatureScale) -> None:
        super().__init__()
        self.gain = gain


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_condition_scales_what_a_recurrent_decoder_says(name: str) -> None:
    """Its features and what z adds to them, each by its own half of the gains."""
    spec = {"name": name, "embed": 6, "hidden": 5, "z_to": ["softmax"]}
    latent = {"name": "exact_rate", "dim": 3, "nats": [2, 64]}
    decoder = build_vae(tiny_config(latent=latent, decoder=spec), SIZES).decoder.eval()
    words, z = torch.randint(0, SIZES["vocab_size"], (4, 6)), torch.randn(4, 3)
    c = torch.tensor([[-1.0], [0.0], [0.5], [1.0]])
    gain = torch.randn(1, 10)

    def features(c: torch.Tensor) -> torch.Tensor:
        return decoder.read(words, decoder.start(z, c))[0]

    with torch.no_grad():
        silent = features(c)
        torch.testing.assert_close(silent, features(0 * c))
        added = decoder.skip(torch.cat([z, c], -1))[:, None]
        decoder.gains.scale.copy_(gain)
        said, of_z = (1 + c[:, None] * by for by in gain.chunk(2, -1))
        torch.testing.assert_close(features(c), (silent - added) * said + added * of_z)
