"""A run folder is written whole or not at all, and damaged or unsafe files in it are refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import Listener, assert_same_runs, config, tiny_run
from torch import nn

from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError
from seqvae.objectives import ELBO
from seqvae.runs.checkpoint import TrainState, load_checkpoint, save_checkpoint
from seqvae.runs.run_folder import load_run, read_card, write_card
from seqvae.runs.weights import WEIGHTS, is_damaged, read_weights, write_weights
from seqvae.training.loop import Interrupted, resume, train
from seqvae.utils.atomic_files import list_checkpoints, write_atomically

SHORT = ("train.steps=6", "train.validate_every=6", "train.save_every=2")


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped at step 4 of 6."""
    path = tmp_path_factory.mktemp("unfinished") / "run"
    sets = (*SHORT, "train.validate_every=4", "train.keep=2")
    with pytest.raises(Interrupted):
        train(config(*sets), path, Listener(stop_at="step 4 "))
    return path


@pytest.fixture
def copy(unfinished: Path, tmp_path: Path) -> Path:
    """One to damage."""
    return Path(shutil.copytree(unfinished, tmp_path / "run"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory)


def unfinished_files(path: Path) -> list[Path]:
    return list(path.rglob(".unfinished*"))


@pytest.mark.parametrize("good_saves", [2, 3, 4])  # of objective.pt and optimizers.pt, by turns
def test_a_full_disk_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good_saves: int
) -> None:
    run, save, calls = tmp_path / "run", torch.save, [0]

    def filling(*args: Any) -> None:
        calls[0] += 1
        if calls[0] > good_saves:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*args)

    monkeypatch.setattr(torch, "save", filling)
    last = run / "checkpoints" / f"step-{2 * (good_saves // 2)}"
    expected = (
        f"cannot write to {run} (no space left on device): the last good checkpoint is {last}; make room"
    )
    with pytest.raises(UserError, match=re.escape(expected)):
        train(config(*SHORT), run)
    assert list_checkpoints(run)[-1] == last
    assert not unfinished_files(run)
    monkeypatch.undo()
    resume(run)
    assert_same_runs(run, train(config(*SHORT), tmp_path / "straight"))


@pytest.fixture
def no_large_files() -> Iterator[None]:
    """The system itself refuses files above 50 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("no_large_files")
@pytest.mark.parametrize(("weights", "state"), [(200, 1), (1, 200)])
def test_a_write_that_fails_for_real(tmp_path: Path, weights: int, state: int) -> None:
    run, nothing, states = tmp_path, nn.Module(), {"model": {"m": torch.zeros(state, 200)}}
    save_checkpoint(run, nn.Linear(1, 1), nothing, {}, TrainState(step=1), keep=2)
    with pytest.raises(
        UserError, match=r"\(file too large\): the last good checkpoint is .*step-1; make room"
    ):
        save_checkpoint(run, nn.Linear(200, weights), nothing, states, TrainState(step=2), keep=2)
    assert [folder.name for folder in list_checkpoints(run)] == ["step-1"]
    assert not unfinished_files(run)


def test_a_full_disk_while_the_card_is_written(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    before = read_card(run)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"no space left on device.*the last good checkpoint is .*step-40"):
        write_card(run, config(), TextTokenizer.load(run), TrainState(), "all", "")
    assert read_card(run) == before
    assert not unfinished_files(run)


def test_a_bug_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "save", lambda *_: {}["no such key"])
    with pytest.raises(KeyError):
        save_checkpoint(tmp_path, nn.Linear(1, 1), nn.Module(), {}, TrainState(step=1), keep=2)
    assert not unfinished_files(tmp_path)


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    for step in (8, 9, 10, 11):  # in the order of numbers, not of names
        save_checkpoint(tmp_path, nn.Linear(1, 1), nn.Module(), {}, TrainState(step=step), keep)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == [f"step-{n}" for n in (8, 9, 10, 11)][
        -keep:
    ]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizers.pt", "objective.pt", "state.json"])
def test_a_damaged_checkpoint(copy: Path, name: str, damage: Callable[[Path], None]) -> None:
    last = list_checkpoints(copy)[-1]
    if (name, damage) == ("state.json", flip):
        (last / name).write_text("{}")
    else:
        damage(last / name)
    text = f"{last / name} is damaged: remove {last} to go on from the one before"
    if name == "state.json" or damage is Path.unlink:
        text = f"{last} is not a whole checkpoint ("
    with pytest.raises(UserError, match=re.escape(text)):
        resume(copy)
    shutil.rmtree(last)  # what the message says
    listener = Listener()
    resume(copy, listener)
    assert f"resuming from {copy / 'checkpoints' / 'step-2'}" in listener.notes


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle calls."""
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["optimizers.pt", "objective.pt"])
def test_a_pickle_bomb_does_not_go_off(copy: Path, tmp_path: Path, name: str) -> None:
    folder, proof = list_checkpoints(copy)[-1], tmp_path / "gone-off"
    torch.save({"model": Bomb(proof)}, folder / name)
    state = json.loads((folder / "state.json").read_text())
    state["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=rf"{name} holds more than tensors, or is damaged"):
        resume(copy)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (flip, r"is damaged, it has changed since it was written"),
        (truncate, r"is damaged, it has changed since it was written"),
        (lambda file: file.write_bytes(b"no weights"), r"cannot be read as this model's weights \(.*\)"),
        (lambda file: file.write_bytes(b"\xff" * 99), r"cannot be read as this model's weights \(.*\)"),
        (lambda file: file.write_bytes(b""), r"cannot be read as this model's weights \(.*\)"),
    ],
)
def test_damaged_selected_weights(
    whole: Path, tmp_path: Path, damage: Callable[[Path], None], what: str
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    damage(run / WEIGHTS)
    other = list_checkpoints(run)[-1] / WEIGHTS
    with pytest.raises(UserError, match=rf"{run / WEIGHTS} {what}: restore it, or copy {other} over it$"):
        load_run(run)
    shutil.copy2(other, run / WEIGHTS)  # what the message says
    load_run(run)
    damage(run / WEIGHTS)
    shutil.rmtree(run / "checkpoints")  # as of a copy from the Hub
    with pytest.raises(UserError, match=rf"{what}: restore it$"):
        load_run(run)


def test_every_byte_of_the_weights_counts(tmp_path: Path) -> None:
    file, ours, sound = tmp_path / WEIGHTS, nn.Linear(3, 2), nn.Linear(3, 2)
    write_weights(sound, file)
    content = file.read_bytes()
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            read_weights(ours, file)
        except UserError:
            continue
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), sound.parameters(), strict=True))


