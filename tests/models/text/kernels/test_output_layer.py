"""The output layer against a plain log-softmax: values, gradients, bf16, and what it keeps.

Shapes: N rows, H features, V words.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from seqvae.models.text.kernels import logits as wide
from seqvae.models.text.kernels import output_layer
from seqvae.models.text.kernels.output_layer import OutputHead, _TokenLogProb, log_prob_plainly
from seqvae.models.text.kernels.precision import weight_cache

ROWS, FEATURES, WORDS = 37, 6, 11
NEVER = (0, 2)
TARGETS = torch.arange(ROWS) % 8 + 3


@pytest.fixture(params=[1, WORDS, 3 * WORDS, 5 * WORDS + 1, 10**6], ids=lambda n: f"chunks-of-{n}")
def _chunked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_layer, "FEWEST", 1)
    monkeypatch.setattr(output_layer, "CHUNK_BYTES", 4 * request.param)
    monkeypatch.setattr(wide, "NEAR", 2 * request.param)  # half of them at a time


@pytest.fixture(params=[0, 1, 13, 10**6], ids=lambda n: f"{n}-rows-kept")
def _kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_layer, "KEPT_BYTES", request.param * WORDS * 4)


def head(tied: Tensor | None = None) -> OutputHead:
    torch.manual_seed(1)
    made = OutputHead(FEATURES, WORDS, NEVER, tied)
    torch.nn.init.normal_(made.weight)
    torch.nn.init.normal_(made.bias)
    return made


def plain(h: Tensor, made: OutputHead, targets: Tensor) -> Tensor:
    logits = h @ made.weight.T + made.bias + made.forbidden
    return logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def with_gradients(score: Any, made: OutputHead) -> list[Tensor]:
    """Log p (N,), and the gradients of an uneven sum of it in features, weight and bias."""
    h = torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(2)).requires_grad_()
    log_p = score(h)
    uneven = torch.linspace(-1, 2, ROWS)
    return [log_p, *torch.autograd.grad((uneven * log_p).sum(), [h, made.weight, made.bias])]


@pytest.mark.usefixtures("_chunked", "_kept")
def test_values_and_gradients_are_those_of_log_softmax() -> None:
    made = head()
    ours = with_gradients(lambda h: made.log_prob(h, TARGETS), made)
    theirs = with_gradients(lambda h: plain(h, made, TARGETS), made)
    bias = made.bias + made.forbidden
    reference = with_gradients(lambda h: log_prob_plainly(h, made.weight, bias, TARGETS, torch.float32), made)
    for one, other, third in zip(ours, theirs, reference, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(third, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frozen", ["weight", "bias", "weight and bias"])
def test_a_frozen_part_gets_no_gradient_and_changes_no_other(frozen: str) -> None:
    """The weight's is as dear as a product: where the bias alone trains it is not made."""
    whole = head()
    wanted = dict(
        zip(("weight", "bias"), with_gradients(lambda h: whole.log_prob(h, TARGETS), whole)[2:], strict=True)
    )
    made, h = head(), torch.randn(ROWS, FEATURES, generator=torch.Generator().manual_seed(2))
    for name in frozen.split(" and "):
        getattr(made, name).requires_grad_(False)
    (torch.linspace(-1, 2, ROWS) * made.log_prob(h.requires_grad_(), TARGETS)).sum().backward()
    for name, known in wanted.items():
        found = getattr(made, name).grad
        assert found is None if name in frozen else torch.equal(found, known)


