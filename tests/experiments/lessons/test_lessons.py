"""Every lesson runs, its sentence follows its numbers, and trained models are used again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from run_cli import Cli
from tiny import Listener
from tiny_pictures import grey, write_idx

from seqvae import plots
from seqvae.cli import main
from seqvae.data.synthetic import CORPORA, PICTURES
from seqvae.errors import UserError
from seqvae.experiments.lessons import (
    LESSONS,
    LessonArgs,
    code_size,
    few_labels,
    holes,
    memorising,
    radius,
    restoring,
    two_dims,
)
from seqvae.experiments.lessons.plots import bars, lines, log_ticks, side_by_side
from seqvae.experiments.lessons.recipes import picture_config, sentences
from seqvae.experiments.lessons.runner import LessonResult, run_lesson
from seqvae.plots.style import new_figure
from seqvae.utils.signals import Interrupted

SHORT = ("train.steps=4", "train.batch_size=8", "train.valid_examples=20", "train.log_every=1")
FEW = "data.examples=100"
# what makes a lesson small besides: constants of its file, and settings over its configs
SMALL: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "memorising": ({}, ("data.name=blob", "train.validate_every=1")),
    "holes": ({"MADE": 10, "REAL": 50}, ()),
    "restoring": ({"TESTED": 8}, ()),
    "code-size": ({"SIZES": (1, 2), "TESTED": 20}, ("data.name=blob",)),
    "few-labels": ({"LABELS": (10,), "SEEDS": 1, "POOL": 40, "TESTED": 30}, ()),
    "radius": ({"TESTED": 300}, ()),
    "two-dims": ({"LABELLED": 30, "TESTED": 30, "SIDE": 3}, ()),
}
FEWER = {"train": 160, "valid": 20, "test": 300}
FILES = (memorising, holes, restoring, code_size, few_labels, radius, two_dims)
HOME = {file.NAME: file for file in FILES}


@pytest.fixture(autouse=True)
def _fewer_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded data, but hundreds of examples of each."""
    for table in (PICTURES, CORPORA):
        for name, made in table.items():
            monkeypatch.setitem(table, name, replace(made, sizes=FEWER))


def small(
    monkeypatch: pytest.MonkeyPatch, name: str, out: Path, data: str | None = None, seed: int = 0
) -> LessonArgs:
    """The lesson made tiny, and what to ask of it."""
    constants, sets = SMALL[name]
    for key, value in constants.items():
        monkeypatch.setattr(HOME[name], key, value)
    kept = [s for s in sets if data is None or not s.startswith("data.name")]
    return LessonArgs(out, data, seed, (*SHORT, FEW, *kept))


@pytest.mark.parametrize("name", LESSONS)
def test_runs_end_to_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = run_lesson(LESSONS[name], small(monkeypatch, name, tmp_path))
    assert taught.picture == tmp_path / f"{name}.png"
    picture = matplotlib.image.imread(taught.picture)
    assert min(picture.shape[:2]) > 300
    assert picture.std() > 0.05
    told = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
    assert told["numbers"] == json.loads(json.dumps(taught.numbers))
    assert told["conclusion"] == taught.conclusion == LESSONS[name].conclude(told["numbers"])
    head, rows = taught.table
    assert {len(row) for row in rows} == {len(head)}
    shown = list(taught.lines())
    assert shown[-3] == taught.conclusion
    assert shown[-1] == str(taught.picture)


def test_every_lesson_is_small_here_and_says_where_it_is_from() -> None:
    assert list(SMALL) == list(LESSONS) == list(HOME)
    for lesson in LESSONS.values():
        assert len(lesson.ABOUT) > 20
        assert 2000 < lesson.YEAR < 2030


# planted numbers: the conclusion must hold the words, and must not hold those of the other case
AE = "autoencoder"
LINE = {"training": [9.0], "heldout": [9.0], "steps": [10, 20, 30], "best": 10.0, "stop": 10}


def memory(gap: float, rise: float) -> dict[str, Any]:
    return {**LINE, "gap": gap, "rise": rise}


def made(between: float, drawn: float) -> dict[str, Any]:
    return {
        kind: {"distance": d, "realistic": 0.5}
        for kind, d in zip(holes.CODES, (0, between, drawn), strict=True)
    }


