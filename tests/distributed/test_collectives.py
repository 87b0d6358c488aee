"""The same run on one process and on two: the same numbers, one writer, and one exit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tiny import Listener, assert_close_runs, card, config, metrics
from torch import multiprocessing

from seqvae import TextVAE
from seqvae.config.loading import dump_config
from seqvae.distributed import batch_shards, collectives
from seqvae.distributed.batch_shards import (
    BatchShard,
    all_gather_rows,
    global_batch_statistics,
    global_mean,
    local_rows,
)
from seqvae.distributed.batch_statistics import batch_mean
from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.training.loop import resume, train
from seqvae.training.trainer import Trainer
from seqvae.utils.atomic_files import list_checkpoints
from seqvae.utils.device import pick_device
from seqvae.utils.signals import Interrupted, stop_on_signals

SHORT = ("train.steps=4", "train.log_every=1", "train.validate_every=2")
FEW = ("data.examples=28", "train.batch_size=3")  # an epoch's last batch holds a single sentence
PLAIN = ("train.steps=50", "train.log_every=1", "train.validate_every=25")
# means are centred, so their bias has no gradient but rounding, of which Adam makes whole steps
WIDE = (*SHORT, "train.steps=8", "train.lr=0.05")  # codes that soon differ from example to example
SGD = (*SHORT, "train.optimizer=sgd", "train.lr=0.1")
CASES: dict[str, tuple[str, ...]] = {
    "plain": PLAIN,
    "accumulate": (*SHORT, "train.accumulate=3", "train.batch_size=7"),
    "fewer-than-processes": (*SHORT, *FEW, "train.steps=10", "remedies=[{name: mmd}, {name: dip}]"),
    "all-copied": (*SHORT, "train.batch_size=1", "latent={name: bn_gaussian, dim: 4}"),
    "aggressive": (*SHORT, "remedies=[{name: aggressive_encoder, max_inner_steps: 7, window: 2}]"),
    "iwae": (*SHORT, "objective={name: iwae, samples: 3}"),
    "captured": (*SHORT, "train.capture=always", "train.accumulate=2", "remedies=[{name: mmd}, {name: dip}]"),
    **{
        name: (*SHORT, f"remedies=[{{name: {name}{more}}}]")
        for name, more in {
            "control_vae": ", nats: 0.1", "geco": "", "mmd": "", "dip": ", kind: ii",
            "factor_vae": ", hidden: 8", "attribute_regularization": "",
        }.items()
    },
    **{
        name: (*WIDE, f"remedies=[{{name: constant_beta, beta: 0.01}}, {{name: {name}{more}}}]")
        for name, more in {
            "free_bits": ", nats: 0.15", "capacity": ", nats: 0.5, gamma: 10, steps: 1",
            "target_rate": ", nats: 1, weight: 100", "total_correlation": "",
        }.items()
    },
    **{
        f"{name}{more}": (*SGD, f"latent={{name: {name}, dim: 4{more}}}")
        for name, more in (
            ("bn_gaussian", ""), ("du_gaussian", ", drop: 0"), ("exact_rate", ", nats: 3"),
            ("exact_rate", ", nats: 3, normalise: batch"), ("exact_rate", ", nats: 3, normalise: feature"),
        )
    },
}  # fmt: skip
OF_FOUR: dict[str, tuple[str, ...]] = {
    "plain": PLAIN,
    "uneven": (*PLAIN, "train.batch_size=14", "train.accumulate=2"),
    "statistics": (*PLAIN, "remedies=[{name: free_bits, nats: 0.15}, {name: mmd}]"),
    "centred": (*PLAIN, "latent={name: bn_gaussian, dim: 4}", "train.optimizer=sgd", "train.lr=0.02"),
    "cut": (*PLAIN, "train.shard=true"),
}
STOPPED = ("train.steps=12", "train.log_every=1", "train.validate_every=12")
STOP_AT = 7
UNDER_TORCHRUN = ("train.steps=100", "train.save_every=5", "train.validate_every=50")
WORDS = ["the old dog sees a ball .", "she sells eggs", "a cat"] * 50  # more than a batch


def worker(rank: int, folder: Path, cases: dict[str, tuple[str, ...]]) -> None:
    """One of two processes: all that they do together, one thing after the other."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    told: dict[str, Any] = {"statistics": statistics(rank), "writes": writes_of(folder / "plain")}
    for name, sets in cases.items():
        train(config(*sets), folder / name)
    told["measured"] = measured(folder / "plain")
    resume(folder / "begun")
    told["signal"] = how_it_ends(lambda: stopped(rank, folder / "stopped"))
    told["nan"] = how_it_ends(lambda: train(config(*SHORT, "train.lr=1e30"), folder / "nan"))
    told["taken"] = how_it_ends(lambda: train(config(*SHORT), folder / "plain"))
    told["data"] = how_it_ends(lambda: failing(rank))
    if rank == 1:
        write(folder / "told-1.json", told)
        os._exit(0)  # as one that was killed: it takes no leave
    told["lost"] = how_it_ends(lambda: train(config(*SHORT), folder / "lost"))
    write(folder / "told-0.json", told)
    os._exit(0)  # how one that lost the others ends is the matter of `bereaved`


