"""Wide rows: the largest numbers and the sums of powers that a plain search and a plain sum find.

Shapes: A sentences, U beams, V words, W beams to come.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqvae.models.text.kernels import logits as wide
from seqvae.models.text.kernels.logits import BITS, NATS, BeamCandidates, Logits, logits_buffer


def logits(low: Tensor, bias: Tensor | None = None) -> Logits:
    """Bits as they are, or with a bias."""
    return Logits(low, torch.zeros(low.shape[1]) if bias is None else bias, 1.0, logits_buffer(low))


@pytest.mark.parametrize("words", [5, 64, 128, 200, 1003])
def test_the_largest_is_found_block_by_block(words: int) -> None:
    x = torch.randint(-3, 3, (300, words), generator=torch.Generator().manual_seed(words)).float()
    x[0] = -torch.inf
    assert logits(x).first_largest().tolist() == [row.index(max(row)) for row in x.tolist()]


@pytest.mark.parametrize(
    ("words", "width"), [(5, 5), (100, 3), (1000, 3), (1003, 1), (64 * 20, 5), (1299, 5)]
)
def test_choices_are_the_largest_of_all_beams(words: int, width: int) -> None:
    generator = torch.Generator().manual_seed(words)
    x = torch.randn(7, width, words, generator=generator)
    scores = torch.randn(7, width, generator=generator)
    x[0, :, words // 2 :] = -torch.inf
    scores[1, 1:] = -torch.inf  # one beam alone may branch, as at the start
    total, beam, word = BeamCandidates.of(logits(x.view(-1, words)), width, width).best(scores, width)
    every = (x + scores[..., None]).flatten(1)
    assert torch.equal(total, every.topk(width).values)
    finite = total.isfinite()
    assert torch.equal(every.gather(1, beam * words + word)[finite], total[finite])
    assert bool((word < words).all())
    assert all(len(set(row)) == width for row in (beam * words + word).tolist())
    one = BeamCandidates.of(logits(x[:, 0]), 1, width).best(scores[:, :1], width)[0]
    assert torch.equal(one, (x[:, 0] + scores[:, :1]).topk(width).values)


def test_few_words_are_all_chosen() -> None:
    choices = BeamCandidates.of(logits(torch.tensor([[0.0, 2.0, 1.0]])), 1, 5)
    total, beam, word = choices.best(torch.zeros(1, 1), 5)
    assert (total.tolist(), beam.tolist(), word.tolist()) == ([[2.0, 1.0, 0.0]], [[0, 0, 0]], [[1, 2, 0]])


@pytest.mark.parametrize("words", [3, 64, 1299])
@pytest.mark.parametrize("shift", [0.0, 400.0, -400.0])  # 2^400 and 2^-400 are no fp32 numbers
def test_sums_are_those_of_logsumexp(words: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "NEAR", 2 * 4 * words)  # two rows at a time
    nats = 3 * torch.randn(5, words, generator=torch.Generator().manual_seed(words))
    bits = (nats / NATS + shift).float()
    bits[1, 1:] = -torch.inf
    wanted = (bits.double() * NATS).logsumexp(-1, keepdim=True) / NATS
    found = BeamCandidates.of(logits(bits), 1, 1).log2_sums
    torch.testing.assert_close(found.double(), wanted, atol=2e-6, rtol=1e-6)


def test_a_row_without_any_choice_has_no_sum() -> None:
    bits = torch.tensor([[-torch.inf, -torch.inf], [1.0, 1.0]])
    assert BeamCandidates.of(logits(bits), 1, 1).log2_sums.tolist() == [[-torch.inf], [2.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_the_same_few_at_a_time_and_one_by_one(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wide, "NEAR", 4 * 4 * 7)  # four rows of seven words at a time
    low, bias = torch.randn(10, 7).to(dtype), torch.randn(7)
    made = Logits(low, bias, BITS, logits_buffer(low))
    whole = torch.cat([x.clone() for x in made.parts()])
    torch.testing.assert_close(whole, low.float() * BITS + bias)
    words, rows = torch.arange(7).repeat(5, 2), torch.arange(2).repeat_interleave(7).expand(5, -1)
    torch.testing.assert_close(made.at(words, rows).view(10, 7), whole)  # five groups of two rows
    torch.testing.assert_close(made.at(words[:, :7].repeat(2, 1)), whole)
    never = torch.cat([x.clone() for x in made.without(2).parts()])
    assert never[:, 2].tolist() == [-torch.inf] * 10
    torch.testing.assert_close(never[:, 3:], whole[:, 3:])
