"""Every format of a file of rows is recognised and read, or refused with its line."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqvae.data.input_files import expand, regular_file
from seqvae.data.text.corpus import content_hash, find_heldout_source, is_table, read_corpus
from seqvae.data.text.readers import ReadOptions
from seqvae.errors import UserError


def read(path: str | list[str], **options: Any) -> list[str]:
    return [example.text for example in read_corpus(path, ReadOptions(**options))]


def written(folder: Path, name: str, content: str | bytes, encoding: str = "utf-8") -> str:
    data = content if isinstance(content, bytes) else content.encode(encoding)
    (folder / name).write_bytes(data)
    return str(folder / name)


# tables: rows, quotes and dialects


def many_rows(stray: str) -> str:
    """A CSV of 300 rows with one stray quote in row 10."""
    rows = [f"{i},the dog {i} sleeps,pos" for i in range(300)]
    rows[9] = stray
    return "id,text,label\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("stray", "end", "what"),
    [
        ('9,"the dog sleeps,pos', "", "a quote opens a field here and nothing closes it"),
        ('9,"the dog sleeps,pos', '300,a "dog",pos\n', "a quoted field takes 292 lines that look like rows"),
        ('9,"the dog sleeps,pos', '300,a dog",pos\n', "a quoted field takes 292 lines that look like rows"),
        ('9,"the "dog" sleeps,pos', "", "a quoted field is followed by 'dog\" sleeps,pos'"),
    ],
)
def test_a_stray_quote_does_not_swallow_rows(tmp_path: Path, stray: str, end: str, what: str) -> None:
    path = written(tmp_path, "t.csv", many_rows(stray) + end)
    with pytest.raises(UserError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}, line 11: ")
    if 'dog"' not in end or "sleeps,pos" not in what:
        assert "--quotes double, backslash or none; data.quotes" in str(refused.value)
    found = read(path, quotes="none")
    assert len(found) == 300 + bool(end)
    assert found[9].startswith('"the ')


def test_a_stray_quote_far_down_is_found_too(tmp_path: Path) -> None:
    rows = [f'{i},"a, b",x' for i in range(5000)]
    rows[4000] = '4000,"a b,x'
    with pytest.raises(UserError, match=r"line 4002: a quoted field is followed by 'a, b\"+,x'"):
        read(written(tmp_path, "t.csv", "id,text,label\n" + "\n".join(rows)))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.csv", 'id,text\n1,"a, b"\n2,"say ""hi"""\n', ["a, b", 'say "hi"']),
        ("t.csv", 'id,text\n1,"two\nlines"\n2,b\n', ["two\nlines", "b"]),
        ("t.csv", 'id,text\r\n1,"two\r\nlines"\r\n2,b\r\n', ["two\nlines", "b"]),
        ("t.csv", 'id,text\n1,a 5" nail\n2,b\n', ['a 5" nail', "b"]),
        ("t.csv", 'id, text\n1, "a, b"\n', None),
        ("t.csv", 'id,text\n1, "a, b"\n2, c\n', ["a, b", "c"]),
        ("t.csv", "id;text;score\n1;hello, world;3,5\n2;b;4,0\n", ["hello, world", "b"]),
        ("t.csv", "id\ttext\n1\ta, b\n2\tc\n", ["a, b", "c"]),
        ("t.csv", "id|text\n1|a, b\n2|c;d\n", ["a, b", "c;d"]),
        ("t.csv", "sep=;\nid;text\n1;a, b\n", ["a, b"]),
        ("t.csv", "SEP=|\nid|text\n1|a, b\n", ["a, b"]),
        ("t.csv", 'id,text\n1,"He said \\"hi\\", twice"\n2,"b"\n', ['He said "hi", twice', "b"]),
        ("t.csv", 'id,text\n1,"a\\\\b \\"c\\" \\n"\n', ['a\\b "c" \\n']),
        ("t.csv", 'id,text\n1,"C:\\new"\n', ["C:\\new"]),
        ("t.csv", "text\nhello, world\nb\n", ["hello, world", "b"]),
        ("t.csv", "text\na\n\nb\n", ["a", "", "b"]),
        ("t.csv", "id,text\n1,a\n\n2,b\n", ["a", "b"]),
        ("t.csv", "id,text\n1,\n2,b\n", ["", "b"]),
        ("t.tsv", 'id\ttext\n1\t"a\tb"\n2\t"say ""hi"""\n', ["a\tb", 'say "hi"']),
        ("t.tsv", 'id\ttext\n1\t"Hello," he said.\n2\tb\n', ['"Hello," he said.', "b"]),
        ("t.tsv", 'id\ttext\n1\ta "b" c\n2\td\n', ['a "b" c', "d"]),
        ("t.tsv", 'id\ttext\n1\t"open\n2\tb\n3\tc "\n', ['"open', "b", 'c "']),
    ],
)
def test_dialects(tmp_path: Path, name: str, content: str, expected: list[str] | None) -> None:
    path = written(tmp_path, name, content)
    if expected is None:
        with pytest.raises(UserError, match=r"no column 'text': did you mean ' text'\?"):
            read(path)
    else:
        assert read(path) == expected


