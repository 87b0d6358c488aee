"""KL dropout and latent dropout: frequency, expected value, and what is refused.

Shapes: S samples, B examples, D latent dims.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_text import rows_of, text_batch, tiny_vae

from seqvae.errors import UserError
from seqvae.interfaces import RunContext
from seqvae.keyed_noise import KeyedNoise
from seqvae.objectives import ELBO
from seqvae.remedies.free_bits import FreeBits
from seqvae.remedies.kl_dropout import KLDropout, drop_terms
from seqvae.remedies.latent_dropout import LatentDropout, drop_entries

OUT: Any = None  # KL dropout does not read it
DIMS = 2000


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.8])
def test_kl_rate_is_the_share_of_dims_left_out_and_the_rest_makes_up_for_them(rate: float) -> None:
    kl = torch.rand(3, DIMS) + 0.1
    dropped = drop_terms(kl, rate, KeyedNoise(0, 5, torch.arange(DIMS)))
    gone = dropped == 0
    assert torch.equal(gone, gone[:1].expand_as(gone)), "one choice for all examples"
    torch.testing.assert_close(dropped[~gone], kl[~gone] / (1 - rate))
    share = float(gone[0].float().mean())
    assert abs(share - rate) < 4 * math.sqrt(rate * (1 - rate) / DIMS)


def test_kl_choice_is_fresh_every_update_and_the_same_for_a_resumed_one() -> None:
    kl, remedy = torch.ones(2, 50), KLDropout(0.5)
    first = remedy.transform_kl(kl, OUT, 3)
    assert torch.equal(first, KLDropout(0.5).transform_kl(kl, OUT, 3))
    assert not torch.equal(first, remedy.transform_kl(kl, OUT, 4))
    updates = torch.stack([remedy.transform_kl(kl[:1], OUT, step)[0] for step in range(2000)])
    mean = updates.mean(0)  # (50,), 1 in expectation with a deviation of 1 an update
    assert bool(((mean - 1).abs() < 5 / math.sqrt(2000)).all())


def test_kl_dropout_gives_no_gradient_to_dims_left_out() -> None:
    kl = torch.ones(4, 60, requires_grad=True)
    shaped = KLDropout(0.4).transform_kl(kl, OUT, 0)
    shaped.sum().backward()
    assert kl.grad is not None
    torch.testing.assert_close(kl.grad, shaped.detach())
    assert 0 < int((kl.grad[0] == 0).sum()) < 60


def test_kl_without_a_decomposition_is_dropped_whole() -> None:
    seen = {
        float(KLDropout(0.5).transform_kl(torch.full((3, 1), 2.0), OUT, step)[0, 0]) for step in range(20)
    }
    assert seen == {0.0, 4.0}


def test_kl_dropout_goes_with_free_bits_and_leaves_the_logged_rate() -> None:
    vae, batch = tiny_vae(latent={"name": "gaussian", "dim": 8}), text_batch()
    with torch.no_grad():
        plain = ELBO([])(vae, batch, 7)
        loss = ELBO([FreeBits(0.1), KLDropout(0.5)])(vae, batch, 7)
    assert torch.equal(loss.rate, plain.rate)
    assert torch.equal(loss.distortion, plain.distortion)
    kept = KLDropout(0.5).transform_kl(torch.ones(1, 8), OUT, 7)[0]
    expected = (plain.kl_per_dim.clamp(min=0.1) * kept).sum()
    torch.testing.assert_close(loss.total - loss.distortion, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_latent_rate_is_the_share_of_entries_dropped(rate: float) -> None:
    z = torch.randn(3, 40, 60) + 5
    codes = drop_entries(z, rate, KeyedNoise(0, 0, torch.arange(40)))
    gone = codes == 0
    torch.testing.assert_close(codes[~gone], z[~gone] / (1 - rate))
    assert abs(float(gone.float().mean()) - rate) < 4 * math.sqrt(rate * (1 - rate) / gone.numel())
    for one, other in ((gone[0], gone[1]), (gone[:, 0], gone[:, 1]), (gone[..., 0], gone[..., 1])):
        both = float((one & other).float().mean())  # samples, examples and dims go on their own
        assert abs(both - rate**2) < 4 * math.sqrt(rate**2 * (1 - rate**2) / one.numel())


def test_entries_belong_to_the_example_and_the_update() -> None:
    remedy, batch = LatentDropout(0.5), text_batch()
    z = torch.ones(2, batch.size, 6)
    whole = remedy.on_latent(z, batch)
    some = rows_of(batch, [4, 2])
    assert torch.equal(remedy.on_latent(z[:, :2], some), whole[:, [4, 2]])
    assert not torch.equal(remedy.on_latent(z, text_batch(step=1)), whole)


def test_gradient_goes_through_what_is_kept() -> None:
    z = torch.ones(1, 5, 30, requires_grad=True)
    codes = drop_entries(z, 0.25, KeyedNoise(0, 0, torch.arange(5)))
    codes.sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, codes.detach())


def test_at_rate_0_nothing_changes_by_a_bit() -> None:
    z, kl, batch = torch.randn(2, 7, 3), torch.rand(7, 3), text_batch()
    assert torch.equal(LatentDropout(0.0).on_latent(z, batch), z)
    assert torch.equal(KLDropout(0.0).transform_kl(kl, OUT, 2), kl)


def test_a_language_model_has_nothing_to_drop() -> None:
    vae = tiny_vae(latent={"name": "none"})
    with pytest.raises(
        UserError, match=r"^remedy 'latent_dropout' drops entries of a code, latent 'none' has"
    ):
        LatentDropout().attach(vae, RunContext(10, 10, 5, 0))
