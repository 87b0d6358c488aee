"""A damaged file is read or refused in one line: thousands of them, seeded; never a traceback."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import damaged
from PIL import Image
from tiny import Listener, config
from tiny_pictures import grey

from seqvae.data.image.readers import ReadOptions as ImageReadOptions
from seqvae.data.image.readers import load_source
from seqvae.data.label_columns import LabelColumn
from seqvae.data.text.corpus import read_corpus
from seqvae.data.text.readers import ReadOptions
from seqvae.errors import UserError
from seqvae.inference import load
from seqvae.runs.run_folder import load_run
from seqvae.training.loop import resume, train
from seqvae.utils.signals import Interrupted

OPTIONS = ReadOptions(labels=("n", "kind"), id_column="id")
ROWS = [
    {"id": i, "text": f'the dog {i} says "hi, {chr(0x4E00 + i)}"\nand goes', "n": i / 3, "kind": "ab"[i % 2]}
    for i in range(60)
]


def table(delimiter: str, escape: str = '""') -> bytes:
    lines = [delimiter.join(ROWS[0])]
    for row in ROWS:
        cells = (str(value).replace('"', escape) for value in row.values())
        lines.append(delimiter.join(f'"{cell}"' if '"' in cell or "\n" in cell else cell for cell in cells))
    return "\n".join(lines).encode()


def parquet(**how: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out, **how)
    return out.getvalue()


def picture(form: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(grey(1)[0, 0]).save(out, form)
    return out.getvalue()


def arrays(**named: Any) -> bytes:
    out = io.BytesIO()
    if "only" in named:
        np.save(out, named["only"])
    else:
        np.savez_compressed(out, **named)
    return out.getvalue()


JSONL = "\n".join(map(json.dumps, ROWS)).encode()
CORPORA: dict[str, bytes] = {
    "a.csv": table(","),
    "b.csv": table(";"),
    "c.csv": table(",", '\\"'),
    "a.tsv": table("\t"),
    "d.csv": table(",").decode().encode("utf-16"),
    "a.jsonl": JSONL,
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "a": JSONL,
    "a.jsonl.gz": gzip.compress(JSONL, mtime=0),
    "a.jsonl.bz2": bz2.compress(JSONL),
    "a.jsonl.xz": lzma.compress(JSONL),
    "a.parquet": parquet(),
    "b.parquet": parquet(compression="none", use_dictionary=False),
    "c.parquet": parquet(compression="zstd", data_page_version="2.0", data_page_size=200),
}
IDX = (
    (2051).to_bytes(4, "big")
    + b"".join(n.to_bytes(4, "big") for n in (5, 7, 5))
    + grey(5).tobytes()[: 5 * 35]
)
PICTURES: dict[str, bytes] = {
    "a-images-idx3-ubyte": IDX,
    "b-images-idx3-ubyte.gz": gzip.compress(IDX, mtime=0),
    "a.npy": arrays(only=grey(5)),
    "a.npz": arrays(images=grey(5), y=np.arange(5), names=np.array(list("abcab"))),
    "a.png": picture("png"),
    "a.gif": picture("gif"),
    "a.tif": picture("tiff"),
    "a.bmp": picture("bmp"),
}


def refused(work: Callable[[], object]) -> bool:
    """Whether it raised a user's error; any other error is a failure."""
    try:
        work()
    except UserError:
        return True
    return False


def read_text(path: Path) -> None:
    columns = [LabelColumn(name) for name in OPTIONS.labels]
    rows = list(read_corpus(str(path), OPTIONS))
    for i, column in enumerate(columns):
        column.finished(column.codes([row.labels[i] for row in rows]))
    for row in rows:
        row.text.encode()


def read_picture(path: Path) -> None:
    loaded = load_source(str(path), ImageReadOptions())
    assert loaded.pixels.dtype == np.uint8
    assert np.isfinite(np.asarray(loaded.pixels).sum())


def cases(files: dict[str, bytes], count: int) -> Iterator[tuple[str, bytes]]:
    names = list(files)
    for seed in range(count):
        name = names[seed % len(names)]
        yield name, damaged(files[name], seed)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))


def test_whole_files_are_read(tmp_path: Path) -> None:
    for files, read in ((CORPORA, read_text), (PICTURES, read_picture)):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
            assert not refused(partial(read, tmp_path / name)), name
    texts = {tuple(row.text for row in read_corpus(str(tmp_path / name), OPTIONS)) for name in CORPORA}
    assert len(texts) == 1, "whatever their format, they say the same"


def corpora(tmp_path: Path, count: int) -> int:
    found = 0
    for name, data in cases(CORPORA, count):
        (tmp_path / name).write_bytes(data)
        found += refused(partial(read_text, tmp_path / name))
    return found


def test_damaged_corpora(tmp_path: Path) -> None:
    assert corpora(tmp_path, 500) > 250


@pytest.mark.long
def test_twenty_thousand_damaged_corpora(tmp_path: Path) -> None:
    assert corpora(tmp_path, 20_000) > 10_000


def pictures(tmp_path: Path, count: int) -> int:
    found = 0
    for name, data in cases(PICTURES, count):
        (tmp_path / name).write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's, of files that it reads all the same
            found += refused(partial(read_picture, tmp_path / name))
    return found


def test_damaged_pictures(tmp_path: Path) -> None:
    assert pictures(tmp_path, 200) > 80


@pytest.mark.long
def test_five_thousand_damaged_pictures(tmp_path: Path) -> None:
    assert pictures(tmp_path, 5000) > 2000


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that can be resumed."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        train(config("train.steps=4", "train.validate_every=2"), path, Listener("step 2 "))
    return path


def folders(run: Path, tmp_path: Path, count: int, use: Callable[[Path], object]) -> int:
    files = sorted(p.relative_to(run) for p in run.rglob("*") if p.is_file())
    found = 0
    for seed in range(count):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        victim = copy / files[seed % len(files)]
        victim.write_bytes(damaged(victim.read_bytes(), seed))
        found += refused(partial(use, copy))
    return found


def use_run(path: Path) -> None:
    vae = load(path, "cpu")
    vae.encode(["the dog sees a cat ."])
    vae.score(["the dog"], samples=1)


def go_on(path: Path) -> None:
    resume(path, Listener())
    load_run(path)


def test_damaged_run_folders(run: Path, stopped: Path, tmp_path: Path) -> None:
    assert folders(run, tmp_path, 40, use_run) > 5
    assert folders(stopped, tmp_path, 24, go_on) > 5


@pytest.mark.long
def test_three_thousand_damaged_run_folders(run: Path, stopped: Path, tmp_path: Path) -> None:
    assert folders(run, tmp_path, 2400, use_run) > 300
    assert folders(stopped, tmp_path, 600, go_on) > 100
