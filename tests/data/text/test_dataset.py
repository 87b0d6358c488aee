"""From a data block to token stores: splits, caches, reports and errors."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from seqvae.config.schema import Component, TextDataConfig
from seqvae.data import splits
from seqvae.data.splits import heldout_rows
from seqvae.data.text import dataset as module
from seqvae.data.text import stores
from seqvae.data.text.dataset import TextData, load_data, load_examples
from seqvae.data.text.splits import hash_rows
from seqvae.data.text.token_store import TokenStore
from seqvae.errors import UserError

WORD = Component(name="word")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def lines(tmp_path: Path) -> str:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"w{i} is here\n\n" for i in range(100)), encoding="utf-8")
    return str(path)


def _texts(made: TextData, store: TokenStore | None) -> list[str]:
    assert store is not None
    return [made.tokenizer.decode(store.tokens(i)) for i in range(len(store))]


def test_shares_are_disjoint_complete_and_seeded(lines: str) -> None:
    char = Component(name="char")
    made = load_data(TextDataConfig(train=lines, valid_share=0.2, test_share=0.1), char)
    parts = [_texts(made, store) for store in made.splits.values()]
    assert [len(part) for part in parts] == [70, 20, 10]
    assert sorted(text for part in parts for text in part) == sorted(f"w{i} is here" for i in range(100))
    other = load_data(TextDataConfig(train=lines, valid_share=0.2, split_seed=1), char)
    assert _texts(other, other.valid) != parts[1]


def test_shares_have_a_most(lines: str) -> None:
    made = load_data(TextDataConfig(train=lines, valid_share=0.5, test_share=0, max_heldout=7), WORD)
    assert (len(made.train), len(made.valid), made.test) == (93, 7, None)


def test_heldout_rows_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = splits._smallest_keys(1000, 50, partial(hash_rows, seed=3))
    assert splits._smallest_keys(1000, 50, partial(hash_rows, seed=3), chunk=13).tolist() == rows.tolist()
    assert len(set(rows.tolist())) == 50


def test_the_tokenizer_sees_the_training_part_only(lines: str) -> None:
    made = load_data(TextDataConfig(train=lines), WORD)
    assert made.tokenizer.vocab_size == 4 + 2 + len(made.train)
    assert made.valid.counts.unknown == len(made.valid)


def test_files_and_first_examples(lines: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("w1 is\n")
    path = str(tmp_path / "v.txt")
    made = load_data(TextDataConfig(train=lines, valid=path, test=path, examples=3), WORD)
    assert _texts(made, made.train) == ["w0 is here", "w1 is here", "w2 is here"]
    assert _texts(made, made.valid) == ["w1 is"]


def test_a_second_start_tokenizes_and_trains_nothing(lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data(TextDataConfig(train=lines), WORD)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("not from the cache")

    monkeypatch.setattr(module, "construct", never)
    monkeypatch.setattr(stores, "build_store", never)
    monkeypatch.setattr(module.corpus, "file_hash", never)
    again = load_data(TextDataConfig(train=lines), WORD)
    assert np.array_equal(first.train.flat, again.train.flat)
    assert again.tokenizer.fingerprint == first.tokenizer.fingerprint


def test_a_changed_file_is_read_again(lines: str) -> None:
    first = load_data(TextDataConfig(train=lines), WORD)
    Path(lines).write_text("other words\n" * 40, encoding="utf-8")
    assert load_data(TextDataConfig(train=lines), WORD).train.counts != first.train.counts


def test_the_embedded_corpus_and_its_factors() -> None:
    made = load_data(TextDataConfig(labels=["tense", "question"]), WORD)
    assert (len(made.train), len(made.valid), len(made.splits["test"])) == (20_000, 2_000, 2_000)
    assert made.train.categories["tense"] == ["past", "present", "future"]
    asks = [text.endswith("?") for text in _texts(made, made.valid)]
    assert made.valid.labels[:, 1].tolist() == [float(ask) for ask in asks]


def test_one_other_file(lines: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,y\nis here,b\nis,c\n")
    (tmp_path / "t.csv").write_text("text,y\n" + "is here,b\nhere is,a\n" * 10)
    config = TextDataConfig(train=str(tmp_path / "t.csv"), labels=["y"])
    made = load_data(config, WORD)
    other = load_examples(str(tmp_path / "a.csv"), made.tokenizer, config, made.train.categories)
    assert np.array_equal(other.labels, [[1], [np.nan]], equal_nan=True)
    assert load_examples(lines, made.tokenizer, config).labels.shape == (100, 0)


def test_report(lines: str) -> None:
    made = load_data(TextDataConfig(train=lines, max_tokens=2), WORD)
    line = made.report()[0]
    assert line.startswith("train: 90 sentences, 180 tokens")
    assert "90 cut to the longest allowed" in line
    assert made.report()[-1].startswith("vocabulary: ")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "sentences"}, "both name 'sentences' and train"),
        ({"valid_share": 0.6, "test_share": 0.6}, "add up to 1.2"),
        (
            {"max_tokens": 1, "overlong": "drop"},
            r"leaves no sentence \(0 empty, 90 longer than max_tokens 1\)",
        ),
        ({"valid": "nowhere.txt"}, "no data at nowhere.txt"),
        ({"labels": ["y"]}, "plain text and has no columns"),
    ],
)
def test_refused(lines: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_data(TextDataConfig.model_validate({"train": lines} | values), WORD)


def test_refused_names() -> None:
    with pytest.raises(UserError, match="unknown corpus 'sentence': did you mean 'sentences'"):
        load_data(TextDataConfig(name="sentence"), WORD)
    with pytest.raises(UserError, match="corpus 'sentences' has no label 'tens': did you mean 'tense'"):
        load_data(TextDataConfig(labels=["tens"]), WORD)
    with pytest.raises(UserError, match="unknown tokenizer 'words': did you mean 'word'"):
        load_data(TextDataConfig(), Component(name="words"))


def test_too_few_sentences() -> None:
    with pytest.raises(UserError, match="x has 2 sentences, too few to set valid and test data aside"):
        heldout_rows(2, {"valid": 0.1, "test": 0.1}, 10, 0, hash_rows, "x", "sentences")


def test_nothing_but_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("\n \n\n")
    with pytest.raises(UserError, match="too few"):
        load_data(TextDataConfig(train=str(tmp_path / "b.txt")), WORD)


def test_no_right_to_the_cache(lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"no right to write tokens at .*set SEQVAE_CACHE"):
        load_data(TextDataConfig(train=lines), WORD)
