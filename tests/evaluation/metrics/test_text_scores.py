"""Measures of sentences made by hand."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.evaluation.metrics import text_scores
from seqvae.evaluation.metrics.text import bits_per_character, perplexity
from seqvae.keyed_noise import KeyedNoise
from seqvae.utils.edit_distance import edit_distance

A, B, C, D = 4, 5, 6, 7


def test_token_accuracy_counts_the_end() -> None:
    assert text_scores.token_accuracy([[A, B]], [[A, B]]) == 1
    assert text_scores.token_accuracy([[A, C]], [[A, B]]) == pytest.approx(2 / 3)  # the end is in its place
    assert text_scores.token_accuracy([[A]], [[A, B]]) == pytest.approx(1 / 3)  # it is not
    assert text_scores.token_accuracy([[A, B, C]], [[A, B]]) == pytest.approx(2 / 4)
    assert text_scores.token_accuracy([[]], [[]]) == 1
    assert text_scores.token_accuracy([[], [A]], [[A, B, C], [A]]) == pytest.approx(2 / 6)


def test_exact_match() -> None:
    assert text_scores.exact_match([[A, B], [A], []], [[A, B], [A, B], []]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [([], [], 0), ([A], [], 1), ([], [A, B], 2), ([A, B, C], [A, C], 1), ([A, B, C], [A, D, C], 1),
     (list(map(ord, "kitten")), list(map(ord, "sitting")), 3)],
)  # fmt: skip
def test_edit_distance(a: list[int], b: list[int], distance: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == distance


def test_edit_distance_is_a_share_of_the_longer() -> None:
    found = text_scores.mean_edit_distance([[A, B, C, D], [], []], [[A, B], [A], []])
    assert found == pytest.approx((2 / 4 + 1 + 0) / 3)


def test_bleu_of_the_same_and_of_nothing_in_common() -> None:
    pytest.importorskip("sacrebleu")
    lines = ["a man is walking down the street .", "two dogs play in the snow ."]
    assert text_scores.corpus_bleu(lines, lines) == pytest.approx(100)
    assert text_scores.corpus_bleu(["q r s t u v w x"] * 2, lines) < 5
    assert text_scores.corpus_bleu(["", ""], lines) == 0


def test_bleu_splits_at_spaces_only() -> None:
    pytest.importorskip("sacrebleu")
    assert text_scores.corpus_bleu(["a-b c,d e.f g!h"], ["a - b c , d e . f g ! h"]) < 5


def test_without_sacrebleu_there_is_no_bleu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    assert text_scores.corpus_bleu(["a b c d"], ["a b c d"]) is None
    captured = capsys.readouterr()
    assert "sacrebleu is not installed; `pip install 'seqvae[metrics]'`" in captured.err
    assert captured.out == ""


def test_distinct_sentences() -> None:
    assert text_scores.distinct_sentences([[A], [A], [A, B], [], []]) == 3


def test_by_position_pads_cuts_and_ignores_what_is_masked() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [5.0, float("nan"), 7.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    sums, counts = text_scores.by_position(values, mask, 4)
    assert sums.tolist() == [6.0, 2.0, 3.0, 0.0]
    assert counts.tolist() == [2, 1, 1, 0]
    assert text_scores.by_position(values, mask, 2)[0].tolist() == [6.0, 2.0]
    assert text_scores.position_means([(sums, counts), (sums, counts)]) == [3.0, 2.0, 3.0]


def test_sentences_lose_their_end_and_padding_only() -> None:
    special = SpecialIds(pad=0, unk=1, bos=2, eos=3)
    targets = torch.tensor([[A, B, 3, 0], [A, A, B, C], [3, 0, 0, 0]])
    lengths = torch.tensor([3, 4, 1])  # the second was cut and has no end
    index = torch.arange(3)
    batch = TextBatch(
        targets,
        lengths,
        targets,
        targets,
        lengths,
        special,
        index,
        torch.empty(3, 0),
        KeyedNoise(0, 0, index),
    )
    assert text_scores.sentences(batch) == [[A, B], [A, A, B, C], []]


def test_perplexity_is_per_predicted_token_of_the_whole_set() -> None:
    # PTB's test set: 3,761 sentences, 82,430 predicted tokens; 101.6 nats per sentence and back
    assert math.log(perplexity(101.6 * 3761, 82430)) * 82430 / 3761 == pytest.approx(101.6)
    # a uniform guess among 100 words has perplexity 100
    assert perplexity(82430 * math.log(100), 82430) == pytest.approx(100)
    assert perplexity(1e9, 1) == math.inf


def test_bits_per_character_count_line_ends() -> None:
    # two sentences of 3 and 4 characters; 9 fair coins for 7 characters and 2 ends
    assert bits_per_character(9 * math.log(2), 7, 2) == pytest.approx(1)