def test_recognised_settings_are_reported(tmp_path: Path) -> None:
    said: list[str] = []
    path = written(tmp_path, "t.csv", 'id;text\n1;"a \\"b\\""\n')
    read(path, note=said.append)
    assert said == [f'{path}: fields end at semicolons, quotes in them are escaped as \\"']
    said.clear()
    read(written(tmp_path, "u.csv", "id,text\n1,a\n"), note=said.append)
    assert said == [], "nothing where nothing is to say"


def test_a_dialect_that_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", 'text;n\n"a;b";1\n')
    assert read(path) == ["a;b"]
    with pytest.raises(UserError, match=r"line 2 has 3 fields, the header 2: .*--delimiter, --quotes"):
        read(path, quotes="none")
    assert read(written(tmp_path, "u.csv", "text:n\na,b:1\n"), delimiter=":") == ["a,b"]
    assert read(written(tmp_path, "v.csv", "text\tn\na,b\t1\n"), delimiter="tab") == ["a,b"]
    for wrong in ("", '"', "\n"):
        with pytest.raises(UserError, match=r"delimiter got .*: give for example ';' or tab"):
            ReadOptions(delimiter=wrong)


def test_a_quote_where_none_was_before(tmp_path: Path) -> None:
    """Beyond the rows that a dialect is recognised by, nothing is guessed."""
    rows = "".join(f"{i}\ta b c\n" for i in range(2000))
    path = written(tmp_path, "t.tsv", f'id\ttext\n{rows}2000\t"quoted"\n')
    with pytest.raises(UserError, match="line 2002: a field begins with a quote, and none did before"):
        read(path)
    assert read(path, quotes="double")[-1] == "quoted"
    assert read(path, quotes="none")[-1] == '"quoted"'


def test_a_field_of_any_size(tmp_path: Path) -> None:
    """Python's csv module reads 131,072 characters, then fails."""
    long = "word " * 100_000
    path = written(tmp_path, "t.csv", f'id,text\n1,"{long}"\n2,{long}\n')
    assert read(path) == [long.strip(), long.strip()]


def test_columns_that_are_there_twice(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "text,a,text\n1,2,3\n")
    with pytest.raises(UserError, match="has two columns 'text': rename one of them"):
        read(path)
    assert read(path, text_column="a") == ["2"]


def test_a_column_that_unicode_writes_in_two_ways(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "cafe\u0301,Review: text,#text,no\nx,y,z,w\n")
    names = ("caf\u00e9", "Review: text", "#text", "no")
    assert [read(path, text_column=name) for name in names] == [["x"], ["y"], ["z"], ["w"]]


# JSON


@pytest.mark.parametrize(
    "content",
    [
        '{"text": "a"}\n{"text": "b"}\n',
        '\n{"text": "a"}\r\n\r\n{"text": "b"}',
        '[{"text": "a"}, {"text": "b"}]',
        '[\n  {\n    "text": "a"\n  },\n  {"text":\n "b"}\n]\n',
        '["a", "b"]',
        '"a"\n"b"\n',
        '\ufeff[{"text": "a"},\n{"text": "b"}]',
    ],
)
def test_json(tmp_path: Path, content: str) -> None:
    assert read(written(tmp_path, "t.json", content)) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"},\n{"text": "b"', r"line 2 is not JSON \('{\"text\": \"b\"'\)"),
        ('[{"text": "a"}\n', "line 1: the array is not closed: fetch the file again"),
        ('[{"text": "a"}\n{"text": "b"}]', "line 2 is not JSON"),
        ('[{"text": "a"}]\n{"text": "b"}', "continues after its array"),
        ('{"text": "a"} {"text": "b"}', "line 1 is not JSON"),
        ("[" * 100_000, r"line 1 is not JSON \('\[\["),
        ('{"text": "a"}\n[1]\n', r"line 2 is '\[1\]', not a JSON object"),
        ("{\n", r"line 1 is not JSON \('{'\): write one object a line"),
    ],
)
def test_json_that_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(written(tmp_path, "t.json", content))