def one_of_four(rank: int, folder: Path) -> None:
    """One of four processes: 50 steps of each of their runs."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=4)
    for name, sets in OF_FOUR.items():
        train(config(*sets), folder / name)
    dist.destroy_process_group()


def measured(run: Path) -> dict[str, Any]:
    """What evaluation and encoding say of a run, and how much of it this process did."""
    vae = TextVAE.from_pretrained(run)
    heard: list[tuple[int, int]] = []
    report = vae.evaluate(
        samples=3, examples=150, factors=True, progress=lambda done, total, what: heard.append((done, total))
    )
    refused = how_it_ends(lambda: vae.encode(["the old dog", ""]))
    codes = {f"draw {draw}": vae.encode(WORDS, draw, seed=3).tolist() for draw in (False, True)}
    few = vae.encode(WORDS[:1]).tolist()
    return {"report": report, "steps": len(heard), "codes": codes, "few": few, "refused": refused}


def write(file: Path, told: dict[str, Any]) -> None:
    file.write_text(json.dumps(told))


def writes_of(run: Path) -> list[str]:
    """The files below `run` that this process opens to write, as a list that grows."""
    found: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        made = event == "os.mkdir" or (event == "open" and set(str(arguments[1])) & set("wax+"))
        if made and str(arguments[0]).startswith(str(run)):
            found.append(str(arguments[0]))

    sys.addaudithook(hook)
    return found


def how_it_ends(action: Callable[[], Any]) -> list[str]:
    """The kind of error and what it says."""
    try:
        action()
    except (UserError, Interrupted, SystemExit) as error:
        return [type(error).__name__, str(error)]
    return ["no error", ""]


def stopped(rank: int, run: Path) -> None:
    """A run whose second process gets a signal to end in the middle of a step."""
    whole = Trainer.update

    def update(trainer: Trainer) -> None:
        whole(trainer)
        if rank == 1 and trainer.progress.step == STOP_AT:
            signal.raise_signal(signal.SIGTERM)

    Trainer.update = update  # type: ignore[method-assign]
    try:
        train(config(*STOPPED), run)
    finally:
        Trainer.update = whole  # type: ignore[method-assign]


def failing(rank: int) -> None:
    """An error that only the second process has."""

    def load() -> None:
        if rank == 1:
            raise UserError("no such file on this machine")

    collectives.main_first(load)


def bereaved(rank: int, port: int) -> None:
    """Two processes of torchrun's, of which the second goes without a word."""
    told = {"WORLD_SIZE": 2, "RANK": rank, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in told.items()})
    torch.set_num_threads(1)
    with pytest.raises(UserError, match="lost the others"), collectives.process_group(torch.device("cpu")):
        send_until_lost(rank)


def send_until_lost(rank: int) -> None:
    collectives.all_reduce_sum(torch.ones(2))
    if rank == 1:
        os._exit(0)
    while True:
        collectives.all_reduce_sum(torch.ones(2))


