"""A run that was killed, stopped or interrupted continues bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny import BASE, Listener, assert_same_runs, card, config, metrics, trained

from seqvae.errors import UserError
from seqvae.inference import load
from seqvae.models.text import DECODERS, ENCODERS
from seqvae.training.loop import Interrupted, resume, train
from seqvae.utils.atomic_files import list_checkpoints

# all that has a memory: Adam, both schedules, dropout, word dropout, half-filled means of the log
ALL_MEMORIES = (
    "encoder.dropout=0.3",
    "decoder.dropout=0.3",
    "remedies=[{name: linear_annealing, steps: 10}, {name: word_dropout, rate: 0.3}]",
    "train.accumulate=2",
    "train.warmup=5",
    "train.lr=0.5",
    "train.log_every=7",
    "train.validate_every=5",
    "train.save_every=20",
)
SLOW = ("train.valid_examples=2000",)  # so that a signal comes between two checkpoints
PLATEAU = (*ALL_MEMORIES, *SLOW, "train.decay=plateau")
SHORT = ("train.steps=6", "train.validate_every=3", "train.log_every=2")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 steps without a break."""
    return trained(tmp_path_factory.getbasetemp(), "straight", *PLATEAU)


def signalled(tmp_path: Path, number: int) -> tuple[Path, int, str, str]:
    """A subprocess that trains, and gets the signal after its checkpoint of step 20."""
    file, run = tmp_path / "config.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(BASE))
    sets = [word for value in PLATEAU for word in ("--set", value)]
    command = [sys.executable, "-m", "seqvae", "train", str(file), "--out", str(run), *sets]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        deadline = time.monotonic() + 600  # against a hang: a busy machine takes a minute to start
        while not (run / "checkpoints" / "step-20").is_dir() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
    assert not (run / "checkpoints" / "step-40").exists(), f"too late to stop it: {err}"
    return run, process.returncode, out, err


def test_killed_between_two_checkpoints(tmp_path: Path, straight: Path) -> None:
    run, code, _, _ = signalled(tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert [folder.name for folder in list_checkpoints(run)] == ["step-20"]
    resume(run)
    assert_same_runs(run, straight)
    assert card(straight)["progress"]["lr_factor"] < 1, "the plateau rule was to be at work"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal(tmp_path: Path, straight: Path, number: int, code: int) -> None:
    run, returned, out, err = signalled(tmp_path, number)
    last = list_checkpoints(run)[-1].name.removeprefix("step-")
    assert (returned, out) == (code, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        f"seqvae: stopped at step {last} of 40, everything is saved: go on with `seqvae train --resume {run}`"
    )
    assert err.count("--resume") == 1
    resume(run)
    assert_same_runs(run, straight)


def stopped_and_resumed(tmp_path: Path, *sets: str) -> tuple[Path, Path]:
    """Two runs of the same config: one straight, one stopped after step 3."""
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    train(config(*SHORT, *sets), whole)
    with pytest.raises(Interrupted, match="stopped at step 3 of 6"):
        train(config(*SHORT, *sets), parted, Listener(stop_at="step 3 "))
    assert not card(parted)["progress"]["finished"]
    resume(parted)
    return whole, parted


@pytest.mark.parametrize("kind", sorted(ENCODERS.keys() | DECODERS.keys()))
def test_every_architecture(tmp_path: Path, kind: str) -> None:
    size = "width: 8, heads: 2" if kind == "transformer" else "embed: 8, hidden: 16, layers: 2"
    sets = [f"{part}={{name: {kind}, {size}, dropout: 0.3}}" for part in ("encoder", "decoder")]
    assert_same_runs(*stopped_and_resumed(tmp_path, *sets))


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
def test_every_schedule(tmp_path: Path, decay: str) -> None:
    assert_same_runs(*stopped_and_resumed(tmp_path, *ALL_MEMORIES, *SHORT, f"train.decay={decay}"))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_other_optimizer(tmp_path: Path, optimizer: str) -> None:
    assert_same_runs(*stopped_and_resumed(tmp_path, f"train.optimizer={optimizer}", "train.lr=0.01"))


def test_broken_off_before_any_checkpoint(tmp_path: Path) -> None:
    sets = (*SHORT, "train.log_every=1", "train.save_every=6")
    whole = train(config(*sets), tmp_path / "whole")

    class Dying(Listener):
        def note(self, text: str) -> None:
            if text.startswith("step 3 "):
                raise MemoryError

    with pytest.raises(UserError, match="out of memory on the host: no checkpoint was written yet"):
        train(config(*sets), tmp_path / "broken", Dying())
    assert metrics(tmp_path / "broken"), "there are lines to forget"
    resume(tmp_path / "broken")
    assert_same_runs(tmp_path / "broken", whole)


def test_what_is_stopped_before_a_validation_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped at step 2 of 6"):
        train(config(*SHORT), tmp_path / "run", Listener(stop_at_log=2))
    with pytest.raises(UserError, match=r"holds no weights yet: train it with `seqvae train --resume"):
        load(tmp_path / "run", "cpu")


def test_changes_of_the_config_are_ignored_with_a_warning(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(config(*SHORT), tmp_path / "run", Listener("step 3 "))
    file, listener = tmp_path / "run" / "config.yaml", Listener()
    file.write_text(file.read_text().replace("lr: 0.01", "lr: 0.5").replace("steps: 6", "steps: 60"))
    resume(tmp_path / "run", listener)
    says = (
        f"{file} has train.%s, the run goes on with %s: a config is fixed when a run begins; train a new run"
    )
    assert [line.removesuffix(" to change it") for line in listener.warnings[:2]] == [
        says % ("steps 60", "6"), says % ("lr 0.5", "0.01"),
    ]  # fmt: skip
    assert card(tmp_path / "run")["progress"]["step"] == 6


@pytest.mark.parametrize("content", ["a: [", "trian: {}"])
def test_a_config_file_that_cannot_be_read_stops_nothing(tmp_path: Path, content: str) -> None:
    with pytest.raises(Interrupted):
        train(config(*SHORT), tmp_path / "run", Listener("step 3 "))
    (tmp_path / "run" / "config.yaml").write_text(content)
    listener = Listener()
    resume(tmp_path / "run", listener)
    assert listener.warnings[0].startswith(f"{tmp_path / 'run' / 'config.yaml'}")
    assert listener.warnings[0].endswith("; the run goes on by config.json")


def test_an_early_stop_is_a_finish(tmp_path: Path) -> None:
    sets = ("train.patience=1", "train.validate_every=2", "train.lr=1.0", "train.steps=400")
    run = train(config(*sets), tmp_path / "run")
    assert card(run)["progress"]["step"] < 400
    with pytest.raises(UserError, match=r"is finished after \d+ steps: train a new run"):
        resume(run)


def test_a_half_written_line_is_forgotten(tmp_path: Path) -> None:
    whole = train(config(*SHORT), tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config(*SHORT), tmp_path / "parted", Listener(stop_at="step 3 "))
    with (tmp_path / "parted" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    resume(tmp_path / "parted")
    assert_same_runs(tmp_path / "parted", whole)


def test_a_run_needs_what_it_started_from_no_more(tmp_path: Path) -> None:
    source = train(config(*SHORT), tmp_path / "source")
    init = f"init={{from: {source}, parts: [encoder]}}"
    with pytest.raises(Interrupted):
        train(config(*SHORT, init), tmp_path / "run", Listener(stop_at="step 3 "))
    source.rename(tmp_path / "moved")
    resume(tmp_path / "run")
    assert card(tmp_path / "run")["progress"]["finished"]
