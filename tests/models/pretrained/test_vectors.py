"""Runs on given vectors: vectors and lines are paired correctly, and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tiny_pretrained import LINES, WIDTH, corpus, shared_run, vector_config, vectors

from seqvae.cli import main
from seqvae.config.loading import parse_config
from seqvae.data.text.vectors import read_vectors
from seqvae.errors import UserError
from seqvae.inference import load
from seqvae.modalities import MODALITIES
from seqvae.training.loop import train


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run of encoder vectors and a GRU."""
    return shared_run(tmp_path_factory, "vectors")


def test_each_sentence_has_the_row_of_its_line(tmp_path: Path) -> None:
    """Blank lines count as rows, and shares set aside take their rows along."""
    data = MODALITIES["text"].load_data(vector_config(tmp_path), None)
    matrix = dict(zip([*LINES[:20], "", *LINES[20:]], read_vectors(vectors(tmp_path), "vector"), strict=True))
    splits = data.splits  # type: ignore[attr-defined]
    assert sum(map(len, splits.values())) == len(LINES)
    for store in splits.values():
        texts = data.codec.decode_batch([store.tokens(i).tolist() for i in range(len(store))])  # type: ignore[attr-defined]
        known = np.stack([matrix[text] for text in texts])
        np.testing.assert_array_equal(store.source.values, known)


def test_sentences_left_out_take_their_rows_along(tmp_path: Path) -> None:
    sets = ("data.max_tokens=6", "data.overlong=drop")
    data = MODALITIES["text"].load_data(vector_config(tmp_path, *sets), None)
    matrix = dict(zip([*LINES[:20], "", *LINES[20:]], read_vectors(vectors(tmp_path), "vector"), strict=True))
    store = data.train
    texts = data.codec.decode_batch([store.tokens(i).tolist() for i in range(len(store))])  # type: ignore[attr-defined]
    assert 0 < len(texts) < len(LINES) // 2
    np.testing.assert_array_equal(store.source.values, [matrix[text] for text in texts])  # type: ignore[attr-defined]