def test_a_large_array_is_read_in_time_that_grows_with_it(tmp_path: Path) -> None:
    texts = [f"sentence {i}" for i in range(20_000)]
    one_line = json.dumps([{"text": text} for text in texts])
    indented = json.dumps([{"text": text, "more": list(range(5))} for text in texts], indent=1)
    assert read(written(tmp_path, "a.json", one_line)) == texts
    assert read(written(tmp_path, "b.json", indented)) == texts


# encodings, packed files, several sources, pipes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.jsonl"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str, name: str) -> None:
    content = {"t.txt": "caf\u00e9\n\u4f60", "t.csv": "text\ncaf\u00e9\n\u4f60\n"}
    text = content.get(name, '{"text": "caf\u00e9"}\n{"text": "\u4f60"}')
    path = written(tmp_path, name, text, encoding)
    assert read(path) == ["caf\u00e9", "\u4f60"]
    assert read(path, encoding="latin-1") == ["caf\u00e9", "\u4f60"], "the mark is the file's own word"


def test_an_encoding_that_is_named(tmp_path: Path) -> None:
    latin = written(tmp_path, "l.txt", "a\nna\u00efve\n", "latin-1")
    with pytest.raises(UserError, match=r"byte 0xef at line 2\): give UTF-8 text, or name its encoding"):
        read(latin)
    assert read(latin, encoding="latin-1") == ["a", "na\u00efve"]
    wide = written(tmp_path, "w.txt", "a\nna\u00efve\n", "utf-16-le")
    with pytest.raises(UserError, match=r"byte 0x00 at line 1\): .*--encoding"):
        read(wide)
    assert read(wide, encoding="utf-16-le") == ["a", "na\u00efve"]
    with pytest.raises(UserError, match=r"is not ascii text \(byte 0xef at line 2"):
        read(latin, encoding="ascii")
    for wrong in ("latin-99", "base64", "a\0"):
        with pytest.raises(UserError, match="encoding got"):
            read(latin, encoding=wrong)


def test_the_line_of_a_byte_that_is_no_text(tmp_path: Path) -> None:
    """However far down, and split between two reads."""
    content = b"word \xc3\xa9\n" * 400_000 + b"bad \xff\n"
    with pytest.raises(UserError, match=r"byte 0xff at line 400001"):
        read(written(tmp_path, "t.txt", content))


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\rb\rc", ["a", "b", "c"]),
        ("a\rb\nc", ["a\rb", "c"]),
        ("a\u2028b\x0bc\x85d\n", ["a\u2028b\x0bc\x85d"]),
        ("\n\na\n\n", ["", "", "a", ""]),
        ("a", ["a"]),
    ],
)
def test_line_ends(tmp_path: Path, content: str, lines: list[str]) -> None:
    assert read(written(tmp_path, "t.txt", content)) == lines


def zstd(data: bytes) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as packed:
        packed.write(data)
    return bytes(stream.getvalue())


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.jsonl", "t"])
def test_packed_files(tmp_path: Path, ending: str, name: str) -> None:
    content = {"t.csv": "text\na\nb\n", "t.jsonl": '{"text": "a"}\n{"text": "b"}'}.get(name, "a\nb\n")
    path = written(tmp_path, name + ending, PACKERS[ending](content.encode()))
    assert read(path) == ["a", "b"]
    os.rename(path, tmp_path / name)
    assert read(str(tmp_path / name)) == ["a", "b"], "whatever its name"


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_that_are_damaged(tmp_path: Path, ending: str) -> None:
    packed = PACKERS[ending](os.urandom(5000).hex().encode() * 3)
    path = written(tmp_path, f"t.txt{ending}", packed[:-40])
    with pytest.raises(UserError, match=r"is a damaged (gzip|bzip2|xz|zstd) file"):
        read(path)


def test_a_zip_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a zip archive or an office document: unpack it"):
        read(written(tmp_path, "t.xlsx", b"PK\x03\x04rest"))


