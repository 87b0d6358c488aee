"""Missing words: the fixed ones stay, and the best of what was tried is taken."""

from __future__ import annotations

import pytest
from tiny import autoencoder, language_model

from seqvae.analysis.infill_benchmark import _bag_accuracy, _gru_accuracy, adversarial_error, benchmark_infill
from seqvae.errors import UserError
from seqvae.inference import TextVAE
from seqvae.inference.infilling import InfillSearch, infill, parse_pattern
from seqvae.models.text.filling import BLANK

PATTERNS = ["the ___ dog sees a ___ .", "___", "did the boys ___ hide the book ?"]
SMALL = InfillSearch(beam=2, rounds=2, starts=2, refine=2, samples=2)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> TextVAE:
    return TextVAE.from_pretrained(language_model(tmp_path_factory))


def test_fixed_words_stay(vae: TextVAE, lm: TextVAE, tmp_path_factory: pytest.TempPathFactory) -> None:
    for model in (vae, lm, TextVAE.from_pretrained(autoencoder(tmp_path_factory))):
        found = infill(model, PATTERNS, SMALL)
        assert [one.pattern for one in found] == PATTERNS
        for one in found:
            words = iter(one.words)
            assert " ".join(next(words) if w == "___" else w for w in one.pattern.split()) == one.text
            assert "<unk>" not in one.text
        assert infill(model, PATTERNS, SMALL) == found
        assert infill(model, [], SMALL) == []


def test_it_is_the_likeliest_of_what_was_tried(vae: TextVAE) -> None:
    one = infill(vae, PATTERNS[:1], SMALL)[0]
    assert not vae.unknown([one.text])[0]
    assert one.nats == pytest.approx(vae.score([one.text], 2)[0].iw_nll)
    more = infill(vae, PATTERNS[:1], InfillSearch(beam=4, rounds=3, starts=4, refine=2, samples=2))[0]
    assert more.nats <= one.nats + 1e-3


def test_a_language_model_fills_in_what_it_finds_likeliest(lm: TextVAE) -> None:
    found = infill(lm, ["the old ___ sees a ball ."], InfillSearch(beam=1))[0]
    special = {"<pad>", "<unk>", "<s>", "</s>"}
    vocabulary = [lm.tokenizer.token(i) for i in range(lm.tokenizer.vocab_size)]
    every = [f"the old {word} sees a ball ." for word in vocabulary if word not in special]
    wide = infill(lm, ["the old ___ sees a ball ."], InfillSearch(beam=len(vocabulary)))[0]
    nats = [score.distortion for score in lm.score(every)]
    assert wide.nats == pytest.approx(min(nats), abs=1e-4)
    assert wide.nats <= found.nats


def test_patterns(vae: TextVAE) -> None:
    row = parse_pattern(vae, "the ___ dog ___")
    assert [word == BLANK for word in row] == [False, True, False, True]
    with pytest.raises(UserError, match="has no blank"):
        parse_pattern(vae, "the dog")
    with pytest.raises(UserError, match="has 60 tokens: this run reads 20"):
        parse_pattern(vae, "___ " * 60)


def test_discriminators() -> None:
    true = [["a", "b", str(i % 7)] for i in range(80)]
    fooled = [["a", "b", str(i % 7)] for i in range(80)]
    caught = [["a", "x", str(i % 7)] for i in range(80)]
    turned = [["b", "a", str(i % 7)] for i in range(80)]  # the same words in another order
    assert adversarial_error(true, caught, _bag_accuracy, 0) == 0.5
    assert abs(adversarial_error(true, fooled, _bag_accuracy, 0)) < 0.05
    assert abs(adversarial_error(true, turned, _bag_accuracy, 0)) < 0.05
    assert adversarial_error(true, turned, _gru_accuracy, 0) == 0.5


def test_benchmark(vae: TextVAE, lm: TextVAE) -> None:
    done: list[int] = []
    rows = benchmark_infill(vae, lm, SMALL, 20, progress=lambda n, total, what: done.append(n / total))
    assert [(row["method"], row["blanks"]) for row in rows] == [
        (method, blanks) for blanks in ("end", "anywhere") for method in ("true", "vae", "lm")
    ]
    assert done[-1] == 1
    true, by_vae, by_lm = rows[:3]
    assert true["words_right"] == 1
    assert 0 <= by_vae["words_right"] <= 1
    assert by_lm["lm_nll"] <= true["lm_nll"]  # the likeliest words under the judge itself
    assert -0.5 <= by_lm["adversarial_unigram"] <= 0.5
    with pytest.raises(UserError, match="has a code: the benchmark compares with a language model"):
        benchmark_infill(vae, vae, SMALL, 20)
    with pytest.raises(UserError, match="has no code: give the VAE first"):
        benchmark_infill(lm, lm, SMALL, 20)
