"""Words outside the vocabulary: they are never right, their spelling has a cost, and they are counted."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny import BASE, SENTENCES
from typer.testing import CliRunner

from seqvae.cli import app
from seqvae.config.loading import parse_config
from seqvae.config.schema import Component, TextDataConfig
from seqvae.data.text.batch import SpecialIds
from seqvae.data.text.batching import batch_from_ids
from seqvae.data.text.dataset import load_data, load_examples
from seqvae.data.text.spelling import ALPHABET, END, START, SpellingModel
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.tokenizer_training import train_char, train_word
from seqvae.evaluation.metrics import text_scores
from seqvae.evaluation.metrics.text import TextGeneration, TextMetrics, bits_per_character
from seqvae.evaluation.metrics.text_scores import (
    UNKNOWN,
    mark_unknown,
    reconstruction_scores,
    reference_text,
)
from seqvae.inference import TextVAE
from seqvae.inference.inputs import load_inputs
from seqvae.training.loop import train

SPECIAL = SpecialIds(pad=0, unk=1, bos=2, eos=3)
WORD = Component(name="word")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))


def test_spelling_sums_to_one_over_all_strings() -> None:
    model = SpellingModel(["abba", "ab", "ba"], order=3)
    known = sorted({"a", "b", END})
    for history in ("", START, f"{START}a", "a", "ab", "bba", "zz", "za"):
        rest = (ALPHABET - len(known)) * model.probability(history, "never seen")
        assert sum(model.probability(history, c) for c in known) + rest == pytest.approx(1)
    strings = ["".join(s) for n in range(7) for s in itertools.product("ab", repeat=n)]
    assert 0.7 < sum(math.exp(-model.nats(s)) for s in strings) < 1


def test_spelling_is_by_the_product_of_its_characters() -> None:
    model = SpellingModel(["abba", "ab"])
    by_hand = [(START, "a"), (f"{START}a", "b"), (f"{START}ab", "x"), (f"{START}abx", END)]
    assert model.nats("abx") == pytest.approx(-sum(math.log(model.probability(h, c)) for h, c in by_hand))
    assert model.nats("ab") < model.nats("ba") < model.nats("床")
    assert model.nats("床") > math.log(ALPHABET), "a character that no word has"
    assert math.isfinite(SpellingModel([]).nats("anything"))


def test_an_unknown_token_is_never_right() -> None:
    """The same ids on both sides, `<unk>` among them."""
    reference = mark_unknown([[4, 1, 5, 6, 7]], [[False, True, False, False, False]])
    assert reference == [[4, UNKNOWN, 5, 6, 7]]
    back = reconstruction_scores([[4, 1, 5, 6, 7]], reference, lambda ids: " ".join(f"w{i}" for i in ids))
    assert back["token_accuracy"] == pytest.approx(5 / 6)  # with the end
    assert back["exact_match"] == 0
    assert back["edit_distance"] == pytest.approx(1 / 5)
    assert back["bleu"] is not None
    assert back["bleu"] < 100
    assert text_scores.token_accuracy([[]], [[UNKNOWN]]) == 0, "what fills up the shorter one is not unknown"


def test_a_reference_is_written_with_its_gaps() -> None:
    def detokenize(ids: list[int]) -> str:
        return " ".join(f"w{i}" for i in ids)

    assert reference_text([4, UNKNOWN, 5], detokenize).split() == ["w4", text_scores.UNSAID, "w5"]
    assert reference_text([UNKNOWN, UNKNOWN], detokenize).split() == [text_scores.UNSAID] * 2
    assert reference_text([4, 5], detokenize) == "w4 w5"


def test_bits_charge_the_spelling_and_ppl_has_its_share() -> None:
    batches = [batch_from_ids([[4, 1], [1, 5, 1]], SPECIAL)]
    tools = TextGeneration(lambda z, b: [], lambda n, s: [], str, characters=20, spelling=30.0)
    nats = np.log([4.0, 9.0])
    import torch

    found = TextMetrics(tools).per_target(batches, torch.tensor(nats))
    assert found["unknown_share"] == pytest.approx(3 / 5)
    assert found["unknown_tokens"] == 3
    assert found["spelling_nats"] == 15
    assert found["bits_per_char"] == pytest.approx((nats.sum() + 30) / math.log(2) / 22)
    assert found["bits_per_char"] == bits_per_character(nats.sum(), 20, 2, 30.0)
    assert found["ppl"] == pytest.approx(36 ** (1 / 7))
    assert found["cautions"][0].startswith("ppl: 60.0% of the words are unknown")


def corpus(tmp_path: Path, lines: list[str], name: str = "corpus.txt") -> str:
    path = tmp_path / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_a_store_prices_what_it_lacks(tmp_path: Path) -> None:
    train_file = corpus(tmp_path, ["the cat sat"] * 30 + ["a dog ran"] * 30)
    other = corpus(tmp_path, ["the cow sat", "a dog ran", "cow cow cow cow"], "other.txt")
    data = TextDataConfig(train=train_file, max_tokens=3)
    made = load_data(data, WORD)
    store = load_examples(other, made.tokenizer, data)
    cow = made.tokenizer.spelling.nats("cow")
    assert store.spelling.tolist() == pytest.approx([cow, 0, 3 * cow]), "the fourth is cut"
    assert store.counts.unknown == 4
    unknown = store.unknown([0, 1, 2], made.tokenizer.special.unk)
    assert unknown == [[False, True, False], [False] * 3, [True] * 3]
    assert not made.tokenizer.unk_is_word


@pytest.mark.parametrize("written_so", ["<unk>", "_UNK"])  # PTB, Yahoo
def test_a_literal_unknown_is_a_word_where_the_corpus_has_it(tmp_path: Path, written_so: str) -> None:
    lines = [f"the {written_so} sat"] * 30 + ["a dog ran"] * 30
    data = TextDataConfig(train=corpus(tmp_path, lines), valid_share=0.3)
    made = load_data(data, WORD)
    store = load_examples(
        corpus(tmp_path, [f"the {written_so} cow", written_so], "o.txt"), made.tokenizer, data
    )
    assert (store.counts.unknown, store.counts.literal) == (1, 2)
    assert store.unknown([0, 1], made.tokenizer.special.unk) == [[False, False, True], [False]]
    assert made.train.counts.literal > 0
    assert made.train.counts.unknown == 0
    assert any("written as the unknown token, a word like others here" in line for line in made.report())
    made.tokenizer.save(tmp_path / "saved")
    again = TextTokenizer.load(tmp_path / "saved")
    assert again.unk_is_word
    assert again.unknown([f"the {written_so} cow"]) == [[False, False, True]]


def test_a_literal_unknown_is_unknown_where_the_corpus_lacks_it(tmp_path: Path) -> None:
    data = TextDataConfig(train=corpus(tmp_path, ["the cat sat"] * 40))
    made = load_data(data, WORD)
    made.tokenizer.save(tmp_path / "saved")
    again = TextTokenizer.load(tmp_path / "saved")
    assert not again.unk_is_word
    assert again.unknown(["the <unk> sat"]) == [[False, True, False]]
    store = load_examples(corpus(tmp_path, ["the <unk> sat"], "o.txt"), made.tokenizer, data)
    assert (store.counts.unknown, store.counts.literal) == (1, 0)


@pytest.mark.parametrize(
    ("made", "text", "lacks"),
    [
        (train_word(["a b c", "a </s>"]), "a x </s> c", [False, True, True, False]),
        (train_word(["a b c"]), "a\x1cx b", [False, True]),
        (train_char(["abc"]), "axb", [False, True, False]),
    ],
)
def test_what_is_unknown(made: TextTokenizer, text: str, lacks: list[bool]) -> None:
    found = made.unknown([text])[0]
    assert len(found) == len(made.encode(text))
    assert found == [i == made.special.unk for i in made.encode(text)]
    assert sum(found) == sum(lacks) or "\x1c" in text


def test_names_read_as_words_are_warned_of(tmp_path: Path) -> None:
    """The case of the report: one name a line; bits and exact match of `word` against those of `char`."""
    letters = np.random.default_rng(0).integers(0, 26, (400, 7))
    names = ["".join(chr(97 + i) for i in row[: 4 + row[0] % 4]) for row in letters]
    file = corpus(tmp_path, names)
    reports = {}
    for tokenizer in ("word", "char"):
        values: dict[str, Any] = {**BASE, "tokenizer": {"name": tokenizer, "force": True}}
        values["data"] = {"train": file, "max_tokens": 9}
        run = train(parse_config(values, ["train.steps=60"]), tmp_path / tokenizer)
        vae = TextVAE.from_pretrained(run)
        reports[tokenizer] = vae.evaluate(samples=2)
    word, char = reports["word"], reports["char"]
    assert word["unknown_share"] > 0.9
    assert word["exact_match"] < 0.1
    assert word["token_accuracy"] <= 0.55, "the ends of sentences at most"
    assert word["bits_per_char"] > 0.9 * char["bits_per_char"] > 2
    assert any(line.startswith("ppl:") for line in word["cautions"])
    assert char["unknown_share"] == 0
    assert char["spelling_nats"] == 0


def test_examples_count_their_unknown_words(vae: TextVAE) -> None:
    texts = [SENTENCES[0], "the unheard-of word", "<unk> dog"]
    assert vae.unknown(texts) == [0, 2, 1]
    assert [score.unknown for score in vae.score(texts, 2)] == [0, 2, 1]
    for pair in vae.reconstruct(texts)[1:]:
        assert not pair.exact
    row = vae.references(texts)[1]
    assert row[1:] == [UNKNOWN] * 2
    json.dumps([vars(score) for score in vae.score(texts, 2)])


def test_sentences_of_a_split_keep_their_unknown_words(vae: TextVAE, tmp_path: Path) -> None:
    file = corpus(tmp_path, ["the zebra sleeps", "a dog"])
    shown = load_inputs(vae, file)
    assert vae.unknown(shown.x) == [sum(row) for row in vae.reader.unknown(["the zebra sleeps", "a dog"])]


def test_codes_in_parquet_have_their_unknown_words_beside(vae: TextVAE, tmp_path: Path) -> None:
    file = corpus(tmp_path, ["the dog", "", "a zebra zebra"])
    done = CliRunner().invoke(
        app, ["encode", str(vae.run.path), "--input", file, "--output", str(tmp_path / "z.parquet")]
    )
    assert done.exit_code == 0, done.output
    assert pq.read_table(tmp_path / "z.parquet")["unknown_tokens"].to_pylist() == [0, None, 2]
