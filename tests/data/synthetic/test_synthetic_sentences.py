"""Sentences from factors: one for each combination, grammatical, the same everywhere."""

import itertools

import numpy as np
import pytest

from seqvae.data.synthetic import CORPORA
from seqvae.data.synthetic.sentences import FACTORS, NAMES, SIZE, iter_sentences, sentence
from seqvae.keyed_noise import keyed_permutation


def _labels(**names: str) -> dict[str, int]:
    return {name: FACTORS[name].index(names.get(name, FACTORS[name][0])) for name in NAMES}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, "an old dog saw a ball in the park ."),
        ({"question": "question", "negation": "negative", "tense": "present", "definite": "definite"},
         "does the old dog not see a ball in the park ?"),
        ({"tense": "present", "number": "plural", "subject": "child", "verb": "carry", "object": "egg"},
         "some old children carry an egg in the park ."),
        ({"tense": "future", "negation": "negative", "object_number": "plural", "object": "knife"},
         "an old dog will not see some knives in the park ."),
        ({"tense": "present", "verb": "catch", "adjective": "brave"},
         "a brave dog catches a ball in the park ."),
    ],
)  # fmt: skip
def test_known_sentences(names: dict[str, str], expected: str) -> None:
    assert sentence(_labels(**names)) == expected


def test_every_combination_of_factors_has_its_own_sentence() -> None:
    # Words of different factors take part independently, so two values of each lexical factor at a time
    # against all of the grammatical ones cover every way in which two sentences could coincide.
    lexical = ("adjective", "subject", "verb", "object", "place")
    grammar = [range(len(FACTORS[n])) if n not in lexical else (0,) for n in NAMES]
    for name in lexical:
        axes = list(grammar)
        axes[NAMES.index(name)] = range(len(FACTORS[name]))
        made = [sentence(codes) for codes in itertools.product(*axes)]
        assert len(set(made)) == len(made)


def test_no_word_has_two_values_of_a_factor() -> None:
    forms = [
        w for codes in ([0] * 6 + [s] + [0] * 4 for s in range(20)) for w in [sentence(codes).split()[2]]
    ]
    assert len(set(forms)) == len(FACTORS["subject"])


def test_size_and_number_of_factors() -> None:
    assert len(NAMES) >= 8
    assert np.prod([len(values) for values in FACTORS.values()]) == SIZE > 10**6


def test_sampling_is_without_replacement_and_by_seed() -> None:
    drawn = list(iter_sentences(20_000, seed=1))
    assert len({text for text, _ in drawn}) == len(drawn)
    assert all(sentence(labels) == text for text, labels in drawn[:500])
    assert drawn[100:110] == list(iter_sentences(10, seed=1, start=100))
    assert drawn[:10] != list(iter_sentences(10, seed=2))


def test_the_order_is_the_same_on_every_machine() -> None:
    assert keyed_permutation(np.arange(3, dtype=np.uint64), SIZE, 0).tolist() == ORDER


ORDER = [50293554, 46615954, 21491998]


def test_factors_are_drawn_evenly_and_independently() -> None:
    labels = np.array([codes for _, codes in iter_sentences(20_000, seed=0)])
    tense = np.bincount(labels[:, NAMES.index("tense")]) / len(labels)
    assert np.abs(tense - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(labels))
    correlations = np.corrcoef(labels.T) - np.eye(len(NAMES))
    assert np.abs(correlations).max() < 5 / np.sqrt(len(labels))


def test_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="there are"):
        next(iter_sentences(1, seed=0, start=SIZE))


@pytest.mark.parametrize("codes", [[0] * 10, [9] * 11])
def test_labels_out_of_range(codes: list[int]) -> None:
    with pytest.raises(IndexError, match="do not lie in"):
        sentence(codes)


def test_the_embedded_corpus_has_disjoint_splits() -> None:
    corpus = CORPORA["sentences"]
    splits = {name: {text for text, _ in corpus.examples(name)} for name in corpus.sizes}
    assert {name: len(texts) for name, texts in splits.items()} == {
        "train": 20000,
        "valid": 2000,
        "test": 2000,
    }
    assert not (splits["train"] & splits["valid"] | splits["train"] & splits["test"])
    assert not splits["valid"] & splits["test"]
    with pytest.raises(KeyError):
        corpus.examples("dev")
