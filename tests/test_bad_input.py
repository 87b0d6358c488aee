"""A user's mistake is one line that names the mistake, the value and what to do, with exit code 2."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from run_cli import Cli
from tiny import BASE, SENTENCES, language_model

Refused = Callable[..., str]


@pytest.fixture
def refused(cli: Cli) -> Refused:
    """Run a command that must be refused; its one line without `seqvae: `."""

    def call(*arguments: object) -> str:
        code, out, err = cli(*arguments)
        assert (code, out) == (2, ""), err
        assert "Traceback" not in err
        *before, line = err.splitlines()
        assert line.startswith("seqvae: "), err
        assert not [other for other in before if other.startswith("seqvae: ")]
        return line.removeprefix("seqvae: ")

    return call


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model(tmp_path_factory)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(BASE))
    return path


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(SENTENCES))
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "absent.txt",
            None,
            r"no data at .*absent.txt: give a file, a folder saved by datasets, or a Hub id",
        ),
        ("empty.txt", b"", r"empty.txt is empty: give a file with at least one sentence a line"),
        ("blank.txt", b"\n \n\n", r"has 0 sentences, too few to set valid and test data aside: add more"),
        ("three.txt", b"a\nb\n", r"has 2 sentences, too few to set valid and test data aside: add more"),
        (
            "data.bin",
            b"MZ\x00\x01\xff",
            r"data.bin is not a text file \(byte 0x00 at line 1\): give UTF-8 text",
        ),
        ("latin.txt", b"a\nna\xefve\n", r"latin.txt is not a text file \(byte 0xef at line 2\): give UTF-8"),
        (
            "t.csv",
            b"id,txt\n1,a\n",
            r"has no column 'text': did you mean 'txt'\? known: id, txt; "
            r"--text-column \(data.text_column\) names it$",
        ),
        (
            "t.jsonl",
            b'{"sentence": "a"}\n',
            r"t.jsonl, line 1 has no column 'text': known: sentence; "
            r"--text-column \(data.text_column\) names it$",
        ),
        ("t.jsonl", b"{\n", r"t.jsonl, line 1 is not JSON \('{'\): write one object a line"),
        ("t.parquet", b"PAR1", r"t.parquet is not a Parquet file \(.*\): give one, or name it by its format"),
        ("t.txt.gz", b"\x1f\x8b\x08\x00", r"t.txt.gz is a damaged gzip file \(.*\): fetch or pack it again"),
    ],
)
def test_a_corpus(refused: Refused, tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    file, out = tmp_path / name, tmp_path / "run"
    if content is not None:
        file.write_bytes(content)
    assert re.search(message, refused("train", "--corpus", file, "--out", out))
    assert not out.exists()


def test_a_folder_that_is_no_corpus(refused: Refused, tmp_path: Path) -> None:
    expected = (
        f"{tmp_path} is a folder without text files (.txt, .text, .log, .fasta, .fa, .faa, .fna, "
        ".smi, .smiles, .jsonl, .ndjson, .json, .csv, .tsv, .parquet), and `datasets` did not save it"
    )
    for source in (tmp_path, f"{tmp_path}@train"):
        assert refused("train", "--corpus", source, "--out", tmp_path / "run") == expected
    (tmp_path / "dataset_info.json").write_text("{}")
    line = refused("train", "--corpus", tmp_path, "--out", tmp_path / "run")
    assert re.search(r"cannot be loaded \(FileNotFoundError: .*\): save it again$", line), line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.txt_column=a", r"unknown key 'data.txt_column': did you mean 'text_column'\? known: "),
        ("train.stpes=5", r"unknown key 'train.stpes': did you mean 'steps'\? known: "),
        ("tran.steps=5", r"unknown key 'tran': did you mean 'train'\? known: attributes, condition, data"),
        ("init={frm: a, parts: []}", r"unknown key 'init.frm'|init.from: Field required"),
        ("encoder.name=gruu", r"^unknown encoder 'gruu': did you mean 'gru'\? known: gru, lstm, pretrained"),
        ("decoder.name=lstmm", r"^unknown decoder 'lstmm': did you mean 'lstm'\?"),
        ("latent.name=gausian", r"^unknown latent 'gausian': did you mean 'gaussian'\?"),
        ("latent.prior={name: standart}", r"^unknown prior 'standart': did you mean 'standard'\?"),
        ("objective.name=elbow", r"^unknown objective 'elbow': did you mean 'elbo'\?"),
        ("tokenizer.name=wrod", r"^unknown tokenizer 'wrod': did you mean 'word'\?"),
        ("data.name=sentence", r"^unknown corpus 'sentence': did you mean 'sentences'\?"),
        ("data.labels=[tens]", r"corpus 'sentences' has no label 'tens': did you mean 'tense'\?"),
        ("remedies=[{name: word_dropuot}]", r"^unknown remedy 'word_dropuot': did you mean 'word_dropout'\?"),
        (
            "remedies=[{name: free_bits, nat: 1}]",
            r"'free_bits' takes no argument 'nat': did you mean 'nats'\?",
        ),
        (
            "remedies=[{name: word_dropout, rate: 2}]",
            r"'word_dropout', argument 'rate' got 2: .*less than or eq",
        ),
        ("remedies=[word_dropout]", r"remedies.0: Input should be .*\(got 'word_dropout'\)"),
        ("encoder.hiden=8", r"^encoder 'gru' takes no argument 'hiden': did you mean 'hidden'\? known: "),
        ("encoder.vocab_size=8", r"^encoder 'gru' takes no argument 'vocab_size'"),
        ("encoder.pooling=maximum", r"^encoder 'gru', argument 'pooling' got 'maximum': "),
        ("decoder.z_to=[stat]", r"^decoder 'gru', argument 'z_to' got \['stat'\]: "),
        ("encoder.hidden=many", r"^encoder 'gru', argument 'hidden' got 'many': .*valid integer"),
        ("latent.dim=0", r"^latent.dim got 0: give at least 1, or `latent: {name: none}` for no code"),
        ("latent.dim=-3", r"^latent.dim got -3: give at least 1"),
        ("tokenizer.vocab_size=99999", r"vocab_size 99999 is more than the training texts give: \d+ words"),
        ("tokenizer.vocab_size=3", r"vocab_size 3 is too small: give at least 5"),
        ("tokenizer={name: file, path: nowhere}", r"no tokenizer at nowhere: give a tokenizer.json"),
        ("tokenizer.name=file", r"^tokenizer 'file' needs path: add it to the config"),
        ("train.lr=-1", r"train.lr: Input should be greater than 0 \(got -1\)"),
        ("train.steps=0", r"train.steps: Input should be greater than 0 \(got 0\)"),
        ("train.optimizer=adma", r"train.optimizer: Input should be 'adamw', 'adam' or 'sgd' \(got 'adma'\)"),
        ("train.device=gpu", r"^device got 'gpu': give auto, cpu, cuda or cuda:N"),
        ("data.train=''", r"data.train: name a file, a folder or a Hub id \(got ''\)"),
        ("data.train=[a.txt, '']", r"data.train: name a file, a folder or a Hub id \(got \['a.txt', ''\]\)"),
        ("data.train=corpus.txt", r"data has both name 'sentences' and train 'corpus.txt': give one of them"),
        ("init={from: nowhere, parts: [encoder]}", r"^nowhere is not a run folder: it has no config.json"),
        ("steps", r"^--set got 'steps': write key.path=value, for example latent.dim=64"),
        ("=3", r"^--set got '=3': write key.path=value"),
        ("train.steps.more=3", r"^--set 'train.steps.more=3': 'steps' holds 40 and has no parts to set"),
        ("train.steps=[", r"^--set 'train.steps=\[': '\[' is not a YAML value"),
        ("encoder.hidden=0", r"^encoder 'gru', argument 'hidden' got 0: Input should be greater than 0"),
        ("decoder.dropout=1", r"^decoder 'gru', argument 'dropout' got 1: Input should be less than 1"),
    ],
)
def test_a_config(refused: Refused, config: Path, tmp_path: Path, override: str, message: str) -> None:
    out = tmp_path / "run"
    line = refused("train", config, "--out", out, "--set", override)
    assert re.search(message, line), line
    assert not out.exists(), "the second try needs no other folder"


def test_a_place_in_a_list(refused: Refused, config: Path, tmp_path: Path) -> None:
    sets = ("--set", "remedies=[{name: free_bits}]", "--set")
    for path in ("remedies.1.nats=2", "remedies.first.nats=2"):
        place = path.split(".")[1]
        expected = f"--set {path!r}: {place!r} is not an index of a list of 1"
        assert refused("train", config, "--out", tmp_path / "run", *sets, path) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none(refused: Refused, config: Path, run: Path, tmp_path: Path) -> None:
    message = "device got 'cuda', but no CUDA device is seen here: use --device cpu or auto"
    assert refused("train", config, "--out", tmp_path / "run", "--set", "train.device=cuda") == message
    assert refused("sample", run, "--device", "cuda") == message


def test_files_that_are_no_config(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    assert "no config file nope.yaml: `seqvae list configs` names" in refused("train", "nope.yaml")
    assert "list.yaml holds no key: value pairs" in refused("train", tmp_path / "list.yaml")
    assert "broken.yaml is not a YAML file: " in refused("show", tmp_path / "broken.yaml")
    assert "no config file nope" in refused("show", "nope")


def test_what_to_train_on(refused: Refused, config: Path, sentences: Path) -> None:
    for arguments in ((), (config, "--corpus", sentences)):
        assert "give a config or --corpus FILE, one of them" in refused("train", *arguments)
    assert "no config file text/nope" in refused("train", "--corpus", sentences, "--recipe", "nope")


def test_a_run_folder_that_is_there(refused: Refused, config: Path, run: Path, tmp_path: Path) -> None:
    before = (run / "config.json").read_text()
    expected = f"{run} exists: choose another --out, or go on with it by `seqvae train --resume {run}`"
    assert refused("train", config, "--out", run) == expected
    assert (run / "config.json").read_text() == before
    (tmp_path / "file").touch()
    assert "exists: choose another --out" in refused("train", config, "--out", tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "reason"), [("x" * 300, "file name too long"), ("proc/x", "no such file or directory")]
)
def test_a_path_where_no_folder_can_be(
    refused: Refused, config: Path, tmp_path: Path, name: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They ended in tracebacks."""
    if "proc" in name:
        monkeypatch.setattr("os.mkdir", raises(errno.ENOENT))
    line = refused("train", config, "--out", tmp_path / name)
    assert line.endswith(f" cannot be made ({reason}): choose another --out")


