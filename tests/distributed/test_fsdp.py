"""A model sharded over two processes: the same training and files as on one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from tiny import Listener, assert_close_runs, config
from torch import Tensor, multiprocessing, nn

from seqvae.config.schema import TextRunConfig
from seqvae.data.text.dataset import load_data
from seqvae.distributed.fsdp import (
    apply_fsdp,
    full_state_dict,
    is_dtensor,
    local_optimizer_state,
    shards_rnns,
)
from seqvae.errors import UserError
from seqvae.runs.run_folder import create_run
from seqvae.training.loop import resume, train
from seqvae.training.trainer import Trainer
from seqvae.utils.atomic_files import list_checkpoints
from seqvae.utils.reporter import Silent
from seqvae.utils.signals import Interrupted

CUT = ("train.shard=true", "train.steps=4", "train.log_every=1", "train.validate_every=2", "train.clip=0.5")
BLOCKS = "name: transformer, width: 8, heads: 2, layers: 2, dropout: 0"
TIED = f"decoder={{{BLOCKS}, tie: true, z_to: [slots, norms, embeddings, softmax]}}"
TRANSFORMER = (*CUT, f"encoder={{{BLOCKS}}}", TIED)
CASES: dict[str, tuple[str, ...]] = {
    "transformer": TRANSFORMER,
    "accumulate": (*TRANSFORMER, "train.accumulate=2", "train.optimizer=sgd"),
    "vamp": (*TRANSFORMER, "latent={name: gaussian, dim: 4, prior: {name: vamp, components: 3}}"),
    "remedies": (*CUT, "remedies=[{name: bag_of_words}, {name: mmd}, {name: factor_vae, hidden: 8}]"),
    "aggressive": (*CUT, "remedies=[{name: aggressive_encoder, max_inner_steps: 7, window: 2}]"),
    "sphere": (*CUT, "latent={name: bn_gaussian, dim: 5}", "train.optimizer=sgd", "train.lr=0.1"),
}
if not shards_rnns():  # they are refused
    CASES = {name: sets for name, sets in CASES.items() if BLOCKS in "".join(sets)}
STOPPED = (*TRANSFORMER, "train.steps=6", "remedies=[{name: bag_of_words}]")
STOP_AT = 3


def worker(rank: int, folder: Path) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    for name, sets in CASES.items():
        train(config(*sets), folder / name)
    resume(folder / "begun-by-one")
    begun(folder / "begun-by-two", rank)
    told = held(folder / "held") | {"scalar": refused(rank)}
    (folder / f"told-{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def begun(run: Path, rank: int = 0) -> None:
    """A run that is stopped in its midst."""
    with pytest.raises((Interrupted, SystemExit)):
        train(config(*STOPPED), run, Listener(stop_at_log=STOP_AT))
    assert [folder.name for folder in list_checkpoints(run)] == ["step-2", f"step-{STOP_AT}"]


def held(run: Path) -> dict[str, Any]:
    """How many numbers this process keeps of parameters and of an optimizer, and how many there are."""
    made = cast(TextRunConfig, config(*TRANSFORMER))
    data = load_data(made.data, made.tokenizer)
    if dist.get_rank() == 0:
        create_run(run, made, data.tokenizer)
    dist.barrier()
    trainer = Trainer(run, made, data, Silent())
    trainer.update()
    parameters: list[Any] = list(trainer.step_module.parameters())
    states = trainer.optimizers["model"].state
    return {
        "parameters": sum(p.to_local().numel() for p in parameters),
        "memory": sum(states[p]["exp_avg"].to_local().numel() for p in parameters),
        "all": sum(p.numel() for p in parameters),
        "cut": all(is_dtensor(p) and is_dtensor(states[p]["exp_avg_sq"]) for p in parameters),
    }


def refused(rank: int) -> str:
    """What is said of a parameter without dims."""
    module = nn.Module()
    module.spread = nn.Parameter(torch.zeros(()))
    with pytest.raises(UserError) as told:
        apply_fsdp(module, torch.device("cpu"))
    return str(told.value)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what two processes did."""
    folder = tmp_path_factory.mktemp("together")
    begun(folder / "begun-by-one")
    multiprocessing.spawn(worker, (folder,), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was begun elsewhere, here without a stop."""
    return train(config(*STOPPED), tmp_path_factory.mktemp("straight") / "run")


def test_old_versions_shard_no_rnn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not shards_rnns("2.11.0+cu130")
    assert shards_rnns("2.13.0")
    monkeypatch.setattr("seqvae.distributed.fsdp.shards_rnns", lambda: False)
    with pytest.raises(UserError, match=r"train\.shard of a GRU or LSTM needs torch 2\.13, this is"):
        apply_fsdp(nn.Sequential(nn.GRU(2, 2)), torch.device("cpu"))


@pytest.mark.parametrize("name", CASES)
def test_halves_learn_what_a_whole_learns(tmp_path: Path, together: Path, name: str) -> None:
    run = train(config(*CASES[name]), tmp_path / "run")
    assert_close_runs(run, together / name)
    assert_files_alike(run, together / name)


def assert_files_alike(one: Path, two: Path) -> None:
    """The same names, kinds and shapes in every file of weights and states, and nearly the same weights."""
    a, b = list_checkpoints(one)[-1], list_checkpoints(two)[-1]
    weights = load_file(a / "model.safetensors")
    for name, found in load_file(b / "model.safetensors").items():
        torch.testing.assert_close(found, weights.pop(name), atol=1e-3, rtol=0, msg=name)
    assert not weights
    for file in ("optimizers.pt", "objective.pt"):
        assert shapes(torch.load(a / file, weights_only=True)) == shapes(
            torch.load(b / file, weights_only=True)
        )


def shapes(states: Any) -> Any:
    """A nest of states with the shape in place of each tensor."""
    if isinstance(states, dict):
        return {key: shapes(value) for key, value in states.items()}
    if isinstance(states, list):
        return [shapes(value) for value in states]
    return (type(states).__name__, states.shape) if isinstance(states, Tensor) else type(states).__name__


@pytest.mark.parametrize("rank", [0, 1])
def test_each_process_holds_its_share(together: Path, rank: int) -> None:
    told = json.loads((together / f"told-{rank}.json").read_text())
    assert told["cut"]
    assert told["parameters"] == told["memory"]
    assert 0.4 * told["all"] < told["parameters"] < 0.6 * told["all"]
    both = [json.loads((together / f"told-{r}.json").read_text())["parameters"] for r in (0, 1)]
    assert sum(both) == told["all"]


def test_a_run_goes_on_with_another_number_of_processes(together: Path, straight: Path) -> None:
    resume(together / "begun-by-two")
    for name in ("begun-by-one", "begun-by-two"):
        assert_close_runs(straight, together / name)
        assert_files_alike(straight, together / name)


def test_a_single_number_cannot_be_cut(together: Path) -> None:
    told = json.loads((together / "told-1.json").read_text())["scalar"]
    assert told == "train.shard cannot split spread, which is a single number: leave train.shard out"


def test_a_single_process_shards_nothing_and_a_line_says_so(tmp_path: Path) -> None:
    report = Listener()
    train(config(*CUT, "train.steps=1"), tmp_path / "run", report)
    assert "train.shard is left out: one process has no other to share with" in report.notes
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], momentum=0.9)
    states = {**optimizer.state_dict(), "state": {0: {"momentum_buffer": torch.ones(2)}}}
    assert local_optimizer_state(states, optimizer) == states
    assert full_state_dict([{"a": 1}]) == [{"a": 1}]