def test_several_sources_globs_and_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    a, b = written(tmp_path, "a.txt", "a\n"), written(tmp_path / "deep", "b.csv", "text\nb\n")
    written(tmp_path, "c.md", "not data\n")
    written(tmp_path, ".hidden.txt", "not data\n")
    assert read([b, a]) == ["b", "a"]
    assert read(str(tmp_path / "**" / "*.[tc]*")) == ["a", "b"]
    assert read(str(tmp_path)) == ["a", "b"]
    assert is_table([a, b])
    assert not is_table(a)
    assert content_hash([a, b]) != content_hash([b, a]) != content_hash(a)
    with pytest.raises(UserError, match=r"no file matches .*\*.tsv: check the pattern"):
        read(str(tmp_path / "*.tsv"))
    with pytest.raises(UserError, match="list of data sources is empty"):
        expand([])
    starred = written(tmp_path, "x[1]*.txt", "star\n")
    assert read(starred) == ["star"], "a file of that very name goes before a pattern"
    with pytest.raises(UserError, match=r"e\.txt is empty"):
        read([a, written(tmp_path, "e.txt", "")])


def test_a_folder_of_splits(tmp_path: Path) -> None:
    for name in ("train-0.txt", "train-1.txt", "valid.txt", "test.2016.txt", "notes.txt"):
        written(tmp_path, name, f"{name}\n")
    folder = str(tmp_path)
    assert read(folder) == ["train-0.txt", "train-1.txt"]
    assert find_heldout_source(folder, "valid") == f"{folder}@valid"
    assert find_heldout_source(folder, "test") == f"{folder}@test"
    assert [example.text for example in read_corpus(f"{folder}@test")] == ["test.2016.txt"]
    with pytest.raises(UserError, match="has no split 'tset': did you mean 'test'"):
        next(read_corpus(f"{folder}@tset"))


def test_a_pipe_is_read_once_and_may_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with pytest.raises(UserError, match="is a pipe, which is read once: give it by --corpus"):
        read(str(fifo))
    threading.Thread(target=lambda: fifo.write_text("id,text\n1,a\n2,b\n")).start()
    copy = regular_file(str(fifo))
    assert read(copy) == read(copy) == ["a", "b"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b'{"text": "a"}\n'))))
    kept = regular_file("-", keep=True)
    assert read(kept) == ["a"]
    assert Path(kept).parent == tmp_path / "cache" / "piped"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b'{"text": "a"}\n', mtime=0))))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(UserError, match="- is empty: give data with at least one sentence a line"):
        regular_file("-")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="standard input cannot be shared by several processes"):
        regular_file("-")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"text": "a"}\n', ["a"]),
        ('[\n{"text": "a"}]', ["a"]),
        ("id,text\n1,a\n", ["a"]),
        ("text\ta\nx\ty\n", ["x"]),
        ("text\nmore\n", ["text", "more"]),
        ("a, b\nc\n", ["a, b", "c"]),
        ("[INFO] started\n[WARN] x\n", ["[INFO] started", "[WARN] x"]),
    ],
)
def test_a_file_without_a_known_suffix(tmp_path: Path, content: str, expected: list[str]) -> None:
    said: list[str] = []
    path = written(tmp_path, "data", content)
    assert read(path, note=said.append) == expected
    assert bool(said) == (len(expected) == 1), "what was recognised is said"
    assert read(path, format="lines") == content.strip().split("\n")


def test_parquet_by_content_and_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None, " b "], "n": [1, 2, 3]}), tmp_path / "data")
    examples = list(read_corpus(str(tmp_path / "data"), ReadOptions(labels=("n",), id_column="n")))
    assert [e[:3] for e in examples] == [("a", (1.0,), 1), ("", (2.0,), 2), ("b", (3.0,), 3)]