def statistics(rank: int) -> dict[str, Any]:
    """Values and gradients of the shared functions, for shares of 1 and 2 of three rows, and for copies."""
    rows = torch.arange(6.0).view(3, 2).square()
    found: dict[str, Any] = {}
    for name, sizes in {"split": (1, 2), "copied": (3, 3)}.items():
        share = BatchShard(sizes, rank, name == "copied", 5)
        x = rows[share.rows].clone().requires_grad_()
        with global_batch_statistics(share):
            mean, every = batch_mean(x), all_gather_rows(x)
            loss = (mean**3).sum() + (every * every.flip(0)).sum() + (x**2).sum(1).mean()
            noise = KeyedNoise(1, 2, torch.arange(3)[share.rows]).all_gather()
            counts = [
                batch_shards.global_batch_size(x),
                len(batch_shards.local_slice(every)),
                len(noise.index),
            ]
        (loss * share.weight).backward()  # type: ignore[no-untyped-call]
        found[name] = {"mean": mean.tolist(), "every": every.tolist(), "counts": counts}
        found[name]["gradient"] = x.grad.tolist()  # type: ignore[union-attr]
    return found


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes did, and what each of them reports."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.raises(Interrupted, match=f"stopped at step {STOP_AT} of 12"):
        train(config(*STOPPED), folder / "begun", Listener(stop_at_log=STOP_AT))
    multiprocessing.spawn(worker, (folder, CASES), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that is stopped elsewhere, here without a stop."""
    return train(config(*STOPPED), tmp_path_factory.mktemp("straight") / "run")


def report_of(together: Path, rank: int) -> dict[str, Any]:
    return json.loads((together / f"told-{rank}.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns(tmp_path: Path, together: Path, name: str) -> None:
    run = train(config(*CASES[name]), tmp_path / "run")
    assert_close_runs(run, together / name)
    ours, theirs = card(run)["progress"], card(together / name)["progress"]
    for key in ("step", "inner", "tokens", "best_step", "finished"):
        assert ours[key] == theirs[key]


@pytest.mark.long
def test_four_processes_learn_what_one_learns(tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_four, (tmp_path,), nprocs=4)
    for name, sets in OF_FOUR.items():
        assert_close_runs(train(config(*sets), tmp_path / f"{name}-alone"), tmp_path / name)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes as Linux shows them")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_torchrun_ends_with_a_signal_and_one_process_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    """SIGKILL to the second process, or SIGTERM to torchrun itself, as Slurm sends it."""
    file, run = tmp_path / "config.yaml", tmp_path / "run"
    file.write_text(dump_config(config(*UNDER_TORCHRUN)), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "seqvae", "train", str(file), "--out", str(run)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as agent:
        while not list_checkpoints(run) and agent.poll() is None:
            time.sleep(0.02)
        os.kill(of_rank(1, agent.pid) if number == signal.SIGKILL else agent.pid, number)
        said = agent.communicate(timeout=300)[1]
    assert agent.returncode != 0
    killed = "process 0 of 2 lost the others"
    assert (killed if number == signal.SIGKILL else "everything is saved") in said
    assert "go on with" in said
    assert not card(run)["progress"]["finished"]
    resume(run)
    assert_close_runs(train(config(*UNDER_TORCHRUN), tmp_path / "straight"), run)


def of_rank(rank: int, agent: int) -> int:
    """The process that torchrun calls by this number."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    environments = {child: Path(f"/proc/{child}/environ").read_bytes() for child in children}
    return next(int(child) for child, told in environments.items() if f"\0RANK={rank}\0".encode() in told)


def test_the_cases_are_what_they_say(together: Path) -> None:
    progress = card(together / "aggressive")["progress"]
    assert progress["inner"] > progress["step"], "the encoder had updates of its own"
    assert any(line["mmd"] == 0 for line in metrics(together / "fewer-than-processes", "train"))


def test_statistics_of_shares_are_those_of_the_whole(together: Path) -> None:
    x = (torch.arange(6.0).view(3, 2).square()).requires_grad_()
    loss = (batch_mean(x) ** 3).sum() + (x * x.flip(0)).sum() + (x**2).sum(1).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    for name in ("split", "copied"):
        parts = [report_of(together, rank)["statistics"][name] for rank in (0, 1)]
        gradients = [torch.tensor(part["gradient"]) for part in parts]
        whole = sum(gradients) if name == "copied" else torch.cat(gradients)
        torch.testing.assert_close(whole, x.grad)
        for part in parts:
            torch.testing.assert_close(torch.tensor(part["mean"]), x.detach().mean(0, keepdim=True))
            assert part["every"] == x.tolist()
    assert [report_of(together, rank)["statistics"]["split"]["counts"] for rank in (0, 1)] == [
        [3, 1, 3],
        [3, 2, 3],
    ]


def test_two_processes_measure_what_one_measures(together: Path) -> None:
    one, *both = measured(together / "plain"), *(report_of(together, rank)["measured"] for rank in (0, 1))
    for found in (one, *both):
        assert found["report"].pop("seconds") > 0
    for found in both:
        assert found["report"] == json.loads(json.dumps(one["report"]))
        for key in ("codes", "few", "refused"):
            assert found[key] == json.loads(json.dumps(one[key]))
    assert 0 < both[0]["steps"] < one["steps"]
    assert both[0]["steps"] + both[1]["steps"] == one["steps"]
    line = "text 1: '' holds no token: give a sentence with at least one word"
    assert one["refused"] == ["UserError", line]


def test_items_are_shared_out_in_order() -> None:
    assert collectives.map_sharded([3, 1, 2], lambda x: 2 * x, torch.device("cpu")) == [6, 2, 4]


def test_only_the_first_process_writes(together: Path) -> None:
    assert report_of(together, 0)["writes"]
    assert report_of(together, 1)["writes"] == []


def test_two_processes_go_on_with_the_run_of_one(straight: Path, together: Path) -> None:
    assert_close_runs(straight, together / "begun")


def test_a_signal_to_one_process_stops_all_and_one_process_goes_on(straight: Path, together: Path) -> None:
    kind, message = report_of(together, 0)["signal"]
    assert kind == "Interrupted"
    assert message.startswith(f"stopped at step {STOP_AT} of 12, everything is saved")
    assert report_of(together, 1)["signal"] == ["SystemExit", str(128 + signal.SIGTERM)]
    assert [folder.name for folder in list_checkpoints(together / "stopped")] == [f"step-{STOP_AT}"]
    resume(together / "stopped")
    assert_close_runs(straight, together / "stopped")


def test_an_error_of_all_is_reported_by_the_first(together: Path) -> None:
    kind, message = report_of(together, 0)["nan"]
    assert kind == "UserError"
    assert "the loss is not a number at step" in message
    assert report_of(together, 1)["nan"] == ["SystemExit", "2"]
    assert "exists: choose another --out" in report_of(together, 0)["taken"][1]
    for rank in (0, 1):
        assert report_of(together, rank)["data"] == ["UserError", "no such file on this machine"]


def test_a_lost_process_is_not_waited_for(together: Path) -> None:
    kind, message = report_of(together, 0)["lost"]
    assert kind == "UserError"
    assert "process 0 of 2 lost the others" in message
    assert "go on with --resume" in message


def test_who_loses_another_ends_without_a_crash() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(bereaved, (port,), nprocs=2)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_cover_the_batch(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    rows = np.arange(10, 10 + size)
    monkeypatch.setattr(batch_shards, "world_size", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(batch_shards, "rank", lambda rank=rank: rank)
        parts.append(local_rows(rows).tolist())
    if size < 3:
        assert parts == [rows.tolist()] * 3
    else:
        assert [row for part in parts for row in part] == rows.tolist()
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_single_process_shares_nothing() -> None:
    x = torch.randn(3, 2)
    with global_batch_statistics(BatchShard((3,), 0, False, 0)):
        assert all_gather_rows(x) is x
        assert global_mean(x) is x
        assert batch_shards.global_batch_size(x) == 3
    assert collectives.all_gather_ints([4, 5]) == [[4, 5]]
    assert collectives.is_main()


def test_a_signal_that_comes_twice_at_once_is_one() -> None:
    with stop_on_signals(grace=60) as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert stop.number == signal.SIGTERM
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with stop_on_signals(grace=0.001):
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_each_process_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for place in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(place))
        assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", place)
        assert pick_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="2 CUDA devices for more processes: `torchrun --nproc-per-node 2"):
        pick_device("auto")
    assert pick_device("cpu") == torch.device("cpu")
