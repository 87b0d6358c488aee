"""Self-BLEU against sacrebleu sentence by sentence, and the other counts by hand."""

from __future__ import annotations

import builtins
import random
from typing import Any

import pytest
from sacrebleu.metrics.bleu import BLEU

from seqvae.evaluation.metrics.diversity import (
    copied_share,
    count_overlaps,
    distinct_share,
    diversity,
    self_bleu,
)


def drawn(n: int, words: str, longest: int = 9, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=chance.randint(1, longest))) for _ in range(n)]


@pytest.mark.parametrize("words", ["ab", "abcdefgh", "abcdefghijklmnopqrstuvwxyz"])
def test_self_bleu_is_that_of_each_sentence_against_all_others(words: str) -> None:
    sentences = drawn(40, words)
    bleu = BLEU(tokenize="none", force=True, smooth_method="floor", smooth_value=0.1, effective_order=True)
    one_by_one = [
        bleu.sentence_score(sentence, sentences[:i] + sentences[i + 1 :]).score
        for i, sentence in enumerate(sentences)
    ]
    assert self_bleu(sentences) == pytest.approx(sum(one_by_one) / 40, rel=1e-9)


def test_self_bleu_at_its_ends() -> None:
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(100)
    assert self_bleu(["a b c d", "e f g h", "i j k l"]) == 0
    assert self_bleu(["a b c", ""]) == 0
    assert self_bleu(["a b c"]) is None
    assert self_bleu([]) is None


def test_overlaps_by_hand() -> None:
    first, second, third = count_overlaps([x.split() for x in ("a a b", "a b", "a a a c d")])
    assert first == ([3, 2, 0, 0], [3, 2, 1, 0], 3, 2)  # `a a` and `b` are elsewhere, never `a a b`
    assert second == ([2, 1, 0, 0], [2, 1, 0, 0], 2, 3)
    assert third == ([2, 1, 0, 0], [5, 4, 3, 2], 5, 3)  # twice `a` at most, and `a a` once


def test_distinct_counts_grams_a_word() -> None:
    sentences = ["a b a b", "a b"]
    assert distinct_share(sentences, 1) == pytest.approx(2 / 6)
    assert distinct_share(sentences, 2) == pytest.approx(2 / 6)  # `a b` and `b a`
    assert distinct_share(["", " "], 1) is None


def test_copied_is_word_for_word() -> None:
    training = ["the cat", "a dog barks ."]
    assert copied_share(["the  cat", "the cat .", "a dog", ""], training) == pytest.approx(1 / 3)
    assert copied_share(["", " "], training) is None


def test_all_of_it() -> None:
    sentences = ["a b c d", "a b c d", "e f", "", "a b c d"]
    report = diversity(sentences, ["e f"], first=3)
    assert report["samples"] == 5
    assert (report["diversity_of"], report["distinct_sentences"], report["empty"]) == (3, 2, 1)
    assert report["distinct_1"] == pytest.approx(6 / 10)
    assert report["copied"] == pytest.approx(1 / 4)
    assert report["self_bleu"] == pytest.approx(200 / 3)


def test_without_sacrebleu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("sacrebleu"):
            raise ImportError
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert self_bleu(["a b", "a b"]) is None
    assert "no self-BLEU: sacrebleu is not installed" in capsys.readouterr().err
