"""Every source of images: what is read, and the messages where that fails.

Shapes: N pictures, C x H x W pixels.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_pictures import grey, loaded, write_folder, write_idx

from seqvae.config.schema import ImageDataConfig
from seqvae.data.image.dataset import load_data, load_examples
from seqvae.data.image.pixels import ImageSpec, with_channels
from seqvae.data.image.readers import ReadOptions, load_source
from seqvae.errors import UserError

PLAIN = ReadOptions()


def mnist_like(folder: Path, suffix: str = ".gz", train: int = 40, test: int = 6) -> Path:
    """Four files with MNIST's names; the path of the training pictures."""
    for part, n, seed in (("train", train, 1), ("t10k", test, 2)):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", grey(n, seed=seed)[:, 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", (np.arange(n) % 10).astype(np.uint8))
    return folder / f"train-images-idx3-ubyte{suffix}"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_round_trip(tmp_path: Path, suffix: str) -> None:
    found = load_source(str(mnist_like(tmp_path, suffix)), PLAIN)
    assert np.array_equal(found.pixels, grey(40, seed=1))
    assert found.labels["label"].values.tolist() == [float(i % 10) for i in range(40)]
    assert isinstance(found.pixels, np.memmap) == (suffix == "")  # a plain file is not read


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda p: write_idx(p, grey(3)[:, 0], magic=2049), "starts with the magic number 2049, not 2051"),
        (lambda p: p.write_bytes(b"hello"), "starts with the magic number 1751477356, not 2051"),
        (lambda p: p.write_bytes(b""), "starts with the magic number 0"),
        (
            lambda p: p.write_bytes(write_idx(p, grey(3)[:, 0]).read_bytes()[:-1]),
            "is cut short: .* 105 bytes, it has 104",
        ),
        (
            lambda p: p.write_bytes(write_idx(p, grey(3)[:, 0]).read_bytes() + b"x"),
            "holds too much: .* 105 bytes",
        ),
    ],
    ids=["labels", "text", "empty", "short", "long"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_idx_file(tmp_path: Path, write: Any, told: str, packed: bool) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    write(path)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match=told):
        loaded(path)


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    path = mnist_like(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="is a damaged gzip file"):
        loaded(path)


def test_labels_of_another_file_are_refused(tmp_path: Path) -> None:
    path = mnist_like(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(39, np.uint8))
    with pytest.raises(UserError, match=r"labels 39 pictures, train-images-idx3-ubyte\.gz has 40"):
        loaded(path, labels=["label"])


def test_the_t10k_file_is_the_test_split_and_validation_a_seeded_share(tmp_path: Path) -> None:
    path = mnist_like(tmp_path)
    data = loaded(path, labels=["label"], valid_share=0.25)
    assert [len(store) for store in data.splits.values()] == [30, 10, 6]
    assert np.array_equal(data.splits["test"].pixels, grey(6, seed=2))
    rows = np.concatenate([data.train.places, data.valid.places])
    assert sorted(rows.tolist()) == list(range(40))
    for store in (data.train, data.valid):
        assert np.array_equal(store.pixels, grey(40, seed=1)[store.places])
        assert np.array_equal(store.labels[:, 0], store.places % 10)
    assert loaded(path, valid_share=0.25).valid.places.tolist() == data.valid.places.tolist()
    assert loaded(path, valid_share=0.25, split_seed=1).valid.places.tolist() != data.valid.places.tolist()
    assert len(loaded(path, max_heldout=3).valid) == 2
    assert len(loaded(path, valid_share=0.25, max_heldout=3).valid) == 3