def repaired(plain: float, noise: float, lost: float, found: float) -> dict[str, Any]:
    errors = {"damaged input": 0.2, "without noise": plain, "with noise": noise}
    words = {"without noise": {"recovered": lost}, "with noise": {"recovered": found}}
    return {"error": errors, "words": words}


def sized(cost: list[float], used: int) -> dict[str, Any]:
    return {"sizes": [1, 2, 4], "autoencoder": {"distortion": cost}, "VAE": {"active_units": [1, 2, used]}}


def probed(code: list[float], raw: list[float]) -> dict[str, Any]:
    return {"pictures": {"labels": [100, 500], "code": code, "raw": raw, "baseline": 0.1, "measure": "r2"}}


def spent(x: float, y: float, r: float) -> dict[str, Any]:
    return {"nats": {"x": x, "y": y, "radius": r}, "rate": 9.0}


def laid(mean: float) -> dict[str, Any]:
    return {"labels": {"digit": {"mean": mean, "baseline": 0.1, "measure": "accuracy"}}}


PLANTED: list[tuple[str, dict[str, Any], str]] = [
    ("memorising", {AE: memory(9, 5), "VAE": memory(1, 0)}, "The autoencoder memorises more"),
    ("memorising", {AE: memory(1, 5), "VAE": memory(9, 0)}, "The VAE memorises as much"),
    ("memorising", {AE: memory(1, 5), "VAE": memory(9, 0)}, "keep the autoencoder of step 10 of 30"),
    ("memorising", {AE: memory(1, 0), "VAE": memory(9, 5)}, "the autoencoder has no reason to stop"),
    ("holes", {AE: made(2, 1), "VAE": made(1, 2)}, "the VAE's pictures lie nearer"),
    ("holes", {AE: made(2, 1), "VAE": made(1, 2)}, "N(0, I) the autoencoder's pictures do (1.0000"),
    ("holes", {AE: made(1, 2), "VAE": made(2, 1)}, "the autoencoder's pictures lie nearer"),
    ("restoring", repaired(0.1, 0.02, 0.1, 0.6), "restores damaged pictures (error 0.2000 -> 0.0200, 10.0"),
    ("restoring", repaired(0.1, 0.02, 0.1, 0.6), "recovers more missing words (60% against 10%)"),
    ("restoring", repaired(0.01, 0.02, 0.1, 0.6), "does not restore damaged pictures better"),
    ("restoring", repaired(0.1, 0.02, 0.6, 0.1), "does not recover more missing words"),
    ("code-size", sized([9, 5, 4.9], 2), "of the way by 2 numbers; of 4 numbers the VAE uses only 2"),
    ("code-size", sized([9, 5, 6], 4), "of the way by 2 numbers, and 4 numbers do worse again (6.0)"),
    ("code-size", sized([9, 5, 1], 4), "Every doubling of the code still helps the autoencoder"),
    ("code-size", sized([9, 5, 1], 4), "of 4 numbers the VAE uses all"),
    ("few-labels", probed([0.9, 0.9], [0.5, 0.6]), "ahead of raw input at every number of labels (r2 0.90"),
    ("few-labels", probed([0.9, 0.9], [0.5, 0.95]), "ahead of raw input with 100 labels only"),
    ("few-labels", probed([0.4, 0.4], [0.5, 0.95]), "never ahead of raw input (r2 0.40 against 0.50"),
    ("radius", spent(4, 5, 1), "coded less sharply than the position (1.00 nats"),
    ("radius", spent(4, 5, 6), "coded more sharply"),
    ("radius", spent(4, 5, 4.5), "about as sharply"),
    ("two-dims", laid(0.95), "lays its pictures out by digit (94%)"),
    ("two-dims", laid(0.2), "only in part by digit (11%)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "numbers", "words"), PLANTED)
def test_the_conclusion_follows_the_numbers(name: str, numbers: dict[str, Any], words: str) -> None:
    assert words in LESSONS[name].conclude(numbers)


def test_a_second_call_trains_nothing_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, first, second = small(monkeypatch, "holes", tmp_path), Listener(), Listener()
    before = run_lesson(LESSONS["holes"], asked, first)
    assert sum(note.startswith("finished") for note in first.notes) == 2
    assert run_lesson(LESSONS["holes"], asked, second).numbers == before.numbers
    assert not second.notes


def test_an_interrupted_lesson_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_lesson(LESSONS["holes"], small(monkeypatch, "holes", tmp_path / "whole"))
    asked, listener = small(monkeypatch, "holes", tmp_path / "cut"), Listener()
    with pytest.raises(Interrupted, match="lesson 'holes' stopped: the same command goes on"):
        run_lesson(LESSONS["holes"], asked, Listener(stop_at_log=2))
    assert not list((tmp_path / "cut").glob("*.json"))
    assert run_lesson(LESSONS["holes"], asked, listener).numbers == whole.numbers
    assert any(note.startswith("resuming from") for note in listener.notes)


def test_another_seed_is_another_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_lesson(LESSONS["two-dims"], small(monkeypatch, "two-dims", tmp_path))
    with pytest.raises(UserError, match=r"two-dims/VAE holds a run of another config: remove it, or choose"):
        run_lesson(LESSONS["two-dims"], small(monkeypatch, "two-dims", tmp_path, seed=1))


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"lesson 'radius' needs factors that are known: leave out --data, got m"
    ):
        run_lesson(LESSONS["radius"], LessonArgs(tmp_path, "mnist"))
    with pytest.raises(UserError, match=r"no pictures at '.*nowhere.gz': give an idx"):
        run_lesson(LESSONS["holes"], LessonArgs(tmp_path, str(tmp_path / "nowhere.gz")))
    with pytest.raises(UserError, match=r"lesson: unknown key 'train.stepps'"):
        run_lesson(LESSONS["holes"], LessonArgs(tmp_path, sets=("train.stepps=3",)))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def idx(tmp_path: Path) -> Path:
    """A folder as MNIST's, of 120 pictures of 6 x 6 and two classes."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, n in (("train", 120), ("t10k", 40)):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", grey(n, 6, 6)[:, 0])
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8) % 2)
    return folder


@pytest.mark.parametrize("name", ["memorising", "few-labels", "two-dims"])
def test_pictures_from_files(name: str, idx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = run_lesson(LESSONS[name], small(monkeypatch, name, tmp_path / "out", str(idx)))
    assert json.loads(taught.record.read_text("utf-8"))["data"] == str(idx)
    if name == "two-dims":
        assert list(taught.numbers["labels"]) == ["label"]


def test_a_config_of_files_keeps_all_but_the_name(idx: Path) -> None:
    asked = LessonArgs(Path(), str(idx), 3)
    config = picture_config(
        asked, {"name": "blob", "labels": ["x"], "examples": 50}, {"name": "gaussian"}, steps=1
    )
    assert (config.data.name, config.data.labels, config.data.examples) == (None, ["label"], 50)
    assert config.data.train == str(idx / "train-images-idx3-ubyte.gz")
    assert config.train.seed == 3
    assert (
        picture_config(LessonArgs(Path(), "x.npz"), {"name": "blob"}, {"name": "gaussian"}).data.train
        == "x.npz"
    )


Lesson = Callable[..., str]


@pytest.fixture
def stdout_of(cli: Cli) -> Lesson:
    """`stdout_of("lesson")`: stdout of a command that must succeed."""

    def call(*arguments: object) -> str:
        code, out, err = cli(*arguments)
        assert not code, err
        return out

    return call


def test_the_command_lists_lessons(stdout_of: Lesson) -> None:
    lines = stdout_of("lesson").splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(LESSONS)
    assert [row["name"] for row in json.loads(stdout_of("lesson", "--json"))] == list(LESSONS)
    assert json.loads(stdout_of("list", "lessons", "--json")) == json.loads(stdout_of("lesson", "--json"))


def test_the_command_teaches(stdout_of: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = small(monkeypatch, "two-dims", tmp_path)
    command = ["lesson", "two-dims", "--out", tmp_path, *(word for s in asked.sets for word in ("--set", s))]
    lines = stdout_of(*command).splitlines()
    assert lines[0].split() == ["label", "measure", "from", "the", "two", "numbers", "without", "looking"]
    assert lines[-1] == str(tmp_path / "two-dims.png")
    assert stdout_of(*command, "--json") == (tmp_path / "two-dims.json").read_text("utf-8")


def test_the_command_knows_its_lessons(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["lesson", "hols"])
    assert "unknown lesson 'hols': did you mean 'holes'?" in capsys.readouterr().err


def test_path_of_a_training() -> None:
    held, seen = {10: 9.0, 20: 5.0, 30: 7.5}, {10: 8.0, 20: 4.0, 30: 2.0}
    logged = [{"kind": "valid", "step": s, "distortion": d} for s, d in held.items()]
    logged += [{"kind": "train", "step": s, "distortion": d} for s, d in seen.items()]
    found = memorising.validation_curve(logged)
    assert (found["stop"], found["best"], found["rise"], found["gap"]) == (20, 5.0, 2.5, 5.5)
    assert (found["steps"], found["training"]) == ([10, 20, 30], [8.0, 4.0, 2.0])


def test_distance_to_real_pictures_and_precision() -> None:
    real = torch.tensor(
        [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]]
    )  # third neighbours: 3 2 2 2 3
    assert holes.compare_codes(real, real) == {"distance": 0.0, "realistic": 1.0}
    found = holes.compare_codes(torch.tensor([[0.0, 1.0], [4.0, 3.5]]), real)
    assert found["distance"] == pytest.approx((1 + 3.5**2) / 2 / 2)
    assert found["realistic"] == 0.5


def test_floor_of_grey_pictures() -> None:
    assert code_size.grey_floor(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)) == 0.0
    assert code_size.grey_floor(torch.full((3, 1, 2, 2), 0.5)) == pytest.approx(4 * math.log(2))


def test_size_that_is_enough() -> None:
    assert code_size.enough_at([1, 2, 4, 8], [10.0, 5.0, 0.9, 0.0]) == 4
    assert code_size.enough_at([1, 2], [3.0, 3.0]) == 1


def test_words_restored() -> None:
    whole, damaged = ["a b c d", "e f"], ["a <unk> c <unk>", "<unk> f"]
    found = restoring.score_restoration(whole, damaged, ["a b x y", "e"])
    assert found == {"recovered": 2 / 3, "kept": 1 / 3, "first": "a b x y"}


def test_words_blanked() -> None:
    text = " ".join(f"word{i}" for i in range(400))
    left = restoring.blank_words(text, 0, 0).split()
    assert all(a in (b, restoring.MISSING) for a, b in zip(left, text.split(), strict=True))
    assert left.count(restoring.MISSING) / 400 == pytest.approx(restoring.BLANK, abs=0.06)
    assert restoring.blank_words(text, 1, 0).split() != left
    assert restoring.blank_words("alone", 0, 0) == restoring.MISSING, "one word at least is missing"


def test_word_counts() -> None:
    assert few_labels.word_counts(["b a b", "c"], ["a", "b"]).tolist() == [[1, 2], [0, 0]]


def test_sentences_with_a_label() -> None:
    texts, tense = sentences("test", 30, "tense")
    assert all(("will" in text.split()) == (t == 2) for text, t in zip(texts, tense.tolist(), strict=True))


def test_figures_side_by_side() -> None:
    left, right = new_figure(2, 1), new_figure(1, 3)
    series = {"a": ([1, 10, 100], [1.0, 2.0, 3.0]), "b": ([1, 10], [2.0, 2.0])}
    axes = left.subplots()
    assert [line.get_label() for line in lines(axes, series)] == ["a", "b"]
    log_ticks(axes.xaxis, axes)
    assert [label.get_text() for label in axes.get_xticklabels() if label.get_text()][:1] != [""]
    drawn = bars(right.subplots(), {"a": {"x": 1.0}, "b": {"x": 2.0}})
    assert [bar.patches[0].get_height() for bar in drawn] == [1.0, 2.0]
    whole = side_by_side(left, right)
    image = whole.axes[0].images[0].get_array()
    assert image.shape[1] / image.shape[0] == pytest.approx(
        whole.get_figwidth() / whole.get_figheight(), abs=0.01
    )


def test_a_taught_lesson_shows_its_table(tmp_path: Path) -> None:
    taught = LessonResult(
        (("a", "b"), [("1", "22")]), "So it is.", tmp_path / "x.png", tmp_path / "x.json", {}
    )
    assert list(taught.lines()) == ["a  b", "-  --", "1  22", "", "So it is.", "", str(tmp_path / "x.png")]


def test_rows_of_pictures() -> None:
    figure = plots.rows_of(torch.rand(2, 3, 1, 4, 4), ["whole", "damaged"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["whole", "damaged"]
    with pytest.raises(UserError, match="rows_of got 1 names for 2 rows: give one per row"):
        plots.rows_of(torch.rand(2, 3, 1, 4, 4), ["whole"])
