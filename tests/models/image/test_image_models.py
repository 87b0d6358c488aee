"""Encoders and decoders of images: their shapes follow the data.

Shapes: S samples, B examples, C x H x W pixels, D latent dims.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_pictures import picture_batch, tiny_vae

from seqvae.config.loading import load_config
from seqvae.config.registry import construct
from seqvae.config.schema import Component, ImageRunConfig
from seqvae.data.synthetic import PICTURES
from seqvae.errors import UserError
from seqvae.interfaces import Encoder
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.conditioning import FiLM, first_linear
from seqvae.models.image import DECODERS, ENCODERS
from seqvae.models.image.encoder import clamp_straight_through
from seqvae.models.image.feature_maps import downsampled_sizes
from seqvae.models.image.mlp import MLPEncoder
from seqvae.objectives import ELBO

NAMES = tuple(ENCODERS)
SHAPES = [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 17, 23), (1, 8, 5), (3, 2, 2), (1, 1, 4)]
KINDS = ("bernoulli", "gaussian", "logistic")
names = pytest.mark.parametrize("name", NAMES)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))


def made(name: str, shape: tuple[int, int, int], **more: Any) -> tuple[Encoder, Any]:
    """As the build makes them, from their names alone."""
    encoder = construct("encoder", ENCODERS, Component(name=name), shape=shape)
    decoder = construct(
        "decoder", DECODERS, Component(name=name, **more), shape=shape, latent_dim=3, condition=0
    )
    return encoder, decoder


@names
@shapes
def test_shapes_follow_the_data(name: str, shape: tuple[int, int, int]) -> None:
    encoder, decoder = made(name, shape)
    batch = picture_batch(2, shape)
    assert encoder(batch).shape == (2, encoder.out_dim)
    likelihood = decoder(torch.randn(4, 2, 3))
    assert likelihood.mean.shape == (4, 2, *shape)
    assert likelihood.log_prob(batch).shape == (4, 2)


@names
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variance", ["pixel", "global"])
def test_every_likelihood_of_every_decoder(name: str, kind: str, variance: str) -> None:
    _, decoder = made(name, (3, 9, 11), likelihood=kind, variance=variance)
    likelihood = decoder(torch.randn(2, 2, 3))
    assert likelihood.mean.shape == (2, 2, 3, 9, 11)
    assert bool(((likelihood.mean >= 0) & (likelihood.mean <= 1)).all())
    assert bool(torch.isfinite(likelihood.log_prob(picture_batch(2, (3, 9, 11), binary=False))).all())
    if kind != "bernoulli" and variance == "pixel":
        spread = likelihood.logvar if kind == "gaussian" else likelihood.log_scale
        assert spread.shape == (2, 2, 3, 9, 11)


@names
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_are_finite_and_reach_every_weight(name: str, kind: str, precision: str) -> None:
    vae = tiny_vae(name, (1, 17, 23), likelihood=kind)
    for parameter in vae.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # the ends of residual blocks
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = ELBO([])(vae, picture_batch(4, (1, 17, 23)), 0)
    assert loss.total.dtype == torch.float32
    loss.total.backward()
    for parameter_name, parameter in vae.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool(torch.isfinite(parameter.grad).all()), parameter_name
        assert bool(parameter.grad.any()), parameter_name


@names
def test_samples_and_examples_do_not_mix(name: str) -> None:
    _, decoder = made(name, (1, 9, 11))
    z = torch.randn(2, 3, 3)
    with torch.no_grad():
        whole = decoder(z).mean
        apart = torch.stack(
            [torch.cat([decoder(z[s : s + 1, b : b + 1]).mean[0] for b in range(3)]) for s in range(2)]
        )
    torch.testing.assert_close(whole, apart)


def conditional(name: str, condition: int, **more: Any) -> Any:
    """A decoder of a fixed draw, and the draw that follows."""
    torch.manual_seed(7)
    told = {"shape": (1, 9, 11), "latent_dim": 2, "condition": condition}
    return construct("decoder", DECODERS, Component(name=name, **more), **told), torch.rand(3)


@names
def test_a_condition_is_read(name: str) -> None:
    decoder, _ = conditional(name, 2)
    z, c = torch.randn(2, 3, 2), torch.randn(3, 2)
    with torch.no_grad():
        assert torch.equal(decoder(z, c).mean, decoder(z, c + 1).mean), "at first it has no effect"
        torch.nn.init.normal_(first_linear(decoder).weight[:, -2:])
        mean = decoder(z, c).mean
        assert mean.shape == (2, 3, 1, 9, 11)
        assert not torch.equal(mean, decoder(z, c + 1).mean)
        torch.testing.assert_close(mean[1:, 2:], decoder(z[1:, 2:], c[2:]).mean)


@pytest.mark.parametrize(
    ("name", "more", "count"),
    [
        ("mlp", {}, 2),
        ("mlp", {"activation": "gated", "hidden": (8, 6, 4)}, 3),
        ("conv", {}, 3),
        ("residual", {"blocks": 2}, 6),
    ],
)
def test_every_hidden_layer_depends_on_the_condition(name: str, more: dict[str, Any], count: int) -> None:
    decoder, _ = conditional(name, 2, **more)
    told = [layer for layer in decoder.modules() if isinstance(layer, FiLM)]
    assert len(told) == count
    z, c = torch.randn(2, 3, 2), torch.randn(3, 2)
    other = torch.cat([c[:2], c[2:] + 1])
    with torch.no_grad():
        for end in decoder.parameters():
            if end.ndim == 4 and not end.any():
                end.normal_(std=0.3)  # of residual blocks
        for heard in (by for layer in told for by in (layer.scale, layer.shift)):
            heard.normal_()
            before, after = decoder(z, c).mean, decoder(z, other).mean
            heard.zero_()
            torch.testing.assert_close(before[:, :2], after[:, :2])
            assert not torch.allclose(before[:, 2], after[:, 2])


@names
def test_without_a_condition_there_are_no_extra_draws_and_weights(name: str) -> None:
    (plain, after), (told, later) = conditional(name, 0), conditional(name, 3)
    assert torch.equal(after, later)
    assert not [layer for layer in plain.modules() if isinstance(layer, FiLM)]
    z = torch.randn(2, 3, 2)
    torch.testing.assert_close(told(z, torch.randn(3, 3)).mean, plain(z).mean)


@names
def test_without_a_code_there_is_one_picture(name: str) -> None:
    decoder = construct(
        "decoder", DECODERS, Component(name=name), shape=(1, 9, 11), latent_dim=0, condition=0
    )
    mean = decoder(torch.zeros(2, 3, 0)).mean
    assert torch.equal(mean, mean[:1, :1].expand_as(mean))


@names
def test_a_new_decoder_has_no_output_bias(name: str) -> None:
    decoder = construct(
        "decoder", DECODERS, Component(name=name), shape=(1, 9, 11), latent_dim=2, condition=0
    )
    last = decoder.out if name == "mlp" else decoder.maps[-1]
    assert not last.bias.any()


@names
def test_learned_images_are_read_as_images(name: str) -> None:
    encoder, _ = made(name, (1, 9, 11))
    batch = picture_batch(3, (1, 9, 11), binary=False)
    with torch.no_grad():
        torch.testing.assert_close(encoder.read(batch.targets), encoder(batch))
        torch.testing.assert_close(
            encoder.read(9 * batch.targets - 4), encoder.features((9 * batch.targets - 4).clamp(0, 1))
        )
    learned = encoder.pseudo_inputs(4)
    assert learned.shape == (4, 1, 9, 11)
    assert bool(((learned >= 0) & (learned <= 1)).all())


def test_clipped_pixels_have_gradients_towards_the_range() -> None:
    x = torch.tensor([-0.5, -0.5, 0.5, 1.5, 1.5], requires_grad=True)
    y = clamp_straight_through(x)
    assert y.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    y.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))  # a step goes against the gradient
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, -1.0, 1.0, 1.0, 0.0]


@names
def test_vamp_works_on_pictures(name: str) -> None:
    vae = tiny_vae(name, (1, 9, 11), prior="vamp")
    loss = ELBO([])(vae, picture_batch(4, (1, 9, 11)), 0)
    loss.rate.backward()
    assert math.isfinite(float(loss.total.detach()))
    assert bool(vae.prior.pseudo.grad.any())
    assert vae.prior().sample(5, KeyedNoise(0, 0, torch.arange(5))).shape == (5, 2)


def test_depth_follows_the_size() -> None:
    assert downsampled_sizes(28, 28) == [(28, 28), (14, 14), (7, 7)]
    assert downsampled_sizes(64, 64)[-1] == (4, 4)
    assert downsampled_sizes(32, 32)[-1] == (4, 4)
    assert downsampled_sizes(17, 23) == [(17, 23), (8, 11), (4, 5)]
    assert downsampled_sizes(2, 2) == [(2, 2), (1, 1)]
    assert downsampled_sizes(1, 4) == [(1, 4)]


def test_layers_of_the_papers() -> None:
    encoder = MLPEncoder((1, 28, 28))
    assert [type(layer).__name__ for layer in encoder.layers] == ["Linear", "Tanh", "Linear", "Tanh"]
    assert [tuple(layer.weight.shape) for layer in encoder.layers[::2]] == [(200, 784), (200, 200)]
    gated = MLPEncoder((1, 28, 28), hidden=(300, 300), activation="gated")
    x = torch.rand(2, 784)
    a, b = gated.layers[0].both(x).chunk(2, -1)
    torch.testing.assert_close(gated.layers[0](x), a * torch.sigmoid(b))
    assert gated.out_dim == 300


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"hidden": []}, "argument 'hidden' got"),
        ({"hidden": [0]}, "argument 'hidden' got"),
        ({"activation": "sine"}, "argument 'activation' got 'sine'"),
        ({"likelihood": "poisson"}, "argument 'likelihood' got 'poisson'"),
        ({"latent_dim": 7}, "takes no argument 'latent_dim'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told.replace("[", r"\[")):
        made("mlp", (1, 5, 5), **arguments)


CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs" / "image").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_name_what_there_is(path: Path) -> None:
    config = load_config(path)
    assert isinstance(config, ImageRunConfig)
    construct("encoder", ENCODERS, config.encoder, shape=(1, 16, 16))
    construct("decoder", DECODERS, config.decoder, shape=(1, 16, 16), latent_dim=2, condition=0)
    if config.data.train is None:
        made = PICTURES[config.data.name or "blob"]
        assert set(config.data.labels) <= set(made.factors)
    else:
        assert config.data.binarize in ("fixed", "stochastic")  # its pixels are black or white
