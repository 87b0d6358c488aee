"""Runs whose recurrent weights are views of one buffer, as cuDNN has them: saved, resumed and read as ever.

`flatten_on_cpu` does to weights on a CPU what cuDNN does on a GPU. Files must not show it.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from pretend_cudnn import flatten_on_cpu
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import Listener, assert_same, assert_same_runs, config
from torch import nn

from seqvae.errors import UserError
from seqvae.inference import load
from seqvae.runs.run_folder import load_run
from seqvae.runs.weights import WEIGHTS, own_copies, own_copy, read_weights, tied_names, write_weights
from seqvae.training.loop import resume, train
from seqvae.utils.atomic_files import list_checkpoints
from seqvae.utils.signals import Interrupted

SHORT = (
    "train.steps=6",
    "train.validate_every=2",
    "train.log_every=1",
    "data.examples=60",
    "train.save_every=2",
)
CASES: dict[str, tuple[str, ...]] = {
    "gru": (),
    "deep tied gru": ("decoder.layers=2", "decoder.tie=true", "decoder.dropout=0.2"),
    "gru, both directions": ("encoder.bidirectional=true", "encoder.layers=2"),
    "lstm": ("encoder.name=lstm", "decoder.name=lstm"),
    "deep lstm, both directions": (
        "encoder={name: lstm, embed: 8, hidden: 16, layers: 2, bidirectional: true}",
        "decoder={name: lstm, embed: 8, hidden: 16, layers: 2, tie: true}",
    ),
    "remedies": (
        "remedies=[{name: bag_of_words}, {name: factor_vae, hidden: 8}]",
        "latent.prior={name: vamp}",
    ),
}


@pytest.fixture
def flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of recurrent networks lie in one buffer from now on."""
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", flatten_on_cpu)


def is_flat(module: nn.Module) -> bool:
    """Whether the weights of every recurrent network are views of one buffer."""
    networks = [m for m in module.modules() if isinstance(m, nn.RNNBase)]
    return all(len({p.untyped_storage().data_ptr() for p in m.parameters()}) == 1 for m in networks)


def header(file: Path) -> dict[str, str]:
    """The metadata of a file: its hash, and the names that it leaves out."""
    with safe_open(file, "pt") as opened:
        found: dict[str, str] = opened.metadata()
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_the_same_however_weights_lie(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(*SHORT, *CASES[name])
    plain = train(made, tmp_path / "plain")
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", flatten_on_cpu)
    with pytest.raises(Interrupted):
        train(made, tmp_path / "flat", Listener(stop_at_log=3))
    resume(tmp_path / "flat")
    assert_same_runs(plain, tmp_path / "flat")
    names = [set(header(list_checkpoints(run)[-1] / WEIGHTS)) for run in (plain, tmp_path / "flat")]
    assert names[0] == names[1]
    assert is_flat(load_run(tmp_path / "flat").vae)


def test_what_is_copied_and_shared_keeps_its_weights(tmp_path: Path, flat: None) -> None:
    run = train(config(*SHORT, *CASES["deep tied gru"]), tmp_path / "run")
    vae = load(run)
    vae.save_pretrained(tmp_path / "given")
    again = load(tmp_path / "given")
    assert_same(again.vae.state_dict(), vae.vae.state_dict())
    copied = copy.deepcopy(vae.vae)
    assert tied_names(copied) == tied_names(vae.vae) == [["decoder.embedding.weight", "decoder.head.weight"]]
    write_weights(copied, tmp_path / "copied")
    assert_same(load_file(tmp_path / "copied"), load_file(run / WEIGHTS))
    init = f"init={{from: {run}, parts: [encoder, decoder]}}"
    train(config(*SHORT, *CASES["deep tied gru"], init), tmp_path / "next")


def test_files_without_the_layout_are_read_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(config(*SHORT, *CASES["deep tied gru"]), tmp_path / "run")
    expected = load_file(run / WEIGHTS)
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", flatten_on_cpu)
    vae = load_run(run).vae
    assert is_flat(vae)
    assert all(torch.equal(vae.state_dict()[name], value) for name, value in expected.items())


class Tied(nn.Module):
    """Two names of one weight, and views of one buffer that are not the same weight."""

    def __init__(self) -> None:
        super().__init__()
        buffer = torch.arange(8.0)
        self.one, self.two = nn.Parameter(torch.empty(0)), nn.Parameter(torch.empty(0))
        self.one.data, self.two.data = buffer[:4].view(2, 2), buffer[4:].view(2, 2)
        self.other = self.two
        self.register_buffer("empty", torch.zeros(0))
        self.register_buffer("nothing", torch.zeros(0))


def test_tied_are_those_that_are_the_same(tmp_path: Path) -> None:
    module, file = Tied(), tmp_path / WEIGHTS
    assert tied_names(module) == [["other", "two"]]
    write_weights(module, file)
    assert header(file)["two"] == "other"
    assert sorted(load_file(file)) == ["empty", "nothing", "one", "other"]
    fresh = Tied()
    with torch.no_grad():
        fresh.one.zero_(), fresh.two.zero_()
    read_weights(fresh, file)
    assert_same(fresh.state_dict(), module.state_dict())
    assert fresh.other is fresh.two


def test_a_file_may_hold_a_tied_weight_under_any_of_its_names_or_all(tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in Tied().state_dict().items()}
    for left_out in ({"other"}, {"two"}, set()):
        save_file({k: v for k, v in state.items() if k not in left_out}, tmp_path / WEIGHTS)
        fresh = Tied()
        with torch.no_grad():
            fresh.two.zero_()
        read_weights(fresh, tmp_path / WEIGHTS)
        assert_same(fresh.state_dict(), state)


@pytest.mark.parametrize(
    ("change", "reason"), [("two", "other and two are one weight here"), ("one", "Error")]
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, change: str, reason: str) -> None:
    state = {k: v.clone() for k, v in Tied().state_dict().items()}
    state[change] = state[change].new_zeros(2, 2) if change == "two" else state[change][:1].clone()
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match=f"cannot be read as this model's weights \\({reason}"):
        read_weights(Tied(), tmp_path / WEIGHTS)


def test_copies_are_contiguous_and_hold_nothing_else() -> None:
    buffer = torch.arange(12.0).view(3, 4)
    for part in (buffer, buffer[1], buffer[:, 1], buffer.T, buffer.clone().requires_grad_()):
        copied = own_copy(part)
        assert torch.equal(copied, part.detach())
        assert copied.is_contiguous()
        assert copied.untyped_storage().nbytes() == copied.nbytes
        assert not copied.requires_grad
    nest = {"a": [buffer[1], 2], "b": (None, "text")}
    assert_same(own_copies(nest), nest)
