"""Shards at an S3 server on loopback, many programs that prepare at once, and the verb that prepares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from seqvae.cli import app
from seqvae.config.schema import Component, TextDataConfig
from seqvae.data.preparation import Preparation
from seqvae.data.remote import expand_url, url_version
from seqvae.data.text.dataset import load_data
from seqvae.errors import UserError
from seqvae.utils.jobs.scheduler import Slot

WORD = Component(name="word")
SMALL = {"shard_mb": 1e-6, "valid_share": 0.1, "test_share": 0.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def lines_of(shard: int, rows: int = 40) -> str:
    return "".join(f"a s{shard} r{i}" + " x" * (i % 5) + "\n" for i in range(rows))


def write_files(folder: Path, shards: int = 4) -> str:
    folder.mkdir(exist_ok=True)
    for shard in range(shards):
        (folder / f"part-{shard}.txt").write_text(lines_of(shard))
    return str(folder / "part-*.txt")


def config_of(train: str, **settings: object) -> TextDataConfig:
    return TextDataConfig(train=train, **{**SMALL, **settings})  # type: ignore[arg-type]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket at an S3 server of moto's."""
    s3fs = pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    with suppress(FileExistsError):  # what a server holds outlives it
        s3fs.S3FileSystem().mkdir("corpora")
    yield "s3://corpora"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_shards_in_a_bucket(tmp_path: Path, s3: str) -> None:
    import fsspec

    pattern = write_files(tmp_path / "c")
    for shard in range(4):
        with fsspec.open(f"{s3}/in/part-{shard}.txt", "w") as file:
            file.write(lines_of(shard))
    here = load_data(config_of(pattern), WORD)
    there = load_data(config_of(f"{s3}/in/*.txt", store=f"{s3}/kept"), WORD)
    assert there.split_fingerprint("train") == here.split_fingerprint("train")
    assert there.tokenizer.fingerprint == here.tokenizer.fingerprint
    marks = [name for name in expand_url(f"{s3}/kept") if name.endswith("meta.json")]
    assert len(marks) == 4
    before = url_version(f"{s3}/in/part-0.txt")
    with fsspec.open(f"{s3}/in/part-0.txt", "w") as file:
        file.write("changed\n")
    fsspec.filesystem("s3").invalidate_cache()
    assert url_version(f"{s3}/in/part-0.txt") != before


def test_a_bucket_that_is_not_there(s3: str) -> None:
    with pytest.raises(UserError, match=r"s3://nowhere/x\.txt"):
        load_data(config_of("s3://nowhere/x.txt"), WORD)


def test_addresses_of_the_hub_are_known() -> None:
    from fsspec import get_filesystem_class

    assert get_filesystem_class("hf").__name__ == "HfFileSystem"


def test_processes_share_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = write_files(tmp_path / "c", shards=2)
    serial = load_data(config_of(pattern), WORD)
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "other"))
    parallel = load_data(config_of(pattern), WORD, how=Preparation(places=[Slot(threads=1)] * 2))
    assert parallel.split_fingerprint("train") == serial.split_fingerprint("train")
    assert parallel.train.key == serial.train.key


def test_many_programs_prepare_each_shard_once(tmp_path: Path) -> None:
    pattern = write_files(tmp_path / "c", shards=6)
    code = (
        "import os, sys\n"
        "from seqvae.config.schema import Component, TextDataConfig\n"
        "from seqvae.data.text import stores\n"
        "from seqvae.data.text.dataset import load_data\n"
        "build = stores.StoreMaker.build\n"
        "def counted(self, split, folder):\n"
        "    if self.training:\n"
        "        print(split.name, flush=True)\n"
        "    return build(self, split, folder)\n"
        "stores.StoreMaker.build = counted\n"
        "data = TextDataConfig.model_validate_json(sys.argv[1])\n"
        "found = load_data(data, Component(name='word'))\n"
        "print('key', found.train.key)\n"
    )
    data = config_of(pattern, store=str(tmp_path / "kept")).model_dump_json()
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", code, data],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "SEQVAE_CACHE": str(tmp_path / f"cache-{i}")},
        )
        for i in range(2)
    ]
    said = [line for program in programs for line in program.communicate()[0].splitlines()]
    assert [program.returncode for program in programs] == [0, 0]
    prepared = Counter(line.split(" (")[0] for line in said if line.startswith("shard"))
    assert prepared == {f"shard {i}": 1 for i in range(6)}
    assert len({line for line in said if line.startswith("key")}) == 1


def test_the_verb(tmp_path: Path) -> None:
    pattern = write_files(tmp_path / "c")
    sets = ["--set", "data.shard_mb=0.000001", "--set", "data.valid_share=0.1"]
    done = CliRunner().invoke(app, ["prepare", "--corpus", pattern, *sets, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["train"]["shards"] == 4
    assert sum(split["sentences"] for split in found.values()) == 160
    assert found["train"]["bytes"] > found["train"]["tokens"]
    refused = CliRunner().invoke(app, ["prepare", "image/blob"])
    assert isinstance(refused.exception, UserError)
    assert "prepare reads text" in str(refused.exception)


def test_a_run_on_shards_trains_resumes_and_is_measured(tmp_path: Path) -> None:
    small = ("encoder.hidden=8", "encoder.embed=8", "decoder.hidden=8", "decoder.embed=8", "latent.dim=2")
    more = ("data.shard_mb=0.000001", "data.mix_shards=2", "data.valid_share=0.1", "train.steps=6")
    sets = [word for s in (*small, *more, "train.device=cpu") for word in ("--set", s)]
    pattern, out = write_files(tmp_path / "c"), tmp_path / "run"
    done = CliRunner().invoke(app, ["train", "--corpus", pattern, "--out", str(out), *sets])
    assert done.exit_code == 0, done.output
    assert "the corpus asks for" in " ".join(done.stderr.split())
    measured = CliRunner().invoke(app, ["evaluate", str(out), "--json", "--samples", "2"])
    assert measured.exit_code == 0, measured.output
    assert np.isfinite(json.loads(measured.stdout)["neg_elbo"])
    (tmp_path / "c" / "part-1.txt").write_text("other\n" * 30)
    refused = CliRunner().invoke(app, ["rate", str(out), "--data", "train"])
    assert "the train split of" in str(refused.exception)
