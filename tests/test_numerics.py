"""Pure functions: keyed noise, paths between codes, sums and means that must not overflow.

Shapes: B examples, D dims, N draws.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from seqvae.distributed.batch_statistics import batch_mean
from seqvae.keyed_noise import _GOLDEN, KeyedNoise, _mix, _mix_int
from seqvae.numerics import lerp, log_mean_exp, masked_sum, slerp


def noise(examples: int = 1000, seed: int = 0, step: int = 0) -> KeyedNoise:
    return KeyedNoise(seed, step, torch.arange(examples))


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, times sqrt(N): a standard normal where a and b are independent."""
    a, b = a.flatten().double(), b.flatten().double()
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).mean() / (a.std() * b.std()) * math.sqrt(len(a)))


def test_mixing_is_splitmix64() -> None:
    """The first numbers of the generator for seed 1234567, as its public test vectors have them."""
    state = torch.arange(1, 6) * _GOLDEN + 1234567
    unsigned = [x % 2**64 for x in _mix(state).tolist()]
    assert unsigned == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    assert [_mix_int(x) for x in state.tolist()] == _mix(state).tolist()
    assert _mix_int(2**64 + 1) == _mix_int(1) == int(_mix(torch.tensor(1)))


def test_uniform_moments_and_bins() -> None:
    u = noise(2000).uniform("a", 10, 10).double().flatten()
    n = len(u)
    assert abs(float(u.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / n)
    assert abs(float(u.var()) - 1 / 12) < 4 * math.sqrt(1 / 180 / n)
    counts = torch.histc(u, 64, 0, 1)
    chi_square = float(((counts - n / 64) ** 2 / (n / 64)).sum())
    assert abs(chi_square - 63) < 4 * math.sqrt(2 * 63)


def test_normal_moments_and_tails() -> None:
    x = noise(2000).normal("a", 100).double().flatten()
    n = len(x)
    for power, value, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(float((x**power).mean()) - value) < 4 * math.sqrt(variance / n), power
    for edge in (1.0, 2.0, 3.0):
        share = math.erfc(edge / math.sqrt(2))
        assert abs(float((x.abs() > edge).double().mean()) - share) < 4 * math.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_places_examples_and_keys_are_independent(kind: str) -> None:
    def drawn(random: KeyedNoise, stream: str = "a") -> Tensor:
        return getattr(random, kind)(stream, 50)

    base, x = noise(), drawn(noise())
    others = {
        "stream": drawn(base, "b"),
        "next stream": drawn(base, "a2"),
        "step": drawn(noise(step=1)),
        "seed": drawn(noise(seed=1)),
        "fold": drawn(base.fold(0)),
        "other fold": drawn(base.fold(1)),
        "neighbour": x.roll(1, 0),
        "next place": x.roll(1, 1),
        "diagonal": x.roll((1, 1), (0, 1)),
    }
    for name, other in others.items():
        assert not torch.equal(other, x), name
        assert abs(correlation(x, other)) < 4, name
        assert abs(correlation((x - x.mean()) ** 2, (other - other.mean()) ** 2)) < 4, name
    assert abs(correlation(others["fold"], others["other fold"])) < 4


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_noise_belongs_to_the_example(kind: str) -> None:
    whole = getattr(noise(20, 3, 7), kind)("a", 4, 2)
    assert whole.shape == (20, 4, 2)
    rows = torch.tensor([13, 2, 2, 19])
    assert torch.equal(getattr(KeyedNoise(3, 7, rows), kind)("a", 4, 2), whole[rows])
    assert torch.equal(getattr(noise(20, 3, 7), kind)("a", 2, 2), whole[:, :2])  # more draws change no draw
    assert len(whole.unique()) == whole.numel()


def test_noise_is_a_pure_function() -> None:
    first = noise(5).normal("a", 3)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert torch.equal(noise(5).normal("a", 3), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(noise(5).to("cpu").normal("a", 3), first)
    assert noise(5).to("meta").normal("a", 3).device.type == "meta"  # drawn where the examples are
    assert noise(5).normal("a", 0).shape == (5, 0)
    assert noise(0).normal("a", 3).shape == (0, 3)


def test_folds_of_folds_differ_and_large_seeds_work() -> None:
    seeds = {noise(1, seed).fold(a).fold(b).seed for seed in range(3) for a in range(5) for b in range(5)}
    assert len(seeds) == 75
    for seed in (0, 2**31, 2**62 - 1):
        folded = noise(3, seed).fold(10**6)
        assert 0 <= folded.seed < 2**62
        assert bool(torch.isfinite(folded.normal("a", 4)).all())


@pytest.mark.parametrize("bits", [0, -1, 2**63 - 1, -(2**63), 1, 2**40])
def test_extreme_bits_stay_inside_the_open_interval(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def extreme(self: Any, stream: str, places: int) -> Tensor:
        return torch.full((len(self.index), places), bits)

    monkeypatch.setattr(KeyedNoise, "_bits", extreme)
    u = noise(2).uniform("a", 3)
    assert u.dtype == torch.float32
    assert bool(((u > 0) & (u < 1)).all())
    assert bool(torch.isfinite(noise(2).normal("a", 3)).all())


def test_uniform_is_symmetric_in_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = iter([0, -1])
    monkeypatch.setattr(KeyedNoise, "_bits", lambda self, stream, places: torch.full((1, 1), next(ends)))
    low, high = float(noise(1).uniform("a", 1)), float(noise(1).uniform("a", 1))
    assert low == 1 - high == 2.0**-24


def test_log_mean_exp() -> None:
    x = torch.tensor([[0.0, 1000.0, -1000.0], [math.log(3), 1000.0, -1002.0]])
    got = log_mean_exp(x)
    assert got.tolist() == pytest.approx([math.log(2), 1000, -1000 + math.log((1 + math.exp(-2)) / 2)])
    assert log_mean_exp(x[:, 0], 0).item() == pytest.approx(math.log(2))
    assert log_mean_exp(x, 1).shape == (2,)
    assert log_mean_exp(torch.full((5,), 0.7)).item() == pytest.approx(0.7)
    assert log_mean_exp(torch.tensor([-math.inf, 0.0])).item() == pytest.approx(-math.log(2))


def test_masked_sum_passes_over_anything() -> None:
    x = torch.tensor([[1.0, torch.nan, 4.0], [-torch.inf, 2.0, torch.inf]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, True, False]])
    total = masked_sum(x, mask)
    assert total.tolist() == [5.0, 2.0]
    total.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, mask.float())
    assert masked_sum(x, torch.zeros_like(mask)).tolist() == [0.0, 0.0]


def test_batch_mean_keeps_a_row() -> None:
    assert batch_mean(torch.tensor([[1.0, 2.0], [3.0, 6.0]])).tolist() == [[2.0, 4.0]]


A, B = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 5.0])
T = torch.linspace(0, 1, 9)


