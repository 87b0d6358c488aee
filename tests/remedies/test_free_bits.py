"""Free bits: no gradient below lambda, all of it above.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

import pytest
import torch
from tiny_text import text_batch, tiny_vae

from seqvae.errors import UserError
from seqvae.models.latents.gaussian import kl_to_standard
from seqvae.objectives import ELBO
from seqvae.remedies.free_bits import FreeBits, free_bits

KL = torch.tensor([[0.1, 2.0, 0.0], [0.3, 0.0, 1.2]])  # means 0.2, 1.0, 0.6


def test_values_by_hand() -> None:
    torch.testing.assert_close(free_bits(KL, 0.5), torch.tensor([[0.5, 1.0, 0.6]]))
    torch.testing.assert_close(free_bits(KL, 5.0), torch.tensor([[5.0, 5.0, 5.0]]))
    torch.testing.assert_close(free_bits(KL, 0.0), KL.mean(0, keepdim=True))


def test_gradient_is_zero_below_and_whole_above() -> None:
    kl = KL.clone().requires_grad_()
    free_bits(kl, 0.5).sum().backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0.0, 0.5, 0.5]] * 2  # d mean / d kl = 1 / B; the mean decides, not the row


def test_gradient_of_parameters_below_and_above() -> None:
    mean = torch.tensor([[0.01, 2.0], [0.02, -3.0]], requires_grad=True)
    logvar = torch.zeros(2, 2, requires_grad=True)
    shaped = torch.autograd.grad(free_bits(kl_to_standard(mean, logvar), 0.25).sum(), [mean, logvar])
    plain = torch.autograd.grad(kl_to_standard(mean, logvar).mean(0).sum(), [mean, logvar])
    for ours, theirs in zip(shaped, plain, strict=True):
        assert not ours[:, 0].any()
        assert torch.equal(ours[:, 1], theirs[:, 1])


@pytest.mark.parametrize("nats", [0.0, 0.3, 50.0])
def test_the_log_calls_the_plain_kl_kl(nats: float) -> None:
    vae, batch = tiny_vae(), text_batch()
    with torch.no_grad():
        plain, shaped = ELBO([])(vae, batch, 0), ELBO([FreeBits(nats)])(vae, batch, 0)
    assert torch.equal(shaped.rate, plain.rate)
    assert torch.equal(shaped.kl_per_dim, plain.kl_per_dim)
    spent = shaped.total - shaped.distortion
    torch.testing.assert_close(spent, plain.kl_per_dim.clamp(min=nats).sum(), atol=1e-5, rtol=1e-5)


def test_nothing_below_lambda_reaches_the_posterior_but_the_distortion() -> None:
    gradients = []
    for nats, latent_only in ((1e6, False), (0.0, True)):
        vae, batch = tiny_vae(), text_batch()
        loss = ELBO([FreeBits(nats)])(vae, batch, 0)
        (loss.distortion if latent_only else loss.total).backward()
        gradients.append([p.grad for p in vae.latent.parameters()])
    for shaped, distortion in zip(*gradients, strict=True):
        assert torch.equal(shaped, distortion)


def test_two_shapers_of_the_whole_kl_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^FreeBits and FreeBits both reshape the whole KL: keep one of them$"
    ):
        ELBO([FreeBits(), FreeBits()])