def test_shares_for_validation_and_test(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", grey(20))
    data = loaded(tmp_path / "a.npy", valid_share=0.1, test_share=0.2)
    assert [len(store) for store in data.splits.values()] == [14, 2, 4]
    with pytest.raises(UserError, match=r"add up to 1\.2: leave some to train on"):
        loaded(tmp_path / "a.npy", valid_share=0.6, test_share=0.6)
    np.save(tmp_path / "b.npy", grey(2))
    with pytest.raises(UserError, match="has 2 pictures, too few to set valid and test data aside"):
        loaded(tmp_path / "b.npy")


def test_given_files_go_before_shares(tmp_path: Path) -> None:
    for name, n in (("a", 9), ("b", 4), ("c", 5)):
        np.save(tmp_path / f"{name}.npy", grey(n))
    data = loaded(tmp_path / "a.npy", valid=str(tmp_path / "b.npy"), test=str(tmp_path / "c.npy"))
    assert [len(store) for store in data.splits.values()] == [9, 4, 5]
    assert isinstance(data.train.pixels, np.memmap)
    cut = loaded(tmp_path / "a.npy", valid=str(tmp_path / "b.npy"), examples=3)
    assert len(cut.train) == 3


LAYOUTS = {
    "N H W": lambda x: x[:, 0],
    "N H W 1": lambda x: np.moveaxis(x, 1, 3),
    "N 1 H W": lambda x: x,
    "floats": lambda x: (x / 255).astype(np.float32),
    "doubles": lambda x: x / 255,
    "int64": lambda x: x.astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_of_every_layout(tmp_path: Path, layout: str, suffix: str) -> None:
    array, path = LAYOUTS[layout](grey(4)), tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    else:
        np.savez(path, images=array)
    assert np.array_equal(load_source(str(path), PLAIN).pixels, grey(4))


def test_colours_of_both_layouts(tmp_path: Path) -> None:
    colour = grey(4, channels=3)
    for name, array in (("first", colour), ("last", np.moveaxis(colour, 1, 3))):
        np.save(tmp_path / f"{name}.npy", array)
        assert np.array_equal(load_source(str(tmp_path / f"{name}.npy"), PLAIN).pixels, colour)


def test_zeros_and_ones_are_black_and_white(tmp_path: Path) -> None:
    bits = grey(4)[:, 0] > 99
    for name, array in (("bools", bits), ("bytes", bits.astype(np.uint8))):
        np.save(tmp_path / f"{name}.npy", array)
        found = loaded(tmp_path / f"{name}.npy", valid_share=0.3, test_share=0.0)
        assert "black and white alone" in "".join(found.report())
        assert np.array_equal(found.train.pixels[:, 0], 255 * bits[found.train.places])


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((3, 4)), r"has shape \(3, 4\): pictures are"),
        (np.zeros((3, 4, 5, 2)), r"has shape \(3, 4, 5, 2\): pictures are"),
        (np.zeros((0, 4, 5)), r"holds no pictures \(shape \(0, 1, 4, 5\)\)"),
        (np.full((3, 4, 5), 1.5), "holds floats from 1.5 to 1.5: scale them"),
        (np.full((3, 4, 5), np.nan), "holds floats from nan to nan"),
        (np.full((3, 4, 5), 300), "holds whole numbers from 300 to 300"),
        (np.full((3, 4, 5), "a"), "holds <U1 values"),
    ],
    ids=["flat", "two channels", "empty", "too bright", "nan", "too large", "text"],
)
def test_arrays_that_hold_no_pictures(tmp_path: Path, array: np.ndarray, told: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=told):
        loaded(tmp_path / "a.npy")


def test_an_npz_has_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    what = {"digit": np.arange(8), "factors": np.arange(16.0).reshape(8, 2), "notes": np.zeros(3)}
    np.savez(path, **what, pictures=grey(8)[:, 0], more=np.array([object()] * 8))
    data = loaded(path, labels=["factors_1", "digit"], valid_share=0.2, test_share=0.0)
    assert data.labels == ("factors_1", "digit")
    assert np.array_equal(data.train.labels[:, 1], data.train.places)
    assert np.array_equal(data.train.labels[:, 0], 2 * data.train.places + 1)
    with pytest.raises(UserError, match="has no label 'digits': did you mean 'digit'"):
        loaded(path, labels=["digits"])


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_damaged_array_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not an array at all")
    with pytest.raises(UserError, match="is no file of arrays that can be read"):
        loaded(tmp_path / name)


