"""Reading corpora: every format, and every kind of damaged file."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from seqvae.data.text.corpus import content_hash, find_heldout_source, is_table, read_corpus
from seqvae.data.text.readers import Example, ReadOptions
from seqvae.errors import UserError


def _file(folder: Path, name: str, content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffa cat\r\n 你好 \n"),
        ("a.gz", "a cat\n你好"),
        ("a.jsonl", '{"text": "a cat", "k": 1}\n\n{"text": "你好"}\n'),
        ("a.json.gz", '{"text": "a cat"}\n{"text": "\\u4f60好"}\n'),
        ("a.csv", 'k,text\n1,"a cat"\n2,你好\n'),
        ("a.tsv.gz", "k\ttext\n1\ta cat\n2\t你好\n"),
    ],
)
def test_formats(tmp_path: Path, name: str, content: str) -> None:
    assert [e.text for e in read_corpus(_file(tmp_path, name, content))] == ["a cat", "你好"]


def test_labels(tmp_path: Path) -> None:
    lines = '{"text": "a", "n": 2, "c": "pos"}\n{"text": "b", "n": null}\n'
    examples = list(read_corpus(_file(tmp_path, "a.jsonl", lines), ReadOptions(labels=("n", "c"))))
    assert [e.labels for e in examples] == [(2.0, "pos"), (None, None)]
    table = _file(tmp_path, "a.csv", "text,n,c\na,1.5,x\nb,,\n")
    found = [e.labels for e in read_corpus(table, ReadOptions(labels=("n", "c")))]
    assert found == [("1.5", "x"), (None, None)], "a text table has no types: the whole column says"


def test_half_a_surrogate_pair(tmp_path: Path) -> None:
    (example,) = read_corpus(_file(tmp_path, "a.jsonl", '{"text": "a \\ud83d b"}'))
    assert example.text == "a \ufffd b"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_datasets_and_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset.from_dict({"text": ["a", "b"], "y": [0, 1]})
    one.to_parquet(str(tmp_path / "a.parquet"))
    datasets.DatasetDict({"train": one, "validation": one.select([1])}).save_to_disk(str(tmp_path / "d"))
    for source in ("a.parquet", "d", "d@train"):
        examples = list(read_corpus(str(tmp_path / source), ReadOptions(labels=("y",))))
        assert examples == [Example("a", (0.0,)), Example("b", (1.0,))]
    folder = str(tmp_path / "d")
    assert find_heldout_source(folder, "valid") == f"{folder}@validation"
    assert find_heldout_source(folder, "test") is None
    with pytest.raises(UserError, match=r"has no split 'tset': .*known: train, validation"):
        next(read_corpus(f"{folder}@tset"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"a.txt is empty: give a file"),
        ("a.csv", "text\n", r"a.csv is empty"),
        ("a.txt", b"ok\n\xff\xfe", r"a.txt is not a text file \(byte 0xff at line 2\)"),
        ("a.txt", b"a\0b", r"not a text file \(byte 0x00 at line 1\)"),
        ("a.jsonl", '{"text": "a"}\n{"tex', r"a.jsonl, line 2 is not JSON \('{\"tex'\)"),
        ("a.json", "[1]", r"line 1 is '1', not a JSON object"),
        ("a.jsonl", '{"txt": "a"}', r"no column 'text': did you mean 'txt'\? known: txt"),
        ("a.csv", "texts,b\na,b\n", r"no column 'text': did you mean 'texts'\? known: b, texts"),
        ("a.csv", "text,b\na\n", r"line 2 has 1 fields, the header 2"),
        ("a.jsonl", '{"text": 3}', r"column 'text' holds 3, not text"),
        ("a.parquet", "x", r"is not a Parquet file"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read_corpus(_file(tmp_path, name, content)))


def test_numbers_among_texts_are_spelled(tmp_path: Path) -> None:
    rows = [{"text": "1984 again"}, {"text": 1776}, {"text": None}, {"text": 2.5}]
    noted: list[str] = []
    source = _file(tmp_path, "films.json", json.dumps(rows))
    texts = [row.text for row in read_corpus(source, ReadOptions(note=noted.append))]
    assert texts == ["1984 again", "1776", "", "2.5"]
    assert len(noted) == 1
    assert "column 'text' holds the number 1776, read as text" in noted[0]


@pytest.mark.parametrize("second", ["true", "[1]", "{}"])
def test_other_values_among_texts_are_refused(tmp_path: Path, second: str) -> None:
    source = _file(tmp_path, "a.jsonl", f'{{"text": "a"}}\n{{"text": {second}}}\n')
    with pytest.raises(UserError, match=r"line 2: column 'text' holds .*, not text"):
        list(read_corpus(source))


def test_damaged_gzip(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.gz", "text " * 1000)
    Path(path).write_bytes(Path(path).read_bytes()[:-10])
    with pytest.raises(UserError, match="damaged gzip"):
        list(read_corpus(path))


@pytest.mark.parametrize("source", ["nowhere.txt", "no/where.txt", "/no/such/folder", ""])
def test_no_source(source: str) -> None:
    with pytest.raises(UserError, match=r"no data at|source is empty"):
        next(read_corpus(source))


def test_labels_of_plain_text(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.txt", "a\n")
    assert not is_table(path)
    with pytest.raises(UserError, match="plain text and has no columns"):
        next(read_corpus(path, ReadOptions(labels=("y",))))


def test_a_hub_id_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(
        UserError, match=r"o/n:c@s cannot be loaded from the Hub \(ConnectionError: no network\)"
    ):
        next(read_corpus("o/n:c@s"))


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    one, two = _file(tmp_path, "a.txt", "a\n"), _file(tmp_path, "b.txt", "a\n")
    assert content_hash(one) == content_hash(two)
    _file(tmp_path, "b.txt", "b\n")
    assert content_hash(one) != content_hash(two)


def test_plain_files_are_read_without_datasets() -> None:
    code = "import sys, seqvae.data.text.dataset; assert not {'datasets', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