@pytest.mark.parametrize("path", [lerp, slerp])
def test_paths_begin_and_end_at_their_codes(path: Any) -> None:
    torch.manual_seed(4)
    for a, b in ((A, B), (torch.randn(32), torch.randn(32)), (A, A), (A, -A), (A, 0 * A), (0 * A, 0 * A)):
        points = path(a, b, T)
        assert points.shape == (9, len(a))
        assert bool(torch.isfinite(points).all())
        torch.testing.assert_close(points[0], a, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(points[-1], b, atol=1e-6, rtol=1e-5)


def test_lerp_is_even() -> None:
    torch.testing.assert_close(lerp(A, B, T).diff(dim=0), ((B - A) / 8).expand(8, -1))


def test_slerp_keeps_to_the_arc() -> None:
    points = slerp(A, B, T)
    torch.testing.assert_close(points.norm(dim=1), 3 + 2 * T)  # lengths go evenly
    torch.testing.assert_close(torch.atan2(points[:, 2], points[:, 0]), T * math.pi / 2)  # angles too
    torch.manual_seed(4)
    a, b = torch.randn(2, 64)
    b = b * a.norm() / b.norm()
    torch.testing.assert_close(slerp(a, b, T).norm(dim=1), a.norm().expand(9))
    assert float(lerp(a, b, T).norm(dim=1).min()) < 0.8 * float(a.norm())  # what the chord loses


def test_degenerate_arcs_are_straight() -> None:
    for a, b in ((A, 2 * A), (A, -A), (A, 0 * A), (0 * A, A)):
        torch.testing.assert_close(slerp(a, b, T), lerp(a, b, T))


def test_nearly_parallel_codes_do_not_blow_up() -> None:
    for tiny in (1e-7, 1e-4, 3e-4, 1e-3):
        points = slerp(A, A + torch.tensor([0.0, tiny, 0.0]), T)
        torch.testing.assert_close(points.norm(dim=1), torch.full((9,), 3.0), atol=2e-3, rtol=0)


def test_draws_of_several_streams_at_once_are_those_of_each() -> None:
    noise = KeyedNoise(7, 3, torch.tensor([5, 0, 9, 2**40]))
    streams = [f"word {place}" for place in range(11)]
    each = torch.stack([noise.uniform(stream) for stream in streams], 1)
    assert torch.equal(noise.uniforms(streams), each)
    assert torch.equal(noise.uniforms(streams), torch.cat([noise.uniform(s, 1) for s in streams], 1))