def test_an_npz_without_pictures(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(UserError, match=r"holds x \(3,\): name the pictures `images`"):
        loaded(tmp_path / "a.npz")


HOMES = ["cats", "dogs/old", "cats", "dogs/old", "dogs/young", "cats"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_pictures(tmp_path: Path, channels: int) -> None:
    pixels = grey(6, channels=channels)
    root = write_folder(tmp_path / "pictures", pixels, HOMES)
    found = load_source(str(root), PLAIN)
    order = sorted(range(6), key=lambda i: (HOMES[i], i))
    assert np.array_equal(found.pixels, pixels[order])
    assert found.labels["folder"].names == ("cats", "old", "young")
    assert found.labels["folder"].values.tolist() == [0, 0, 0, 1, 1, 2]
    data = loaded(root, labels=["folder"], valid_share=0.2, test_share=0.0)
    assert data.train.categories == {"folder": ("cats", "old", "young")}


def test_categories_of_another_folder_are_those_of_training(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", grey(4), ["a", "b", "c", "c"])
    other = write_folder(tmp_path / "other", grey(2), ["c", "b"])
    strange = write_folder(tmp_path / "strange", grey(2), ["c", "bird"])
    config = ImageDataConfig(
        train=str(tmp_path / "train"), valid=str(other), test=str(other), labels=["folder"]
    )
    data = load_data(config)
    assert data.valid.labels[:, 0].tolist() == [1.0, 2.0]
    lost = load_data(config.model_copy(update={"test": str(strange)}))
    assert np.array_equal(lost.splits["test"].labels, [[np.nan], [2]], equal_nan=True)
    assert "1 without label 'folder' (1 unknown to training: 'bird')" in lost.report()[2]
    found = load_examples(str(strange), data.codec, config, data.train.categories)
    assert np.isnan(found.labels[0, 0])
    assert found.labels[1, 0] == 2.0


def test_a_broken_picture_is_named_or_skipped_by_choice(tmp_path: Path) -> None:
    root = write_folder(tmp_path, grey(6), HOMES)
    victim = root / "cats" / "002.png"
    victim.write_bytes(victim.read_bytes()[:40])
    with pytest.raises(UserError, match=r"002\.png is no picture that can be read .*data\.on_bad_image=skip"):
        loaded(root)
    found = load_source(str(root), ReadOptions(skip_broken=True))
    assert len(found.pixels) == 5
    assert found.broken == (str(victim),)
    assert found.labels["folder"].values.tolist() == [0, 0, 1, 1, 2]
    assert found.places.tolist() == [0, 2, 3, 4, 5]


def test_pictures_of_different_sizes_need_a_size(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", grey(2), ["", ""])
    write_folder(tmp_path / "b", grey(2, 9, 9), ["", ""])
    with pytest.raises(UserError, match=r"has 5 x 7 pixels and .*b.000\.png 9 x 9: give data\.size"):
        loaded(tmp_path)
    data = loaded(tmp_path, size=[6, 4], channels=3, valid_share=0.25, test_share=0.0)
    assert data.codec.shape == (3, 6, 4)


def test_sixteen_bits_of_grey_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 7), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="more than 256 levels of grey"):
        loaded(tmp_path)


def test_decoded_pictures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path, grey(6), HOMES)
    first = load_source(str(root), PLAIN)
    monkeypatch.setattr("seqvae.data.image.file_decoding.picture_pixels", None)  # would fail
    again = load_source(str(root), PLAIN)
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(again.pixels, first.pixels)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    root = write_folder(tmp_path / "pictures", grey(2), ["", ""])
    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(UserError, match=r"no right to write pictures at .*set SEQVAE_CACHE"):
        loaded(root)


def saved_dataset(folder: Path) -> Path:
    import datasets

    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "weight": datasets.Value("float32"),
            "text": datasets.Value("string"),
        }
    )

    def part(n: int, seed: int) -> Any:
        pictures = [Image.fromarray(x[0]) for x in grey(n, seed=seed)]
        columns = {"picture": pictures, "kind": [i % 2 for i in range(n)], "weight": [1.5] * (n - 1) + [None]}
        return datasets.Dataset.from_dict({**columns, "text": ["a"] * n}, features=features)

    datasets.DatasetDict({"train": part(8, 1), "validation": part(3, 2)}).save_to_disk(str(folder))
    return folder


def test_a_saved_dataset(tmp_path: Path) -> None:
    folder = saved_dataset(tmp_path / "saved")
    data = loaded(folder, image_column="picture", labels=["kind", "weight"], test_share=0.0)
    assert [len(store) for store in data.splits.values()] == [8, 3]
    assert np.array_equal(data.train.pixels, grey(8, seed=1))
    assert data.train.labels[:, 0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert np.isnan(data.train.labels[-1, 1])
    assert data.train.categories == {"kind": ("cat", "dog")}
    assert "1 without label 'weight'" in data.report()[0]
    named = load_examples(f"{folder}@validation", data.codec, ImageDataConfig(image_column="picture"))
    assert np.array_equal(named.pixels, grey(3, seed=2))
    for settings, told in (
        ({}, "has no column 'image': set data.image_column"),
        ({"image_column": "text"}, "column 'text' holds no pictures"),
        ({"image_column": "picture", "labels": ["kinds"]}, "has no label 'kinds': did you mean 'kind'"),
        ({"image_column": "picture", "valid": f"{folder}@dev"}, "has no split 'dev'"),
    ):
        with pytest.raises(UserError, match=told):
            loaded(folder, **settings)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere.npy", "no pictures at 'nowhere.npy': give an idx, .npy or .npz file"),
        ("one.png", "one.png has 1 pictures, too few to set valid and test data aside"),
        ("empty", "empty holds no pictures: give a folder of .png"),
    ],
)
def test_no_such_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(grey(1)[0, 0]).save("one.png")
    Path("empty").mkdir()
    with pytest.raises(UserError, match=told):
        loaded(source)