@pytest.mark.usefixtures("_chunked")
def test_gradients_are_those_of_finite_differences() -> None:
    made = head()
    torch.manual_seed(3)
    inputs = [torch.randn(5, FEATURES), made.weight.detach().clone(), made.bias.detach().clone()]
    doubles = [x.double().requires_grad_() for x in inputs]

    def score(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # logits are held in fp32, so the differences must be wide: error 1e-7 / eps + eps^2
        return _TokenLogProb.apply(h, weight, bias, TARGETS[:5], torch.float64)

    assert torch.autograd.gradcheck(score, doubles, eps=4e-3, atol=1e-3, nondet_tol=0.0)


def test_any_leading_shape_will_do() -> None:
    made, h = head(), torch.randn(3, 4, FEATURES)
    targets = TARGETS[:12].view(3, 4)
    got = made.log_prob(h, targets)
    assert got.shape == (3, 4)
    torch.testing.assert_close(got, plain(h, made, targets))
    every = torch.arange(WORDS).expand(3, 4, WORDS)
    logits = made(h).log_softmax(-1)
    torch.testing.assert_close(made.log_prob(h[..., None, :].expand(-1, -1, WORDS, -1), every), logits)


def test_features_may_lie_in_any_order() -> None:
    made, targets, uneven = head(), TARGETS[:12].view(3, 4), torch.randn(3, 4)
    found = []
    for order in ((0, 1), (1, 0)):  # sentences or time first in memory
        h = torch.randn(3, 4, FEATURES, generator=torch.Generator().manual_seed(2)).transpose(*order)
        h = h.contiguous().transpose(*order).requires_grad_()
        log_p = made.log_prob(h, targets)
        found.append((log_p, *torch.autograd.grad((uneven * log_p).sum(), [h, made.weight, made.bias])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_forbidden_words_have_probability_zero() -> None:
    made, h = head(), torch.randn(4, FEATURES)
    logits = made(h)
    assert bool((logits[:, list(NEVER)] == -math.inf).all())
    assert bool((logits.softmax(-1)[:, list(NEVER)] == 0).all())
    for word in NEVER:
        assert made.log_prob(h, torch.full((4,), word)).tolist() == [-math.inf] * 4
    others = [w for w in range(WORDS) if w not in NEVER]
    total = sum(made.log_prob(h, torch.full((4,), word)).exp() for word in others)
    torch.testing.assert_close(total, torch.ones(4))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_masked_targets_and_never_words_get_no_gradient(precision: str) -> None:
    """Padding is scored too and then masked: its -inf must not become a NaN."""
    made, h = head(), torch.randn(6, FEATURES, requires_grad=True)
    targets = torch.tensor([4, 0, 5, 0, 0, 3])
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        log_p = made.log_prob(h, targets).masked_fill(targets == 0, 0.0)
    (-log_p.sum()).backward()
    for gradient in (h.grad, made.weight.grad, made.bias.grad):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
        assert bool(gradient.any())
    assert not made.weight.grad[list(NEVER)].any()
    assert not made.bias.grad[list(NEVER)].any()
    assert not h.grad[targets == 0].any()


def test_tied_weights_share_their_gradient() -> None:
    embedding = torch.nn.Embedding(WORDS, FEATURES)
    made = head(embedding.weight)
    assert made.weight is embedding.weight
    h = embedding(torch.tensor([4, 5]))
    made.log_prob(h, torch.tensor([6, 7])).sum().backward()
    ours = embedding.weight.grad.clone()
    embedding.weight.grad = None
    plain(embedding(torch.tensor([4, 5])), made, torch.tensor([6, 7])).sum().backward()
    torch.testing.assert_close(ours, embedding.weight.grad)


def test_no_large_table_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between forward and backward nothing of N x V logits is alive, whatever its shape."""
    words, rows = 500, 400
    monkeypatch.setattr(output_layer, "FEWEST", 1)
    monkeypatch.setattr(output_layer, "CHUNK_BYTES", 4 * 10 * words)
    monkeypatch.setattr(wide, "NEAR", 4 * 5 * words)
    monkeypatch.setattr(output_layer, "KEPT_BYTES", 40 * words)  # as many rows in fp32
    made, h = OutputHead(FEATURES, words, NEVER), torch.randn(rows, FEATURES, requires_grad=True)
    targets = torch.full((rows,), 7)

    def kept(score: Any) -> int:
        sizes: list[int] = []

        def remember(x: Tensor) -> Tensor:
            sizes.append(x.numel())
            return x

        with torch.autograd.graph.saved_tensors_hooks(remember, lambda x: x):
            score()
        return max(sizes)

    assert kept(lambda: plain(h, made, targets)) == rows * words  # the measure sees what it should
    assert kept(lambda: made.log_prob(h, targets)) <= max(10 * words, words * FEATURES)


def test_no_large_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    words, rows = 500, 400
    monkeypatch.setattr(output_layer, "FEWEST", 1)
    monkeypatch.setattr(output_layer, "CHUNK_BYTES", 4 * 10 * words)
    monkeypatch.setattr(wide, "NEAR", 4 * 5 * words)
    monkeypatch.setattr(output_layer, "KEPT_BYTES", 40 * words)  # as many rows in fp32
    made, h = OutputHead(FEATURES, words, NEVER), torch.randn(rows, FEATURES, requires_grad=True)
    sizes: list[int] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            sizes.extend(
                x.numel() for x in (out if isinstance(out, tuple) else (out,)) if isinstance(x, Tensor)
            )
            return out

    with Watch():
        made.log_prob(h, torch.full((rows,), 7)).sum().backward()
    assert 9 * words < max(sizes) <= 10 * words


def test_bf16_is_near_and_unbiased() -> None:
    """Against an exact log-softmax of the same bf16 numbers: what is left is the rounding of logits."""
    words, rows = 300, 4000
    torch.manual_seed(0)
    made, h = OutputHead(32, words, NEVER), torch.randn(rows, 32).bfloat16().float()
    torch.nn.init.normal_(made.weight, std=0.3)
    with torch.no_grad():
        made.weight.copy_(made.weight.bfloat16())
        targets = torch.randint(3, words, (rows,))
        exact = plain(h.double(), made.double(), targets)
        made.float()
        with torch.autocast("cpu", torch.bfloat16):
            got = made.log_prob(h, targets)
    assert got.dtype == torch.float32
    error = got.double() - exact
    assert 1e-6 < float(error.abs().mean()) < 0.02  # it does run in bf16, and near
    assert abs(float(error.mean())) < 4 * float(error.std()) / math.sqrt(rows)


def test_bf16_gradients_point_the_same_way() -> None:
    made = head()
    exact = with_gradients(lambda h: plain(h, made, TARGETS), made)[1:]
    with torch.autocast("cpu", torch.bfloat16):
        got = with_gradients(lambda h: made.log_prob(h, TARGETS), made)[1:]
    for one, other in zip(got, exact, strict=True):
        assert one.dtype == torch.float32
        assert float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0)) > 0.999
        assert float(one.norm() / other.norm()) == pytest.approx(1, abs=0.02)


def test_hardly_possible_words_are_scored_exactly() -> None:
    """The probability of the second word underflows: e^-200 is 0 in fp32."""
    made = OutputHead(1, 5, ())
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[0.0], [-200.0], [0.0], [0.0], [0.0]]))
    h = torch.ones(2, 1, requires_grad=True)
    got = made.log_prob(h, torch.tensor([1, 0]))
    torch.testing.assert_close(got.detach(), torch.tensor([-200.0, 0.0]) - math.log(4))


def test_without_gradients_the_numbers_are_the_same() -> None:
    made, h = head(), torch.randn(ROWS, FEATURES)
    with torch.no_grad():
        quiet = made.log_prob(h, TARGETS)
    torch.testing.assert_close(quiet, made.log_prob(h, TARGETS).detach())


def test_the_best_word_is_the_first_of_the_likeliest() -> None:
    made, h = head(), torch.randn(4, 3, FEATURES)
    assert torch.equal(made.argmax(h), made(h).argmax(-1))
    with torch.no_grad():
        made.weight.zero_()
        made.bias.zero_()
    assert made.argmax(h[0, 0]) == 1  # 0 is never said


def test_weights_are_cast_once_where_they_are_held() -> None:
    made, h = head(), torch.randn(2, FEATURES)
    with torch.no_grad(), weight_cache():
        before = made(h)
        made.bias.add_(1.0)  # never in use: it shows that the copy is held
        assert torch.equal(made(h), before)
    assert not torch.equal(made(h), before)


def test_large_logits_do_not_overflow() -> None:
    made, h = head(), torch.full((2, FEATURES), 300.0)
    got = made.log_prob(h, torch.tensor([3, 4]))
    assert bool(torch.isfinite(got).all())
    torch.testing.assert_close(got, plain(h, made, torch.tensor([3, 4])), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("size", [300.0, -300.0])
def test_gradients_of_logits_whose_powers_are_no_numbers(size: float) -> None:
    """All logits of some rows are near 300 or -300: e^300 is no fp32 number, e^-300 is 0."""
    made = head()
    with torch.no_grad():
        made.weight[:, 0] = size + torch.randn(WORDS)
        made.bias.zero_()
    h = torch.randn(6, FEATURES)
    h[::2, 0], h[1::2, 0] = 1.0, 0.0  # the others are as ever
    found = []
    for score in (made.log_prob, lambda h, y: plain(h, made, y)):
        features = h.clone().requires_grad_()
        log_p = score(features, TARGETS[:6])
        found.append((log_p, *torch.autograd.grad(log_p.sum(), [features, made.weight, made.bias])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=3e-4, rtol=1e-4)
