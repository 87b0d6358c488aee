"""Given images stay rows, with the values of their files."""

from __future__ import annotations

import bz2
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from run_cli import Cli
from tiny_pictures import grey, loaded, write_folder, write_idx

from seqvae.config.loading import parse_config
from seqvae.config.schema import ImageDataConfig
from seqvae.data.image.dataset import load_data, load_examples
from seqvae.data.image.readers import ReadOptions, load_source
from seqvae.errors import UserError
from seqvae.inference import ImageVAE, load
from seqvae.training.loop import train


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))


def run_on(train_on: Path, out: Path, **data: Any) -> Path:
    """A run of two steps."""
    config = {
        "modality": "image",
        "data": {"train": str(train_on), "test_share": 0, **data},
        "encoder": {"name": "mlp", "hidden": [8]},
        "latent": {"name": "gaussian", "dim": 2},
        "decoder": {"name": "mlp", "hidden": [8]},
        "train": {"steps": 2, "batch_size": 4, "device": "cpu", "precision": "fp32"},
    }
    return train(parse_config(config), out)


def test_several_sources_and_globs(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", grey(3, seed=1))
    np.savez(tmp_path / "b.npz", images=grey(2, seed=2), kind=np.array(["x", "y"]))
    a, b = str(tmp_path / "a.npy"), str(tmp_path / "b.npz")
    found = load_source([b, a], ReadOptions())
    assert np.array_equal(found.pixels, np.concatenate([grey(2, seed=2), grey(3, seed=1)]))
    assert (found.places.tolist(), found.total) == ([0, 1, 2, 3, 4], 5)
    assert found.labels["kind"].names == ("x", "y")
    np.testing.assert_array_equal(found.labels["kind"].values, [0, 1, np.nan, np.nan, np.nan])
    assert len(load_source(str(tmp_path / "*.np?"), ReadOptions()).pixels) == 5
    np.save(tmp_path / "c.npy", grey(2, height=6))
    with pytest.raises(UserError, match=r"a\.npy has pictures of 1 x 5 x 7 and .*c\.npy of 1 x 6 x 7: give"):
        load_source([a, str(tmp_path / "c.npy")], ReadOptions())
    assert len(load_data(ImageDataConfig(train=[a, b])).train) == 3


def test_picture_files_by_themselves(tmp_path: Path) -> None:
    root = write_folder(tmp_path, grey(3), ["", "", ""])
    found = load_source(str(root / "*.png"), ReadOptions())
    assert np.array_equal(found.pixels, grey(3))
    assert found.ids == tuple(str(root / f"00{i}.png") for i in range(3))
    assert np.array_equal(load_source(str(root / "001.png"), ReadOptions()).pixels, grey(3)[1:2])


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress])
def test_packed_arrays(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    ending = ".xz" if pack is lzma.compress else ".bz2"
    idx = write_idx(tmp_path / "train-images-idx3-ubyte", grey(4)[:, 0])
    labels = write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(4, dtype=np.uint8))
    np.save(tmp_path / "a.npy", grey(4))
    for path in (idx, labels, tmp_path / "a.npy"):
        path.with_name(path.name + ending).write_bytes(pack(path.read_bytes()))
        path.unlink()
    found = load_source(str(idx) + ending, ReadOptions())
    assert np.array_equal(found.pixels, grey(4))
    assert found.labels["label"].values.tolist() == [0, 1, 2, 3]
    assert np.array_equal(load_source(str(tmp_path / "a.npy") + ending, ReadOptions()).pixels, grey(4))


def test_a_broken_picture_keeps_its_row(tmp_path: Path, cli: Cli) -> None:
    root = write_folder(tmp_path / "pictures", grey(6), ["cats", "cats", "dogs", "dogs", "dogs", "cats"])
    run = run_on(root, tmp_path / "run", on_bad_image="skip")
    (root / "cats" / "001.png").write_bytes(b"no picture")
    z = tmp_path / "z.parquet"
    code, out, err = cli("encode", run, "--input", root, "--output", z)
    assert (code, out) == (0, f"{z}: 5 codes of 2 dims, of 6 rows\n")
    assert err.splitlines()[-1] == "1 of 6 rows are broken: they keep their place, without a result"
    found = pq.read_table(z)
    assert found["row"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert found["id"].to_pylist()[:3] == ["cats/000.png", "cats/001.png", "cats/005.png"]
    assert np.isnan(np.array(found["z"].to_pylist())).all(1).tolist() == [False, True] + [False] * 4
    scores = json.loads(cli("score", run, "--input", root, "--samples", 1, "--json")[1])
    assert [row["iw_nll"] is None for row in scores] == [False, True] + [False] * 4


def test_a_colour_picture_behind_grey_ones(tmp_path: Path) -> None:
    """The first picture does not decide that the others lose their colours."""
    write_folder(tmp_path, grey(2), ["", ""])
    colours = np.moveaxis(grey(1, channels=3, seed=3)[0], 0, 2)
    Image.fromarray(colours).save(tmp_path / "002.png")
    Image.fromarray(grey(1, seed=4)[0, 0]).save(tmp_path / "003.png")
    found = load_source(str(tmp_path), ReadOptions()).pixels
    assert found.shape == (4, 3, 5, 7)
    assert np.array_equal(found[:2], np.repeat(grey(2), 3, axis=1))
    assert np.array_equal(found[2], np.moveaxis(colours, 2, 0))
    assert np.array_equal(found[3], np.repeat(grey(1, seed=4)[0], 3, axis=0))
    grey_run = load_data(ImageDataConfig(train=str(tmp_path), channels=1)).codec
    again = load_data(ImageDataConfig(train=str(tmp_path)), grey_run)
    assert again.codec.shape == (1, 5, 7), "a run reads its data with the channels that it has"


def test_pictures_are_read_as_the_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    picture = Image.fromarray(grey(1)[0, 0])
    picture.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_source(str(tmp_path), ReadOptions()).pixels[0, 0], np.rot90(grey(1)[0, 0], -1))