def test_the_embedded_default_is_the_blob() -> None:
    data = loaded(labels=["y"], examples=30)
    assert [len(store) for store in data.splits.values()] == [30, 512, 1536]
    assert data.codec.shape == (1, 32, 32)
    assert data.labels == ("y",)
    shapes = loaded(name="shapes", labels=["shape", "x"], examples=5)
    assert shapes.codec.shape == (1, 64, 64)
    assert shapes.train.categories == {"shape": ("square", "ellipse", "heart")}
    with pytest.raises(UserError, match="unknown picture set 'blobs': did you mean 'blob'"):
        loaded(name="blobs")
    with pytest.raises(UserError, match="picture set 'blob' has no label 'radius': known: x, y"):
        loaded(name="blob", labels=["radius"])
    with pytest.raises(UserError, match="data has both name 'blob' and train 'a'"):
        loaded("a", name="blob")


def test_other_examples_have_the_shape_of_training_and_may_lack_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", grey(4))
    np.save(tmp_path / "b.npy", grey(4, channels=3))
    data = loaded(labels=["x"], examples=3)
    config = ImageDataConfig(labels=["x"])
    with pytest.raises(UserError, match="holds pictures of 5 x 7 x 1, the model reads 32 x 32 x 1"):
        load_examples(str(tmp_path / "a.npy"), data.codec, config)
    formed = ImageDataConfig(labels=["x"], size=[32, 32], channels=1)
    found = load_examples(str(tmp_path / "b.npy"), data.codec, formed)
    assert found.pixels.shape == (4, 1, 32, 32)
    assert np.isnan(found.labels).all()
    assert found.label_names == ("x",)


def test_grey_is_weighed_as_pil_does() -> None:
    colour = grey(3, channels=3)
    wanted = [np.asarray(Image.fromarray(np.moveaxis(x, 0, 2)).convert("L")) for x in colour]
    assert np.array_equal(with_channels(colour, 1)[:, 0], wanted)
    assert np.array_equal(with_channels(grey(3), 3), np.repeat(grey(3), 3, 1))


def test_sizes_are_changed_alike_in_arrays_and_folders(tmp_path: Path) -> None:
    pixels = grey(3, 12, 10)
    root = write_folder(tmp_path / "pictures", pixels, [""] * 3)
    np.save(tmp_path / "a.npy", pixels)
    how = ReadOptions(ImageSpec((6, 5), 1))
    one, other = (load_source(str(source), how).pixels for source in (root, tmp_path / "a.npy"))
    assert one.shape == (3, 1, 6, 5)
    assert np.array_equal(one, other)
    assert float(one.mean()) == pytest.approx(float(pixels.mean()), abs=2)


def test_fingerprints_are_those_of_the_content(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", grey(20))
    np.save(tmp_path / "b.npy", np.moveaxis(grey(20), 1, 3))
    base = loaded(tmp_path / "a.npy").fingerprint
    assert loaded(tmp_path / "b.npy").fingerprint == base  # the same pictures
    for other in ({"split_seed": 1}, {"examples": 5}, {"binarize": "fixed"}, {"binarize": "stochastic"}):
        assert loaded(tmp_path / "a.npy", **other).fingerprint != base
    changed = grey(20)
    changed[3, 0, 0, 0] ^= 1
    np.save(tmp_path / "a.npy", changed)
    assert loaded(tmp_path / "a.npy").fingerprint != base


def test_the_report_says_what_there_is(tmp_path: Path) -> None:
    data = loaded(mnist_like(tmp_path), labels=["label"], valid_share=0.25)
    report = data.report()
    assert report[0] == "train: 30 pictures of 5 x 7 x 1"
    assert "values from 0 to 255 of 255" in report[3]
    assert report[-1] == "labels: label"


def test_mnist_itself(shared: Path) -> None:
    data = loaded(shared / "data/mnist/train-images-idx3-ubyte.gz", labels=["label"])
    assert {name: len(store) for name, store in data.splits.items()} == {
        "train": 57000,
        "valid": 3000,
        "test": 10000,
    }
    assert data.codec.shape == (1, 28, 28)
    assert float(data.train.pixels.mean()) == pytest.approx(33.3, abs=0.3)  # of 255, as everywhere
    counts = np.bincount(data.splits["test"].labels[:, 0].astype(int))
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
