"""Token files: content, counts, and that they are complete or absent."""

import errno
from pathlib import Path

import numpy as np
import pytest

from seqvae.data.text import token_writer as module
from seqvae.data.text.readers import Example
from seqvae.data.text.token_store import open_store
from seqvae.data.text.token_writer import build_store
from seqvae.data.text.tokenizer_training import train_word
from seqvae.errors import UserError

TOKENIZER = train_word(["a b c"])
A, B, C = TOKENIZER.encode("a b c")


def _examples(*texts: str) -> list[Example]:
    return [Example(text) for text in texts]


def test_known_answer(tmp_path: Path) -> None:
    made = build_store(_examples("a b", "", "b c a x", "c"), TOKENIZER, tmp_path / "s", max_tokens=3)
    assert [made.tokens(i).tolist() for i in range(len(made))] == [[A, B], [B, C, A], [C]]
    assert made.lengths.tolist() == [2, 3, 1]
    assert made.chars.tolist() == [3, 5, 1]  # of the text that the kept tokens cover
    c = made.counts
    assert (c.kept, c.empty, c.truncated, c.dropped, c.tokens, c.unknown) == (3, 1, 1, 0, 6, 0)
    again = open_store(tmp_path / "s")
    assert np.array_equal(again.flat, made.flat)
    assert again.flat.dtype == np.uint16


def test_overlong_sentences_can_be_dropped(tmp_path: Path) -> None:
    made = build_store(_examples("a b c", "a", "x"), TOKENIZER, tmp_path / "s", max_tokens=2, overlong="drop")
    assert made.lengths.tolist() == [1, 1]
    assert (made.counts.dropped, made.counts.unknown) == (1, 1)


def test_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join("abc"[: 1 + i % 3]) for i in range(50)]
    whole = build_store(_examples(*texts), TOKENIZER, tmp_path / "whole", max_tokens=9)
    monkeypatch.setattr(module, "_CHUNK", 7)
    parts = build_store(_examples(*texts), TOKENIZER, tmp_path / "parts", max_tokens=9)
    assert np.array_equal(whole.flat, parts.flat)
    assert np.array_equal(whole.offsets, parts.offsets)


def test_categories_are_sorted_and_kept_for_later_data(tmp_path: Path) -> None:
    rows = [Example("a", ("pos", 2.0)), Example("b", (None, None)), Example("c", ("neg", 3.0))]
    names = ("mood", "n")
    made = build_store(rows, TOKENIZER, tmp_path / "s", max_tokens=9, label_names=names)
    assert made.categories == {"mood": ["neg", "pos"]}
    assert np.array_equal(made.labels, [[1, 2], [np.nan, np.nan], [0, 3]], equal_nan=True)
    later = [Example("a", ("odd", 1.0)), Example("a", ("pos", 1.0))]
    other = build_store(
        later, TOKENIZER, tmp_path / "t", max_tokens=9, label_names=names, categories=made.categories
    )
    assert np.array_equal(other.labels, [[np.nan, 1], [1, 1]], equal_nan=True)


def test_a_label_of_two_kinds(tmp_path: Path) -> None:
    rows = [Example("a", (1.0,)), Example("b", ("x",))]
    with pytest.raises(UserError, match="label 'y' mixes numbers with names"):
        build_store(rows, TOKENIZER, tmp_path / "s", max_tokens=9, label_names=("y",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left .*SEQVAE_CACHE"),
        (errno.EACCES, "no right to write"),
        (errno.ENOENT, "cannot be written .*no such file or directory.*SEQVAE_CACHE"),
    ],
)
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
):
    def full(*_: object) -> None:
        raise OSError(number, "disk")

    monkeypatch.setattr(module._Writer, "_write", full)
    with pytest.raises(UserError, match=message):
        build_store(_examples("a"), TOKENIZER, tmp_path / "s", max_tokens=9)
    assert list(tmp_path.iterdir()) == []


def test_another_process_was_first(tmp_path: Path) -> None:
    first = build_store(_examples("a"), TOKENIZER, tmp_path / "s", max_tokens=9)
    second = build_store(_examples("a"), TOKENIZER, tmp_path / "s", max_tokens=9)
    assert np.array_equal(first.flat, second.flat)
    assert len(list(tmp_path.iterdir())) == 1


def test_no_sentence_at_all(tmp_path: Path) -> None:
    made = build_store(_examples(""), TOKENIZER, tmp_path / "s", max_tokens=9, label_names=())
    assert len(made) == 0
    assert made.labels.shape == (0, 0)