def test_dark_pictures_are_no_black_and_white_ones(tmp_path: Path) -> None:
    """Levels 0 and 1 of 255 mean what they meant in training."""
    np.save(tmp_path / "levels.npy", grey(20))
    np.save(tmp_path / "bits.npy", (grey(20) > 99).astype(np.uint8))
    dark = np.ones((2, 1, 5, 7), np.uint8)
    np.save(tmp_path / "dark.npy", dark)
    for name, level in (("levels", 1), ("bits", 255)):
        data = loaded(tmp_path / f"{name}.npy")
        found = load_examples(str(tmp_path / "dark.npy"), data.codec, ImageDataConfig())
        assert found.pixels.max() == level
        valid = loaded(tmp_path / f"{name}.npy", valid=str(tmp_path / "dark.npy")).valid
        assert valid.pixels.max() == level
        assert type(data.codec).from_metadata(data.codec.metadata) == data.codec


def test_values_of_arrays_in_the_api(tmp_path: Path) -> None:
    np.save(tmp_path / "levels.npy", grey(20))
    vae = load(run_on(tmp_path / "levels.npy", tmp_path / "run"), "cpu")
    assert isinstance(vae, ImageVAE)
    z = vae.encode(grey(4))
    for same in (grey(4).astype(np.int64), grey(4) / 255, (grey(4) / 255).astype(np.float32)):
        assert np.allclose(vae.encode(same), z, atol=1e-5)
    for wrong, message in (
        (grey(4).astype(np.float32), r"pictures hold floats from 0 to 249: scale them to \[0, 1\]"),
        (np.full((1, 1, 5, 7), np.nan), "pictures hold floats from nan to nan"),
        (grey(4).astype(np.int64) - 1, "pictures holds whole numbers from -1"),
        ("a.png", "examples got 'a.png', which is one of them: give a list"),
        (tmp_path, "which is one of them: give a list"),
    ):
        with pytest.raises(UserError, match=message):
            vae.encode(wrong)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_labels_of_every_type(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {
        "image": [Image.fromarray(p[0]) for p in grey(8)],
        "name": ["b", "a", None, "b"] * 2,
        "flag": [True, False, None, True] * 2,
        "n": [1.5, None, float("inf"), 1e300] * 2,
        "key": [f"00{i}" for i in range(8)],
    }
    datasets.Dataset.from_dict(rows, features=datasets.Features({
        "image": datasets.Image(), "name": datasets.Value("string"), "flag": datasets.Value("bool"),
        "n": datasets.Value("float64"), "key": datasets.Value("string"),
    })).save_to_disk(str(tmp_path / "d"))  # fmt: skip
    config = ImageDataConfig(labels=["name", "flag", "number"], label_columns={"number": "n"})
    data = load_data(config.model_copy(update={"train": str(tmp_path / "d"), "test_share": 0}))
    whole = load_examples(str(tmp_path / "d"), data.codec, config, None, "key")
    assert whole.categories == {"name": ("a", "b"), "flag": ("false", "true")}
    np.testing.assert_array_equal(
        whole.labels[:4], [[1, 1, 1.5], [0, 0, np.nan], [np.nan] * 3, [1, 1, np.nan]]
    )
    assert whole.ids == tuple(rows["key"])
    with pytest.raises(UserError, match="has no column 'keys': did you mean 'key'"):
        load_examples(str(tmp_path / "d"), data.codec, ImageDataConfig(), None, "keys")


def test_numbers_of_a_class_that_training_had_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", images=grey(20), y=np.arange(20) % 2)
    np.savez(tmp_path / "v.npz", images=grey(4), y=np.array([0.0, 1.0, 7.0, np.inf]))
    lines: list[str] = []

    class Lines:
        note = advance = close = staticmethod(lambda *_: None)
        warn = staticmethod(lines.append)

    config = {
        "modality": "image", "condition": ["y"], "latent": {"name": "gaussian", "dim": 2},
        "encoder": {"name": "mlp", "hidden": [8]}, "decoder": {"name": "mlp", "hidden": [8]},
        "data": {"train": str(tmp_path / "t.npz"), "valid": str(tmp_path / "v.npz"), "labels": ["y"],
                 "test_share": 0},
        "train": {"steps": 2, "batch_size": 4, "device": "cpu", "precision": "fp32"},
    }  # fmt: skip
    train(parse_config(config), tmp_path / "run", Lines())
    assert lines[0] == "valid: 2 of 4 without a known 'y', which the model treats as missing"
