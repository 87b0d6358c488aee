"""Optimizers decay matrices only; learning rates follow their formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from seqvae.config.schema import TrainConfig
from seqvae.errors import UserError
from seqvae.training.optim import PLATEAU, learning_rate, make_optimizer, set_learning_rate

TOTAL = 110


@pytest.mark.parametrize(
    ("decay", "step", "expected"),
    [
        ("none", 0, 0.1),  # 10 steps of warm-up: 1/10 at the first update
        ("none", 4, 0.5),
        ("none", 9, 1.0),
        ("none", 109, 1.0),
        ("plateau", 109, 1.0),
        ("linear", 4, 0.5),
        ("linear", 10, 1.0),
        ("linear", 60, 0.5),
        ("linear", 85, 0.25),
        ("linear", 109, 0.01),
        ("cosine", 10, 1.0),
        ("cosine", 35, (1 + math.sqrt(0.5)) / 2),
        ("cosine", 60, 0.5),
        ("cosine", 109, (1 - math.cos(math.pi * 0.01)) / 2),
    ],
)
def test_points_of_the_schedules(decay: str, step: int, expected: float) -> None:
    config = TrainConfig.model_validate({"lr": 0.2, "warmup": 10, "decay": decay})
    assert learning_rate(config, step, TOTAL) == pytest.approx(0.2 * expected)
    assert learning_rate(config, step, TOTAL, PLATEAU**2) == pytest.approx(0.05 * expected)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_decays_fall_and_never_below_zero(decay: str) -> None:
    config = TrainConfig.model_validate({"decay": decay})
    rates = [learning_rate(config, step, TOTAL) for step in range(TOTAL + 5)]
    assert rates[0] == config.lr
    assert all(a > b > 0 for a, b in pairwise(rates[:TOTAL]))
    assert min(rates) >= 0


def test_a_warm_up_longer_than_the_run() -> None:
    config = TrainConfig(lr=1.0, warmup=100, decay="cosine")
    assert [learning_rate(config, step, 3) for step in range(3)] == pytest.approx([0.01, 0.02, 0.03])


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_every_optimizer_moves_and_decays_matrices_alone(name: str) -> None:
    module = nn.Linear(3, 2)
    optimizer = make_optimizer(TrainConfig(optimizer=name, weight_decay=0.1, lr=1e-3), module)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {id(module.weight): 0.1, id(module.bias): 0.0}
    before = {k: v.clone() for k, v in module.state_dict().items()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(module.bias, before["bias"])
    assert bool((module.weight.abs() < before["weight"].abs()).all())


def test_the_kind_is_the_one_asked_for() -> None:
    kinds = {
        n: type(make_optimizer(TrainConfig(optimizer=n), nn.Linear(1, 1))).__name__ for n in ("adam", "sgd")
    }
    kinds["adamw"] = type(make_optimizer(TrainConfig(), nn.Linear(1, 1))).__name__
    assert kinds == {"adam": "Adam", "sgd": "SGD", "adamw": "AdamW"}


def test_parameters_left_out_are_in_no_group() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = make_optimizer(TrainConfig(), module, without=module[1].parameters())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in module[0].parameters()}


def test_a_rate_is_set_for_all_groups() -> None:
    optimizer = make_optimizer(TrainConfig(), nn.Linear(2, 2))
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


def test_groups_have_rates_and_decay_of_their_own() -> None:
    """The longest name counts; what no group names trains as before."""
    module = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.ModuleDict({"base": nn.Linear(2, 2)})})
    module["decoder"]["base2"] = nn.Linear(2, 2)  # type: ignore[index]
    groups = {"decoder": {"lr": 0.5}, "decoder.base": {"lr": 0.1, "weight_decay": 0.0}}
    config = TrainConfig(lr=1.0, weight_decay=0.3, groups=groups)  # type: ignore[arg-type]
    optimizer = make_optimizer(config, module)
    set_learning_rate(optimizer, 2.0)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    decays = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    names = dict(module.named_parameters())
    found = {name: (rates[id(p)], decays[id(p)]) for name, p in names.items()}
    assert found == {
        "encoder.weight": (2.0, 0.3),
        "encoder.bias": (2.0, 0.0),
        "decoder.base.weight": (0.2, 0.0),
        "decoder.base.bias": (0.2, 0.0),
        "decoder.base2.weight": (1.0, 0.3),
        "decoder.base2.bias": (1.0, 0.0),
    }


def test_an_empty_group_is_refused() -> None:
    config = TrainConfig(groups={"decodr": {}})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'decodr', which begins no parameter's name: bias, weight"):
        make_optimizer(config, nn.Linear(2, 2))
