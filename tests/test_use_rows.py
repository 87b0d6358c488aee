"""Rows of a user stay rows: in files of every format, through every verb, and in output."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from run_cli import Cli
from tiny import SENTENCES, trained

from seqvae.cli import main
from seqvae.cli.printing import escape_controls
from seqvae.config.loading import load_config
from seqvae.errors import UserError
from seqvae.inference import TextVAE, load
from seqvae.inference.inputs import examples_in

A = SENTENCES[0]


@pytest.fixture(scope="module")
def labelled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conditioned on a label of awkward classes, from a column of an awkward name."""
    base = tmp_path_factory.getbasetemp()
    file = base / "awkward.csv"
    rows = [f"the dog {i % 9} sees a cat .,{('no', ' no', '#text', '')[i % 4]}" for i in range(120)]
    file.write_text("Review: text,a=b\n" + "\n".join(rows))
    data = f'data={{train: "{file}", text_column: "Review: text", labels: ["a=b"]}}'
    return trained(base, "told-run", data, 'condition=["a=b"]', "train.steps=3")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Five rows, two of them without a text."""
    path = tmp_path / "in.csv"
    path.write_text(f'key;body;mood\n007;"{A}";pos\n008;;neg\n009;"a cat";\n010;" ";neg\n011;"a; cat";pos\n')
    return path


COLUMNS = ("--text-column", "body", "--id-column", "key", "--label", "feeling=mood")


def test_codes_keep_the_rows_of_a_table(cli: Cli, run: Path, table: Path, tmp_path: Path) -> None:
    z = tmp_path / "z.parquet"
    code, out, err = cli("encode", run, "--input", table, "--output", z, *COLUMNS)
    assert (code, out) == (0, f"{z}: 3 codes of 4 dims, of 5 rows\n")
    assert err.splitlines() == [
        f"{table}: fields end at semicolons",
        "2 of 5 rows are without a text: they keep their place, without a result",
    ]
    found = pq.read_table(z)
    assert found.column_names == ["row", "id", "text", "feeling", "unknown_tokens", "z"]
    assert found["row"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["id"].to_pylist() == ["007", "008", "009", "010", "011"]
    assert found["text"].to_pylist() == [A, "", "a cat", "", "a; cat"]
    assert found["feeling"].to_pylist() == ["pos", "neg", None, "neg", "pos"]
    rows = np.array(found["z"].to_pylist())
    assert np.isnan(rows).all(1).tolist() == [False, True, False, True, False]
    expected = TextVAE.from_pretrained(run).encode([A, "a cat", "a; cat"]).numpy()
    np.testing.assert_array_equal(rows[[0, 2, 4]].astype(np.float32), expected)


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_empty_rows_by_choice(cli: Cli, run: Path, table: Path, tmp_path: Path, ending: str) -> None:
    made: dict[str, Any] = {}
    for empty in ("nan", "mask", "drop"):
        made[empty] = tmp_path / f"{empty}.{ending}"
        code = cli("encode", run, "--input", table, "--output", made[empty], *COLUMNS, "--empty", empty)[0]
        assert code == 0
    decoded = {empty: cli("decode", run, "--input", file)[1].splitlines() for empty, file in made.items()}
    assert decoded["nan"] == decoded["mask"]
    assert [bool(line) for line in decoded["nan"]] == [True, False, True, False, True]
    assert decoded["drop"] == [line for line in decoded["nan"] if line]
    if ending == "npy":
        mask = np.load(tmp_path / "mask.mask.npy")
        assert mask.tolist() == [True, False, True, False, True]
        assert np.load(made["mask"])[~mask].tolist() == [[0.0] * 4] * 2
    else:
        assert pq.read_table(made["drop"])["row"].to_pylist() == [0, 2, 4]
        assert [row is None for row in pq.read_table(made["mask"])["z"].to_pylist()] == [
            False, True, False, True, False,
        ]  # fmt: skip
    assert cli("encode", run, "--input", table, "--output", made["mask"], *COLUMNS)[0] == 2


def test_every_verb_keeps_the_rows(cli: Cli, run: Path, table: Path) -> None:
    scores = json.loads(cli("score", run, "--input", table, *COLUMNS, "--samples", 1, "--json")[1])
    assert [row["id"] for row in scores] == ["007", "008", "009", "010", "011"]
    assert [row["iw_nll"] is None for row in scores] == [False, True, False, True, False]
    again = json.loads(cli("score", run, "--data", table, *COLUMNS, "--samples", 1, "--json")[1])
    assert again == scores, "--data FILE reads as --input FILE does"
    lines = cli("score", run, "--input", table, *COLUMNS, "--samples", 1)[1].splitlines()
    assert len(lines) == 2 + 5
    assert lines[3].split() == ["-"] * 5
    back = json.loads(cli("reconstruct", run, "--input", table, *COLUMNS, "--json")[1])
    assert [row["text"] for row in back] == [A, "", "a cat", "", "a <unk> cat"] or back[1]["exact"] is None
    assert len(cli("reconstruct", run, "--input", table, *COLUMNS)[1].splitlines()) == 2 * 5
    (table.parent / "others.csv").write_text("key;body;mood\n1;she sells eggs;pos\n")
    moved = ("--towards", table, "--away", table.parent / "others.csv", "--strength", "0,1")
    edited = json.loads(cli("edit", run, "--input", table, *moved, *COLUMNS, "--json")[1])
    assert [sorted(row["edited"]) for row in edited] == [["0.0", "1.0"]] * 5
    assert edited[1] == {"text": "", "edited": {"0.0": None, "1.0": None}}


def test_several_inputs_one_after_the_other(cli: Cli, run: Path, tmp_path: Path) -> None:
    for name, text in (("a.txt", "a cat\n"), ("b.txt", "she sells eggs\n\n")):
        (tmp_path / name).write_text(text)
    for inputs in (
        ["--input", tmp_path / "a.txt", "--input", tmp_path / "b.txt"],
        ["--input", tmp_path / "*.txt"],
    ):
        rows = json.loads(cli("score", run, *inputs, "--samples", 1, "--json")[1])
        assert [row["text"] for row in rows] == ["a cat", "she sells eggs", ""]
    report = json.loads(cli("evaluate", run, "--data", tmp_path, "--samples", 1, "--json")[1])
    assert (report["n"], report["data"]) == (2, str(tmp_path))


def test_standard_input_is_a_file_like_any_other(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    give(f'{{"text": "{A}"}}\n{{"text": null}}\n'.encode())
    rows = json.loads(cli("score", run, "--input", "-", "--samples", 1, "--json")[1])
    assert [row["text"] for row in rows] == [A, ""]
    give(b"caf\xe9\n")
    code, _, err = cli("score", run, "--input", "-", "--samples", 1)
    assert code == 2
    assert "is not a text file (byte 0xe9 at line 1): give UTF-8 text, or name its encoding" in err
    give(b"caf\xe9\n")
    assert cli("score", run, "--input", "-", "--samples", 1, "--encoding", "latin-1")[0] == 0
    give(b"")
    assert (
        cli("score", run, "--input", "-")[2]
        == "seqvae: - is empty: give data with at least one sentence a line\n"
    )
    give(f"{A}\na cat\n".encode())
    assert json.loads(cli("evaluate", run, "--data", "-", "--samples", 1, "--json")[1])["n"] == 2


def test_process_substitution(run: Path) -> None:
    rows = "<(printf 'a cat\\n\\na cat\\n')"
    script = f"exec {sys.executable} -m seqvae reconstruct {run} --input {rows} --device cpu"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    lines = found.stdout.splitlines()
    assert (lines[0], lines[2:4], lines[4]) == ("a cat", ["", ""], "a cat")


def test_options_of_reading_need_a_file(cli: Cli, run: Path) -> None:
    expected = "seqvae: --text-column says how a file is read, and none is named: leave it out\n"
    for verb in (("score", run, A), ("evaluate", run), ("reconstruct", run, A)):
        assert cli(*verb, "--text-column", "x")[::2] == (2, expected)
    code, _, err = cli(
        "score", run, "--data", "valid", "--examples", 2, "--encoding", "latin-1", "--samples", 1
    )
    assert (code, "--encoding says how a file is read" in err) == (2, True)
    assert (
        "--image-column does not apply to text runs"
        in cli("score", run, "--input", "x", "--image-column", "y")[2]
    )


SMALL = ("encoder.hidden=8", "encoder.embed=8", "decoder.hidden=8", "decoder.embed=8", "latent.dim=2",
         "train.steps=2", "train.device=cpu")  # fmt: skip


def test_a_corpus_of_many_files(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"the dog {i} sees a cat" for i in range(30)]
    Path("b.txt").write_text("\n".join(lines))
    Path("a.csv").write_bytes("\n".join(["n;s;mood", *(f"1;{t};x" for t in lines)]).encode("utf-16"))
    sets = [word for value in SMALL for word in ("--set", value)]
    code, out, err = cli(
        "train", "--corpus", "a.csv", "--corpus", "b.txt", "--out", "one", "--text-column", "s", *sets
    )
    assert (code, out) == (0, "one\n"), err
    assert f"{Path('a.csv').resolve()}: fields end at semicolons" in err.splitlines()
    data = load_config("one/config.yaml").data
    absolute = [str(Path(name).resolve()) for name in ("a.csv", "b.txt")]
    assert (data.train, data.text_column) == (absolute, "s")  # type: ignore[attr-defined]
    assert "of 57 sentences" in err or "train: 56 sentences" in err or "train: 54 sentences" in err
    code, _, err = cli("train", "--corpus", "*.txt", "--out", "two", *sets)
    assert code == 0, err
    code, _, err = cli(
        "train", "--corpus", "a.csv", "--label", "mood", "--text-column", "s", "--out", "three", *sets
    )
    assert code == 0
    assert load_config("three/config.yaml").data.labels == ["mood"]
    assert cli("evaluate", "three", "--samples", 1)[0] == 0
    assert "--id-column says which row is which" in cli("train", "--corpus", "b.txt", "--id-column", "n")[2]


def test_a_corpus_from_standard_input_can_be_resumed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))
    text = "\n".join(f"the dog {i} sees a cat" for i in range(400))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, out, err = cli("train", "--corpus", "-", *[word for value in SMALL for word in ("--set", value)])
    assert (code, out) == (0, "runs/stdin\n"), err
    kept = Path(str(load_config("runs/stdin/config.yaml").data.train))
    assert kept.read_text() == text
    assert cli("evaluate", "runs/stdin", "--samples", 1)[0] == 0


def test_any_name_of_a_column_and_of_a_class(cli: Cli, labelled_run: Path, tmp_path: Path) -> None:
    card = load_config(labelled_run / "config.yaml").condition["a=b"]
    assert card is not None
    assert card.classes == [" no", "#text", "no"]
    for value in card.classes:
        assert cli("sample", labelled_run, "-n", 1, "--condition", f"a=b={value}")[0] == 0
    code, _, err = cli("sample", labelled_run, "-n", 1, "--condition", "a=b=x")
    assert (code, "condition 'a=b' got 'x'" in err) == (2, True)
    rows = tmp_path / "rows.csv"
    rows.write_text("Review: text,a=b\nthe dog,no\nthe cat,yes\nthe cat,\n")
    code, out, err = cli("score", labelled_run, "--input", rows, "--samples", 1, "--json")
    assert (code, len(json.loads(out))) == (0, 3)
    assert "2 of 3 rows without label 'a=b' ('yes' unknown to training)" in err
    own = cli("score", labelled_run, "the dog", "--condition", "a=b=no", "--samples", 1, "--json")[1]
    assert json.loads(out)[0]["iw_nll"] == pytest.approx(json.loads(own)[0]["iw_nll"], abs=1e-4)
    other = tmp_path / "other.csv"
    other.write_text("Review: text,kind\nthe dog,no\n")
    refused = cli("score", labelled_run, "--input", other, "--samples", 1)
    assert refused[0] == 2
    assert "this model is conditioned on 'a=b', which is missing here" in refused[2]
    renamed = cli("score", labelled_run, "--input", other, "--samples", 1, "--json", "--label", "a=b=kind")
    assert renamed[0] == 2 or json.loads(renamed[1])[0]["iw_nll"] is not None


def test_one_string_is_not_three_sentences(run: Path) -> None:
    vae = load(run, "cpu")
    assert isinstance(vae, TextVAE)
    for call in (vae.encode, vae.reconstruct, vae.score, lambda t: vae.edit(t, ["a"], ["b"]),
                 lambda t: vae.direction(t, ["a"])):  # fmt: skip
        with pytest.raises(
            UserError, match=r"examples got 'dog', which is one of them: give a list, \['dog'\]"
        ):
            call("dog")
    for wrong, shown in ((None, "text 1 is 'None', a NoneType"), (7, "text 1 is '7', a int")):
        with pytest.raises(UserError, match=f"{shown}: give strings"):
            vae.encode(["dog", wrong])


def test_texts_are_cleaned_in_use_as_in_training(run: Path) -> None:
    vae = load(run, "cpu")
    np.testing.assert_array_equal(vae.encode([f" {A}\n"]), vae.encode([A]))
    assert vae.encode(["a \ud83d cat"]).shape == (1, 4)


def test_a_line_of_output_is_a_sentence() -> None:
    assert escape_controls("a\nb\tc\x00\x1b[1m\x85\u2028d\\n\u00e9") == (
        "a\\nb\\tc\\u0000\\u001b[1m\\u0085\\u2028d\\n\u00e9"
    )


def test_generated_text_with_line_ends(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A character model of texts with line ends writes some."""
    base = tmp_path_factory.getbasetemp()
    file = base / "poems.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"a\n{c}\nb"}) for c in "cdefghij" * 8))
    run = trained(base, "poems", f"data={{train: {file}}}", "tokenizer.name=char", "train.steps=60")
    plain = cli("sample", run, "-n", 20)[1].splitlines()
    assert len(plain) == 20
    exact = cli("sample", run, "-n", 20, "--print0")[1].split("\0")
    assert exact.pop() == ""
    assert [escape_controls(text) for text in exact] == plain
    assert any("\n" in text for text in exact)
    assert [row["text"] for row in json.loads(cli("sample", run, "-n", 20, "--json")[1])] == exact


