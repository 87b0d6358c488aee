"""Captured updates: the same numbers as eager ones, no host decision inside, for every row of every table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from host_reads import HostReadError, no_host_reads
from test_contract import CODECS, ROWS, WORDS, batch_of, config_of, rows
from tiny import Listener, assert_same, card, config, metrics
from torch import Tensor

from seqvae.build import build_objective, build_vae
from seqvae.config.loading import parse_config
from seqvae.distributed.batch_shards import exchange_shards
from seqvae.errors import UserError
from seqvae.interfaces import RunContext
from seqvae.objectives import TrainStep
from seqvae.remedies import REMEDIES
from seqvae.training.capture import CapturedUpdates
from seqvae.training.loop import resume, train
from seqvae.training.optim import make_optimizer, put_rate_on_device
from seqvae.training.step import Update

CPU = torch.device("cpu")
NOT_CAPTURED = {"aggressive_encoder"}  # counts its inner updates by their losses


class Guarded:
    """Records calls that refuse host reads."""

    def record(self, body: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """The function, watched."""

        def run() -> Tensor:
            with no_host_reads():
                return body()

        return run


def make_update(modality: str, kind: str, name: str, **train: Any) -> Update:
    settings = config_of(modality, kind, name)
    settings = settings.model_copy(update={"train": settings.train.model_copy(update=train)})
    torch.manual_seed(0)
    vae = build_vae(settings, CODECS[modality]).train()
    words = WORDS if modality == "text" else None
    objective = build_objective(settings, vae, RunContext(10, 50, 5, vae.latent.dim, words, ("size",)))
    module = TrainStep(vae, objective).train()
    rivals = torch.nn.ModuleList(objective.discriminators())
    optimizers = {"model": make_optimizer(settings.train, module, without=rivals.parameters())}
    if len(rivals):
        optimizers["adversary"] = make_optimizer(settings.train, rivals)
    for optimizer in optimizers.values():
        put_rate_on_device(optimizer, CPU)
    return Update(module, optimizers, settings.train, 10, "fp32", CPU)


def run_steps(update: Update, run: Callable[[Any], Tensor], modality: str, steps: int = 4) -> list[Tensor]:
    values = []
    for step in range(steps):
        update.set_schedule(step, 1.0)
        torch.manual_seed(step)
        batch = batch_of(modality, 1, step, update.module.vae)
        values.append(run(batch if step != 2 else batch.pad_to_multiple(16)))
    return values


@rows
def test_captured_updates_are_the_eager_ones(modality: str, kind: str, name: str) -> None:
    """Fixed tensors, a step in a tensor and no host read give the numbers of plain updates."""
    if name in NOT_CAPTURED:
        pytest.skip("its reason is tested below")
    eager, fixed = make_update(modality, kind, name), make_update(modality, kind, name)
    captured = CapturedUpdates(fixed, Guarded())
    plain = run_steps(eager, lambda batch: eager([batch], exchange_shards([batch])), modality)
    got = run_steps(
        fixed, lambda batch: captured([batch], exchange_shards([batch]), int(fixed.step)), modality
    )
    assert fixed.names == eager.names
    assert len(captured.recorded) == (2 if modality == "text" else 1)  # one for each shape
    for step, (a, b) in enumerate(zip(got, plain, strict=True)):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5, msg=lambda m, s=step: f"step {s}: {m}")


def test_all_remedies_but_one_are_captured() -> None:
    """A remedy whose updates cannot be captured carries its reason."""
    told = {}
    for _, kind, name in ROWS:
        if kind == "remedy" and name not in told:
            batch = REMEDIES[name].batch_type
            modality = "image" if batch == "image" else "text"
            told[name] = make_update(modality, kind, name).module.objective.capture_obstacle()
    assert {name for name, reason in told.items() if reason} == NOT_CAPTURED
    assert "losses" in told["aggressive_encoder"]


def test_the_guard_sees_what_a_graph_cannot_hold() -> None:
    x = torch.arange(3.0)
    forbidden: list[Callable[[], object]] = [
        lambda: float(x.sum()),
        lambda: bool((x > 1).all()),
        lambda: x.nonzero(),
        lambda: x[x > 1],
        lambda: torch.tensor([1.0], device=x.device),
    ]
    for read in forbidden:
        with no_host_reads(), pytest.raises(HostReadError):
            read()
    with no_host_reads(), pytest.raises((RuntimeError, NotImplementedError)):
        (x + torch.ones(3)).to(x)  # made on the host
    with no_host_reads():
        assert (x + torch.ones(3, device=x.device)).shape == (3,)


SETS = {
    "annealed": (
        "train.decay=cosine",
        "train.warmup=5",
        "remedies=[{name: linear_annealing}, {name: free_bits}]",
    ),
    "accumulated": ("train.accumulate=3", "remedies=[{name: word_dropout}, {name: control_vae, nats: 2}]"),
    "sgd": ("train.optimizer=sgd", "encoder.bidirectional=true", "decoder.dropout=0.3"),
    "variable": ("latent={name: exact_rate, dim: 4, nats: [2, 16]}", "train.decay=plateau"),
    "adversary": ("remedies=[{name: factor_vae, hidden: 8}]",),
}


@pytest.mark.parametrize("name", SETS)
def test_a_captured_run_is_the_eager_run(name: str, tmp_path: Path) -> None:
    """A whole training: the same weights, logs and checkpoints up to rounding."""
    one = train(config(*SETS[name], "train.capture=never"), tmp_path / "eager")
    two = train(config(*SETS[name], "train.capture=always"), tmp_path / "captured")
    for a, b in zip(metrics(one), metrics(two), strict=True):
        assert a.keys() == b.keys()
        for key in a:
            same = a[key] if a[key] is None or isinstance(a[key], str) else pytest.approx(a[key], 5e-3, 5e-3)
            assert b[key] == same, (name, a["step"], key)


def test_a_captured_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    sets = (*SETS["annealed"], "train.capture=always")
    straight = train(config(*sets), tmp_path / "straight")
    with pytest.raises(Exception, match="stopped at step"):
        train(config(*sets), tmp_path / "stopped", Listener(stop_at_log=20))
    resume(tmp_path / "stopped")
    assert_same(metrics(straight), metrics(tmp_path / "stopped"))


def test_what_cannot_be_captured_is_refused_or_runs_eagerly(tmp_path: Path) -> None:
    lagging = "remedies=[{name: aggressive_encoder, max_inner_steps: 3, window: 1}]"
    with pytest.raises(UserError, match=r"aggressive_encoder counts .* use auto or never"):
        train(config(lagging, "train.capture=always"), tmp_path / "always")
    done = train(config(lagging, "train.capture=auto", "train.steps=10"), tmp_path / "auto")
    assert card(done)["progress"]["step"] == 10


def test_a_bad_mode_is_refused() -> None:
    with pytest.raises(UserError, match=r"train\.capture"):
        parse_config({"train": {"capture": "maybe"}})


def test_schedules_take_the_step_as_a_tensor() -> None:
    """The same factor from a number and from a tensor, for every remedy that has one."""
    for name, made in REMEDIES.items():
        if made.beta is inspect.getattr_static(made.__mro__[1], "beta", None):
            continue
        remedy = made()
        remedy.attach(torch.nn.Identity(), RunContext(100, 50, 5, 4, 9, ("size",)))
        for step in (0, 1, 29, 30, 99, 200):
            assert float(remedy.beta(step)) == float(remedy.beta(torch.tensor(step))), (name, step)