def test_a_link_to_nothing_is_no_place_for_a_run(refused: Refused, config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to("nowhere")
    expected = f"{tmp_path / 'run'} is a link to nowhere, which is not there: choose another --out"
    assert refused("train", config, "--out", tmp_path / "run") == expected


def raises(number: int) -> Callable[..., None]:
    """A function of the system that fails."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_results_on_a_full_disk(run: Path) -> None:
    """`seqvae sample RUN > file` ended in a traceback."""
    command = [sys.executable, "-m", "seqvae", "sample", str(run), "-n", "2"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "seqvae: no space left: make room, or write elsewhere\n")


def test_a_place_for_no_run(
    refused: Refused, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "run"
    expected = f"{out} cannot be made, {tmp_path / 'file'} is a file: choose another --out"
    assert refused("train", config, "--out", out) == expected
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    out = tmp_path / "some" / "run"
    expected = f"{out} cannot be made, {tmp_path} may not be written to: choose another --out"
    assert refused("train", config, "--out", out) == expected
    assert not out.parent.exists()


def test_what_cannot_be_resumed(refused: Refused, config: Path, run: Path, tmp_path: Path) -> None:
    assert refused("train", "--resume", run) == f"{run} is finished after 40 steps: train a new run"
    assert "is not a run folder: it has no config.json" in refused("train", "--resume", tmp_path)
    expected = f"--resume continues {run} unchanged: leave out CONFIG, --corpus, --set and --out"
    for arguments in ((config,), ("--set", "train.steps=99"), ("--out", tmp_path), ("--corpus", "a.txt")):
        assert refused("train", "--resume", run, *arguments) == expected


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate",),
        ("sample",),
        ("reconstruct", "a cat"),
        ("interpolate", "a", "b"),
        ("encode", "--input", "in.txt", "--output", "z.npy"),
        ("decode", "--input", "z.npy"),
    ],
)
def test_a_folder_that_is_no_run(refused: Refused, tmp_path: Path, command: tuple[str, ...]) -> None:
    verb, *rest = command
    for folder in (tmp_path, tmp_path / "absent"):
        assert refused(verb, folder, *rest) == f"{folder} is not a run folder: it has no config.json"


def test_a_run_of_a_newer_seqvae(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format_version": 7}))
    assert refused("show", tmp_path).endswith("has format 7, this seqvae reads up to 1: update seqvae")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--temperature", 0), "temperature got 0.0: it must be above 0"),
        (("--temperature", "-1"), "temperature got -1.0: it must be above 0"),
        (("--top-p", 2), "top-p got 2.0: it must be in (0, 1]"),
        (("--top-p", 0), "top-p got 0.0: it must be in (0, 1]"),
        (("--top-k", 0), "top-k got 0: it must be above 0"),
        (("--beam", 0), "beam got 0: it must be above 0"),
        (("--max-length", 0), "max-length got 0: it must be above 0"),
        (("--greedy", "--beam", 2), "greedy got True: it must be off when a beam is asked for"),
        (("--device", "gpu"), "device got 'gpu': give auto, cpu, cuda or cuda:N"),
    ],
)
def test_how_to_sample(refused: Refused, run: Path, option: tuple[object, ...], message: str) -> None:
    assert refused("sample", run, *option) == message


def test_paths_and_texts(refused: Refused, run: Path, sentences: Path, tmp_path: Path) -> None:
    assert (
        refused("interpolate", run, "a", "b", "--steps", 1) == "steps got 1: a path has at least its 2 ends"
    )
    assert "'' holds no token: give a sentence" in refused("interpolate", run, "", "b")
    one_of_two = "give sentences as arguments or --input FILE, one of the two"
    assert refused("reconstruct", run) == one_of_two
    assert refused("reconstruct", run, "a", "--input", sentences) == one_of_two
    assert "no data at" in refused("reconstruct", run, "--input", tmp_path / "absent.txt")


def test_outputs(refused: Refused, run: Path, sentences: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.npy"
    there.write_text("keep me")
    encode = ("encode", run, "--input", sentences, "--output")
    assert refused(*encode, there) == f"{there} exists: choose another --output"
    assert there.read_text() == "keep me"
    assert "z.txt ends in .txt: codes are written as .npy or .parquet" in refused(*encode, tmp_path / "z.txt")
    assert "no/where does not exist: make it first" in refused(*encode, tmp_path / "no/where/z.npy")
    assert "no/where does not exist" in refused("cp", "text/quickstart", tmp_path / "no/where/a.yaml")


def test_an_output_that_cannot_be_written(
    refused: Refused, run: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    for name in ("z.npy", "z.parquet"):
        expected = f"cannot write {tmp_path / name} (no space left on device): choose another place"
        assert refused("encode", run, "--input", sentences, "--output", tmp_path / name) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sentences.txt"]


def test_what_to_compare(refused: Refused, sentences: Path, tmp_path: Path) -> None:
    assert "no config file nope: `seqvae list configs` names" in refused("compare", "nope", "--out", tmp_path)
    assert "holds no key: value pairs" in refused("compare", sentences, "--out", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: give a file with at least one sentence a line"),
        ("\n \n", "holds no sentence: write one"),
    ],
)
def test_nothing_to_encode(refused: Refused, run: Path, tmp_path: Path, content: str, message: str) -> None:
    file, z = tmp_path / "in.txt", tmp_path / "z.npy"
    file.write_text(content)
    assert message in refused("encode", run, "--input", file, "--output", z)
    assert not z.exists()


def test_codes_that_do_not_fit(refused: Refused, run: Path, tmp_path: Path) -> None:
    z = tmp_path / "z.npy"
    for shape in ((3, 5), (4,), ()):
        np.save(z, np.zeros(shape, np.float32))
        expected = f"codes have shape {shape}: this model reads (N, 4)"
        assert refused("decode", run, "--input", z) == expected


def test_codes_that_are_no_numbers(refused: Refused, run: Path, tmp_path: Path) -> None:
    z = tmp_path / "z.npy"
    for wrong in (np.nan, np.inf):
        np.save(z, np.array([[0.0] * 4, [wrong, 1, 2, 3]], np.float32))
        expected = "code 1 of 2 holds nan or inf: give finite numbers"
        assert refused("decode", run, "--input", z) == expected


def test_files_that_hold_no_codes(refused: Refused, run: Path, tmp_path: Path) -> None:
    empty, words, table, ragged = (tmp_path / n for n in ("a.npy", "b.npy", "c.parquet", "d.parquet"))
    empty.touch()
    np.save(words, np.array(["a", "b"]))
    pq.write_table(pa.table({"x": [1]}), table)
    pq.write_table(pa.table({"z": [[1.0], [1.0, 2.0]]}), ragged)
    (tmp_path / "e.npy").write_text("a sentence")
    np.save(tmp_path / "f.npy", np.zeros((2, 4), complex))
    assert "unsafe" not in refused("decode", run, "--input", tmp_path / "e.npy")
    assert "(complex128 is no array of numbers)" in refused("decode", run, "--input", tmp_path / "f.npy")
    np.savez(tmp_path / "many.npz", a=np.zeros(3))
    many = (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    for file in (empty, words, table, ragged, many):
        line = refused("decode", run, "--input", file)
        assert re.search(r"holds no codes \(.+\): give a file that `seqvae encode` wrote", line), line
    assert "no file" in refused("decode", run, "--input", tmp_path / "absent.npy")


def test_a_language_model_has_no_code(refused: Refused, lm: Path, sentences: Path, tmp_path: Path) -> None:
    no_code = "this run is a language model (latent: none): it has no code to encode into"
    z = tmp_path / "z.npy"
    assert refused("encode", lm, "--input", sentences, "--output", z) == no_code
    assert refused("reconstruct", lm, "a") == no_code
    assert refused("interpolate", lm, "a", "b") == no_code
    assert not z.exists()


def test_what_to_evaluate(refused: Refused, run: Path, sentences: Path, tmp_path: Path) -> None:
    assert "no data at" in refused("evaluate", run, "--data", tmp_path / "absent.txt")
    assert "samples must be at least 1, got 0" in refused(
        "evaluate", run, "--data", sentences, "--samples", 0
    )


def test_what_to_list_and_copy(refused: Refused, tmp_path: Path) -> None:
    assert refused("list", "remedy").startswith(
        "unknown kind 'remedy': did you mean 'remedies'? known: configs"
    )
    line = refused("cp", "text/quikstart", tmp_path / "a.yaml")
    assert line.startswith("unknown config 'text/quikstart': did you mean 'text/quickstart'? known: ")


def test_a_loss_that_is_no_number(refused: Refused, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wild = ("train.lr=1e9", "train.clip=null", "train.optimizer=sgd", "train.save_every=1")
    sets = [word for value in wild for word in ("--set", value)]
    line = refused("train", config, "--out", run, *sets)
    assert re.search(r"^the loss is not a number at step \d+: the last good checkpoint is .*; lower", line), (
        line
    )
    assert Path(line.split("checkpoint is ")[1].split(";")[0]).is_dir()