WIDE = "caf\u00e9 \u4f60"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_in_any_encoding(run: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for more in ([], ["--json"]):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as left:
            main(["score", str(run), WIDE, "--samples", "1", "--device", "cpu", *more])
        assert not left.value.code
        stdout.flush()
        text = stdout.buffer.getvalue().decode(encoding)
        if more:
            assert json.loads(text)[0]["text"] == WIDE
        else:
            assert WIDE.encode(encoding, "backslashreplace").decode(encoding) in text


def test_output_of_a_process_in_ascii(run: Path) -> None:
    command = [sys.executable, "-m", "seqvae", "score", str(run), WIDE, "--samples", "1", "--device", "cpu"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert "caf\\xe9 \\u4f60" in found.stdout.decode("ascii")


def test_examples_know_their_places(run: Path, table: Path) -> None:
    vae = load(run, "cpu").with_data(text_column="body")
    found = examples_in(vae, str(table), 4, id_column="key")
    assert (found.places, found.total, found.left_out) == ([0, 2], 4, 2)
    assert found.spread(["x", "y"], "-") == ["x", "-", "y", "-"]


@pytest.mark.parametrize(
    "name", ["donn\u00e9es \u65e5\u672c.csv", "[bold]x.csv", "a\nb.csv", "#no.csv", "-.csv"]
)
def test_any_name_of_a_file(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("text;y\n" + "\n".join(f"the dog {i} sees a cat;x" for i in range(400)))
    sets = [word for value in SMALL for word in ("--set", value)]
    code, out, err = cli("train", "--corpus", f"./{name}", "--out", "run", *sets)
    assert (code, out) == (0, "run\n"), err
    assert "fields end at semicolons" in err
    assert load_config("run/config.yaml").data.train == str(tmp_path / name)
    assert cli("evaluate", "run", "--samples", 1, "--data", f"./{name}", "--examples", 20)[0] == 0
    assert cli("encode", "run", "--input", f"./{name}", "--output", "z.npy")[0] == 0


def test_a_file_name_that_is_no_unicode(cli: Cli, run: Path, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")
    Path(path).write_text("text;y\na cat;x\n")
    assert cli("score", run, "--input", path, "--samples", 1)[0] == 0
    assert cli("evaluate", run, "--data", path, "--samples", 1, "--json")[0] == 0
    code, _, err = cli("train", "--corpus", path, "--out", tmp_path / "run")
    assert (code, "this name is not valid Unicode: rename it" in err) == (2, True)
