"""Labels keep the type of their file, and values unknown in training become missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqvae.config.schema import Component, TextDataConfig
from seqvae.data.label_columns import LabelColumn
from seqvae.data.text.dataset import load_data, load_examples
from seqvae.data.values import Value, Written, is_number, number_of
from seqvae.errors import UserError

WORD = Component(name="word")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))


def column(
    *values: Value, chunk: int = 3, known: Sequence[str] | None = None
) -> tuple[LabelColumn, list[float]]:
    made = LabelColumn("y", known)
    parts = [made.codes(values[i : i + chunk]) for i in range(0, len(values), chunk)]
    return made, made.finished(np.concatenate(parts)).tolist()


def written(*values: str) -> list[Value]:
    return [Written(value) if value else None for value in values]


NAN = math.nan


@pytest.mark.parametrize(
    ("values", "names", "codes"),
    [
        (written("1", "2.5", "", "-3e2"), [], [1, 2.5, NAN, -300]),
        (written("1", "nan", "inf", "2"), [], [1, NAN, NAN, 2]),
        (written("b", "a", "", "b"), ["a", "b"], [1, 0, NAN, 1]),
        (written("nan", "inf", "none"), ["inf", "nan", "none"], [1, 0, 2]),
        (written("007", "7", "10"), ["007", "10", "7"], [0, 2, 1]),
        (written("1_000", "2"), ["1_000", "2"], [0, 1]),
        (written("true", "false", "true"), ["false", "true"], [1, 0, 1]),
        (written(" a", "a", "a "), [" a", "a", "a "], [0, 1, 2]),
        (written("1", "2", "n/a"), ["1", "2", "n/a"], [0, 1, 2]),
        (written("\u0661", "1"), ["1", "\u0661"], [1, 0]),
        (["3", "3", "4"], ["3", "4"], [0, 0, 1]),
        (["", "a", None], ["", "a"], [0, 1, NAN]),
        ([3.0, None, 1e300, math.inf], [], [3, NAN, NAN, NAN]),
    ],
)
def test_what_a_column_is(values: list[Value], names: list[str], codes: list[float]) -> None:
    for chunk in (1, 2, 100):
        made, found = column(*values, chunk=chunk)
        assert made.names == names
        np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize(
    "values", [[1.0, "a"], ["a", 1.0], [1.0, Written("a")], written(*map(str, range(65)), "NA")]
)
def test_numbers_and_names_do_not_mix(values: list[Value]) -> None:
    with pytest.raises(UserError, match="label 'y' mixes numbers with names"):
        column(*values)


def test_many_numbers_that_are_written_are_numbers() -> None:
    made, found = column(*written(*(f"{i}.5" for i in range(12_000))), chunk=4096)
    assert made.names == []
    np.testing.assert_array_equal(found, np.arange(12_000) + 0.5)
    with pytest.raises(UserError, match="label 'y' mixes numbers with names"):
        column(*written(*(f"{i}.5" for i in range(12_000)), "x"), chunk=4096)
    with pytest.raises(UserError, match="has more than 10000 different names"):
        column(*written(*(f"name {i}" for i in range(12_000))), chunk=4096)


def test_other_data_are_numbered_as_training() -> None:
    made, found = column(*written("b", "c", "", "a"), known=["a", "b"])
    np.testing.assert_array_equal(found, [1, NAN, NAN, 0])
    assert made.lost.words("y") == "2 without label 'y' (1 missing; 1 unknown to training: 'c')"
    made, found = column(*written("1", "x", "inf"), 2.0, "3", known=())
    np.testing.assert_array_equal(found, [1, NAN, NAN, 2, 3])
    assert made.lost.words("y") == "2 without label 'y' (2 unknown to training: 'x', 'inf')"


def test_numbers_where_training_had_names() -> None:
    """They are found by their plain spelling, all digits of an integer included."""
    made, found = column(3.0, 1234567.0, 0.5, 4.0, known=["0.5", "1234567", "3"])
    np.testing.assert_array_equal(found, [2, 1, 0, NAN])
    assert made.lost.words("y") == "1 without label 'y' (1 unknown to training: '4')"


def test_what_is_a_number() -> None:
    assert all(map(is_number, ("0", "-1", "+2.", ".5", "1e5", "0.0", "10.25E-3")))
    assert not any(map(is_number, ("", "007", "1_0", " 1", "1 ", "nan", "inf", "0x10", "1,5", "\u0661")))
    assert [number_of(v) for v in ("true", "false", Written("2"), None)][:3] == [1, 0, 2]


def table(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return str(folder / name)


def test_a_class_that_only_held_out_data_have(tmp_path: Path) -> None:
    rows = [{"text": f"a b {i}", "kind": kind, "n": i} for i, kind in enumerate(["x", "y"] * 20)]
    strange: list[dict[str, Any]] = [
        {"text": "a b", "kind": "z", "n": None}, {"text": "a b", "kind": "x", "n": 1},
    ]  # fmt: skip
    train, valid = table(tmp_path, "t.parquet", rows), table(tmp_path, "v.parquet", strange)
    made = load_data(TextDataConfig(train=train, valid=valid, test=valid, labels=["kind", "n"]), WORD)
    np.testing.assert_array_equal(made.valid.labels, [[NAN, NAN], [0, 1]])
    line = "1 without label 'kind' (1 unknown to training: 'z'), 1 without label 'n' (1 missing)"
    assert line in made.report()[1]
    assert line in made.report()[2]


def test_names_where_training_had_numbers(tmp_path: Path) -> None:
    """They are not taken for the numbers of their places."""
    (tmp_path / "t.csv").write_text("text,y\n" + "a b,1\nc d,0\n" * 20)
    (tmp_path / "v.csv").write_text("text,y\na b,pos\nc d,1\n")
    config = TextDataConfig(train=str(tmp_path / "t.csv"), valid=str(tmp_path / "v.csv"), labels=["y"])
    made = load_data(config, WORD)
    np.testing.assert_array_equal(made.valid.labels, [[NAN], [1]])


def test_a_label_whose_column_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,#y,no\n" + "a b,p,1\nc d,q,2\n" * 20)
    config = TextDataConfig(
        train=str(tmp_path / "t.csv"), labels=["y", "n"], label_columns={"y": "#y", "n": "no"}
    )
    made = load_data(config, WORD)
    assert made.labels == ("y", "n")
    assert made.train.categories == {"y": ["p", "q"]}
    (tmp_path / "u.csv").write_text("text,y\nb a,q\n")
    other = config.model_copy(update={"label_columns": {}})
    found = load_examples(str(tmp_path / "u.csv"), made.tokenizer, other, {"y": ["p", "q"], "n": ()})
    np.testing.assert_array_equal(found.labels, [[1, NAN]])
    assert found.notes == [f"{tmp_path / 'u.csv'} has no column 'n': its rows have no such label"]


def test_old_runs_keep_their_fingerprint(tmp_path: Path) -> None:
    """What was prepared before values had types is prepared again, under the same name of its content."""
    (tmp_path / "t.csv").write_text("text,y\n" + "a b,p\nc d,q\n" * 20)
    made = load_data(TextDataConfig(train=str(tmp_path / "t.csv"), labels=["y"]), WORD)
    assert made.train.folder.name == f"{made.fingerprint}-2-train"