def test_weights_without_a_hash_are_read(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    found = load_file(run / WEIGHTS)
    save_file(found, run / WEIGHTS)  # as an older seqvae wrote them, or another program
    for name, value in load_run(run).vae.state_dict().items():
        assert torch.equal(value, found[name])


def test_tied_weights_keep_their_hash(tmp_path: Path) -> None:
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    tied[1].weight = tied[0].weight
    write_weights(tied, tmp_path / WEIGHTS)
    assert not is_damaged(tmp_path / WEIGHTS)
    assert len(load_file(tmp_path / WEIGHTS)) == 1
    flip(tmp_path / WEIGHTS)
    assert is_damaged(tmp_path / WEIGHTS)


def test_weights_of_another_model(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    written = read_card(run)
    written["run"]["latent"]["dim"] = 5
    (run / "config.json").write_text(json.dumps(written))
    with pytest.raises(UserError, match="cannot be read as this model's weights"):
        load_run(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format_version": 99}', r"has format 99, this seqvae reads up to 1: update seqvae"),
        ('{"format_version": "99"}', r"has format 99, this seqvae reads up to 1: update seqvae"),
        ('{"format_version": "new"}', r"config.json was not written by seqvae: give the folder of a run"),
        ('{"model_type": "bert"}', r"config.json was not written by seqvae: give the folder of a run"),
        ("[1]", r"config.json was not written by seqvae"),
        ("{", r"config.json was not written by seqvae"),
        ('{"format_version": 1}', r"config.json lacks progress, run, selected: restore the file"),
    ],
)
def test_cards_that_are_not_ours(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_card(tmp_path)


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(UserError, match=re.escape(f"{path} is not a run folder: it has no config.json")):
            read_card(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def half(unfinished: Path) -> None:
        unfinished.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, half)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "old"


def test_damaged_progress_is_not_gone_on_with(tmp_path: Path) -> None:
    """A flipped digit of the step, the best value or the sums of the log would be as plausible as before."""
    path = train(config("train.steps=4"), tmp_path / "run")
    folder = list_checkpoints(path)[-1]
    file = folder / "state.json"
    whole = file.read_text()
    vae = load_run(path).vae
    for old, new in (
        ('"step": 4', '"step": 5'),
        ('"sha256_of_progress"', '"sha256_of_progresS"'),
        ('"finished": false', '"finished": true'),
    ):
        assert old in whole
        file.write_text(whole.replace(old, new))
        with pytest.raises(
            UserError, match=r"state\.json is damaged: remove .* to go on from the one before"
        ):
            load_checkpoint(folder, vae, torch.nn.Module())
    state = json.loads(whole)
    del state["sha256_of_progress"]
    state["progress"]["step"] = 3
    file.write_text(json.dumps(state))  # as runs of before wrote it
    assert load_checkpoint(folder, vae, ELBO())[1].step == 3
