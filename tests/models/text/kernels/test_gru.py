"""Our GRU against `nn.GRU`: states, gradients, layers, bf16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from seqvae.models.text.kernels import gru
from seqvae.models.text.kernels.gru import gru_layer, gru_layer_plainly, gru_of_samples

STEPS, ROWS, INPUTS, HIDDEN = 7, 3, 5, 4


def both(seed: int = 0) -> tuple[nn.GRU, tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    torch.manual_seed(seed)
    theirs = nn.GRU(INPUTS, HIDDEN)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.7)
    weights = tuple(theirs.parameters())
    return theirs, weights, torch.randn(STEPS, ROWS, INPUTS), torch.randn(ROWS, HIDDEN)  # type: ignore[return-value]


def test_states_and_gradients_are_those_of_torch() -> None:
    theirs, weights, x, h = both()
    x.requires_grad_()
    h.requires_grad_()
    uneven = torch.randn(STEPS, ROWS, HIDDEN)
    found = [
        (states, *torch.autograd.grad((states * uneven).sum(), [x, h, *weights]))
        for states in (
            gru_layer(x, h, weights, torch.float32),
            gru_layer_plainly(x, h, weights, torch.float32),
            theirs(x, h[None])[0],
        )
    ]
    for ours, plain, known in zip(*found, strict=True):
        torch.testing.assert_close(ours, known, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plain, known, atol=1e-5, rtol=1e-5)


def test_gradients_do_not_depend_on_how_many_steps_stay_near_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for few in (1, 2 * ROWS * HIDDEN, 1 << 20):
        monkeypatch.setattr(gru, "CACHED", few)
        _, weights, x, h = both()
        found.append(torch.autograd.grad(gru_layer(x, h, weights, torch.float32).square().sum(), weights))
    for one, other, third in zip(*found, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_without_gradients_the_states_are_the_same() -> None:
    _, weights, x, h = both()
    with torch.no_grad():
        quiet = gru_layer(x, h, weights, torch.float32)
    assert torch.equal(quiet, gru_layer(x, h, weights, torch.float32))


def test_single_steps_equal_one_pass() -> None:
    _, weights, x, h = both()
    whole = gru_layer(x, h, weights, torch.float32)
    for place in range(STEPS):
        h = gru_layer(x[place : place + 1], h, weights, torch.float32)[0]
        torch.testing.assert_close(h, whole[place])


def test_bf16_is_near_and_its_gradients_point_the_same_way() -> None:
    _, weights, x, h = both()
    uneven = torch.randn(STEPS, ROWS, HIDDEN)
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        states = gru_layer(x, h, weights, dtype)
        assert states.dtype == torch.float32
        grads.append([states.detach(), *torch.autograd.grad((states * uneven).sum(), weights)])
    assert not torch.equal(grads[0][0], grads[1][0])
    for exact, got in zip(*grads, strict=True):
        assert float(torch.cosine_similarity(exact.flatten(), got.flatten(), dim=0)) > 0.999


def test_only_what_is_asked_for_is_computed() -> None:
    _, weights, x, h = both()
    gru_layer(x, h, weights, torch.float32).sum().backward()
    assert all(w.grad is not None for w in weights)
    assert x.grad is None


@pytest.mark.parametrize("steps", [0, 1])
def test_short_sequences(steps: int) -> None:
    theirs, weights, x, h = both()
    if steps:
        torch.testing.assert_close(gru_layer(x[:1], h, weights, torch.float32), theirs(x[:1], h[None])[0])
    else:
        assert gru_layer(x[:0], h, weights, torch.float32).shape == (0, ROWS, HIDDEN)


@pytest.mark.parametrize("constant", [0, 2])
def test_samples_that_share_words_equal_separate_reads(constant: int) -> None:
    """S states of each sentence, and inputs that stay the same over all steps behind those that do not."""
    _, weights, x, _ = both()
    samples, h = 6, torch.randn(6, ROWS, HIDDEN)
    always = x.new_zeros(samples, ROWS, constant).normal_()
    everywhere = x[:, None].expand(-1, samples, -1, -1)[..., : INPUTS - constant]
    whole = torch.cat([everywhere, always.expand(STEPS, -1, -1, -1)], -1).flatten(1, 2)
    wanted = gru_layer(whole, h.flatten(0, 1), weights, torch.float32).view(STEPS, samples, ROWS, HIDDEN)
    with torch.no_grad():
        few = x[..., : INPUTS - constant]
        found = gru_of_samples(few, h, weights, torch.float32, always if constant else None)
    torch.testing.assert_close(found, wanted)