def test_damaged_pages_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": [f"sentence {i} of many" for i in range(500)]}), path)
    whole = path.read_bytes()
    refused = 0
    for place in range(4, len(whole) // 2, len(whole) // 60):
        path.write_bytes(whole[:place] + b"\xff\x00\xff" + whole[place + 3 :])
        try:
            read(str(path))
        except UserError as error:
            refused += "is not a Parquet file" in str(error)
    assert refused > 5


# running text and biological or chemical files, whose lines are no texts


NOVEL = (
    "THE OLD DOG\r\n\r\n\u201cIs it late?\u201d asked Mr. Smith of the old dog, which had been\r\n"
    "asleep on the warm stones by the gate for most of the afternoon\r\n"
    "and did not answer. It cost 3.5 pounds\u2026 And then?\r\n\r\n"
)


def test_running_text_by_sentence_and_paragraph(tmp_path: Path) -> None:
    path = written(tmp_path, "novel.txt", "\ufeff" + NOVEL)
    asleep = "asleep on the warm stones by the gate for most of the afternoon and did not answer."
    assert read(path, format="sentences") == [
        "THE OLD DOG",
        "\u201cIs it late?\u201d asked Mr. Smith of the old dog, which had been " + asleep,
        "It cost 3.5 pounds\u2026",
        "And then?",
    ]
    assert [len(text.split()) for text in read(path, format="paragraphs")] == [3, 36]
    assert len(read(path)) == len(NOVEL.splitlines())  # each line, as before
    assert read(written(tmp_path, "zh.txt", "今天。明天\uff01\n好"), format="sentences") == [
        "今天。",
        "明天\uff01",
        "好",
    ]
    songs = written(tmp_path, "songs.txt", "a dog\nruns\n\n \na cat\n")
    assert read(songs, format="paragraphs") == ["a dog runs", "a cat"]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (NOVEL * 20, "most lines end where the page is full.*--format sentences"),
        ("a dog runs\nand a cat\n\n" * 20, "blank lines separate blocks.*--format paragraphs"),
        ("<!DOCTYPE html>\n<p>a dog</p>\n", "HTML or XML, whose tags are read as text"),
        ("a dog runs along the road\nthe cat sleeps\n" * 50, None),  # captions without full stops
        ("a dog runs .\n\n" * 50, None),
        ("2026-11-28 12:00:01 INFO worker 17 has served the request 8c51f0 in 3 ms\n" * 50, None),
        ("Bar Note_60 Dur_4 Note_62 Dur_4 Note_64 Dur_4 Note_65 Dur_4 Bar Note_67\n" * 50, None),
    ],
)
def test_lines_that_look_like_no_texts_are_said(tmp_path: Path, content: str, hint: str | None) -> None:
    notes: list[str] = []
    path = written(tmp_path, "lines.txt", content)
    found = read(path, note=notes.append)
    assert len(found) == len(content.splitlines())
    assert len(notes) == (hint is not None)
    assert hint is None or re.search(hint, notes[0])
    read(path, note=notes.append, format="lines")  # who asks for lines knows
    assert len(notes) == (hint is not None)


def test_fasta_records_are_sequences(tmp_path: Path) -> None:
    for name in ("p.fasta", "p.fa", "p.FAA"):
        path = written(tmp_path, name, ">sp|P1|X OS=Homo\nMKV\r\nLLA\n; note\n>sp|P2|Y\n\nACD\n>empty\n")
        assert read(path) == ["MKVLLA", "ACD", ""]
        assert not is_table(path)
    assert read(path, format="lines")[0] == ">sp|P1|X OS=Homo"
    with pytest.raises(UserError, match=r"bad\.fasta, line 1 is no FASTA header \(>\): --format lines"):
        read(written(tmp_path, "bad.fasta", "MKV\n"))


@pytest.mark.parametrize("header", ["", "smiles\tname\n"])
@pytest.mark.parametrize("gap", ["\t", " "])
def test_the_names_of_molecules_are_not_their_text(tmp_path: Path, header: str, gap: str) -> None:
    notes: list[str] = []
    path = written(tmp_path, "m.smi", f"{header}CC(=O)O{gap}acetic acid\nCCO{gap}ethanol\n\nC\n")
    assert read(path, note=notes.append) == ["CC(=O)O", "CCO", "", "C"]
    assert notes == [f"{path}: the first column is read, without the names: --format lines reads whole lines"]
    assert read(written(tmp_path, "bare.smi", "CCO\nC\n"), note=notes.append) == ["CCO", "C"]
    assert len(notes) == 1


@pytest.mark.parametrize("name", ["m.sdf", "m.mol", "r.fastq", "r.fq"])
def test_formats_that_must_be_converted(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, "@r1\nACGT\n+\nIIII\n")
    with pytest.raises(UserError, match=r"convert (it|them) to .*; --format lines reads each line as a text"):
        read(path)
    assert len(read(path, format="lines")) == 4


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"%PDF-1.4\n1 0 obj << /Length 3 >>\nendobj\n", "a PDF, no text file: save its text"),
        (b"{\\rtf1\\ansi a dog\\par}", "an RTF document, no text file: save it as plain text"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document"),
        (b"MThd\0\0\0\6", "a MIDI file, no text file: write its events as tokens"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"\xff\xd8\xff\xe0", "a picture"),
        (b"SQLite format 3\0", "a database"),
        (b"\x93NUMPY\1\0", "a numpy array"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path: Path, head: bytes, what: str) -> None:
    """The advice was --encoding latin-1, with which a PDF was read; one in ASCII was read at once."""
    for encoding in (None, "latin-1"):
        with pytest.raises(UserError, match=f"book.txt is {what}"):
            read(written(tmp_path, "book.txt", head), encoding=encoding)