def test_a_parquet_column_is_the_same_as_an_array(tmp_path: Path) -> None:
    rows = np.load(vectors(tmp_path))
    texts = [*LINES[:20], "", *LINES[20:]]
    table = pa.table({"text": texts, "emb": pa.array(rows.tolist(), pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "both.parquet")
    both = str(tmp_path / "both.parquet")
    sets = (f"data.train={both}", f"data.vectors={both}", "data.vector_column=emb")
    one, two = (MODALITIES["text"].load_data(vector_config(tmp_path, *s), None) for s in (sets, ()))
    np.testing.assert_array_equal(one.train.source.values, two.train.source.values)  # type: ignore[attr-defined]


def test_codes_of_vectors_and_back(run: Path) -> None:
    vae, matrix = load(run), np.load(run.parent / "vectors.npy")
    z = vae.encode(matrix[:5])
    assert z.shape == (5, 3)
    assert len(vae.decode(z)) == 5
    assert torch.equal(vae.encode(matrix[:5][::-1].copy()), z.flip(0))
    assert vae.evaluate(samples=2)["n"] > 0


def test_decode_encodes_vectors_first(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    matrix = run.parent / "vectors.npy"
    with pytest.raises(SystemExit) as left:
        main(["decode", str(run), "--vectors", str(matrix)])
    assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    vae = load(run)
    assert lines == vae.decode(vae.encode(np.load(matrix)))
    with pytest.raises(SystemExit):
        main(["encode", str(run), "--vectors", str(matrix), "--output", str(tmp_path / "z.npy")])
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), vae.encode(np.load(matrix)).numpy(), atol=1e-6)


def test_the_command_line_trains_on_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--corpus", str(corpus(tmp_path)), "--vectors", str(vectors(tmp_path))]
    small = ["decoder={name: gru, embed: 8, hidden: 8}", "latent={name: gaussian, dim: 2}", "train.steps=2"]
    small += ["train.device=cpu", "remedies=[]"]
    sets = [word for value in small for word in ("--set", value)]
    with pytest.raises(SystemExit) as left:
        main(["train", *given, *sets, "--out", str(tmp_path / "run")])
    assert left.value.code == 0, capsys.readouterr().err
    assert load(tmp_path / "run").vae.encoder.out_dim == WIDTH


REFUSED = {
    "too few rows": (np.zeros((30, 6)), "has 30 rows and there are more examples"),
    "too many rows": (np.zeros((60, 6)), "has 60 rows for 49 examples: give one row per line"),
    "no numbers": (np.full((49, 6), np.nan), "row 0 of .* holds nan or inf"),
    "no matrix": (np.zeros(49), r"holds \(49,\) of float64: give numbers \(N, W\)"),
    "words": (np.array([["a"]] * 49), r"give numbers \(N, W\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_matrices_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    made, (matrix, message) = vector_config(tmp_path), REFUSED[case]
    np.save(tmp_path / "vectors.npy", matrix)
    with pytest.raises(UserError, match=message):
        MODALITIES["text"].load_data(made, None)


def test_vectors_without_a_reader_and_a_reader_without_vectors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="encoder 'gru' reads none: use encoder=vectors"):
        MODALITIES["text"].load_data(vector_config(tmp_path, "encoder={name: gru}"), None)
    with pytest.raises(UserError, match=r"has no vector: data.vectors names"):
        MODALITIES["text"].load_data(vector_config(tmp_path, "data.vectors=null"), None)
    with pytest.raises(UserError, match=r"without data.train"):
        MODALITIES["text"].load_data(vector_config(tmp_path, "data.train=null"), None)
    with pytest.raises(UserError, match=r"no file .*nowhere\.npy"):
        MODALITIES["text"].load_data(vector_config(tmp_path, "data.vectors=nowhere.npy"), None)


def test_another_width_is_refused_naming_both(run: Path, tmp_path: Path) -> None:
    vae = load(run)
    with pytest.raises(UserError, match=r"vectors have shape \(2, 4\): this run reads \(N, 6\)"):
        vae.encode(np.zeros((2, 4), np.float32))
    with pytest.raises(UserError, match="nan or inf"):
        vae.encode(np.full((2, 6), np.inf, np.float32))


VERBS = {
    "encode": (
        ["encode", "{run}", "--input", "{lines}", "--output", "z.npy"],
        "not sentences",
    ),
    "reconstruct": (["reconstruct", "{run}", "a man"], "not sentences"),
    "interpolate": (["interpolate", "{run}", "a man", "a cat"], "not sentences"),
    "score": (["score", "{run}", "a man"], "a score needs the sentence of each too"),
    "edit": (["edit", "{run}", "a", "--towards", "{lines}", "--away", "{lines}"], "not sentences"),
    "neither": (["decode", "{run}"], "give --input FILE of codes or --vectors FILE"),
    "no corpus": (["train", "--vectors", "{lines}"], "goes with --corpus FILE"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_on_sentences_are_refused_in_one_line(
    verb: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command, message = VERBS[verb]
    with pytest.raises(SystemExit) as left:
        main([word.format(run=run, lines=corpus(tmp_path)) for word in command])
    said = capsys.readouterr()
    assert left.value.code == 2, said.err
    assert message in said.err
    assert said.out == ""
    assert message in said.err.splitlines()[-1]  # lines before it report blank rows


def test_vectors_of_another_run_are_refused(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    frozen = shared_run(tmp_path_factory, "frozen")
    with pytest.raises(SystemExit):
        main(["decode", str(frozen), "--vectors", str(run.parent / "vectors.npy")])
    assert "was not trained on vectors (encoder: vectors)" in capsys.readouterr().err


def test_hidden_layers_and_files_for_each_split(tmp_path: Path) -> None:
    made = vector_config(tmp_path, "encoder={name: vectors, hidden: 7, layers: 2}")
    again = {**made.model_dump(by_alias=True)}
    again["data"] |= {"valid": str(corpus(tmp_path)), "valid_vectors": str(tmp_path / "vectors.npy")}
    again["data"] |= {"test_share": 0.0}
    path = train(parse_config(again), tmp_path / "run")
    vae = load(path)
    assert vae.vae.encoder.out_dim == 7
    assert vae.evaluate(samples=1)["n"] == len(LINES)
