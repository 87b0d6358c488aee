"""Optimizers, parameter groups and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from seqvae.config.schema import GroupConfig, TrainConfig
from seqvae.distributed.fsdp import is_dtensor
from seqvae.errors import UserError
from seqvae.numerics import as_step

MOMENTUM = 0.9
PLATEAU = 0.5  # factor of the learning rate after a validation without improvement


def make_optimizer(config: TrainConfig, module: nn.Module, without: Iterable[nn.Parameter] = ()) -> Optimizer:
    """Make the optimizer of a module's parameters except `without`; only matrices have weight decay.

    Raises:
        UserError: `config.groups` names no parameter.
    """
    left_out = {id(p) for p in without}
    named = [(n.removeprefix("vae."), p) for n, p in module.named_parameters() if id(p) not in left_out]
    parameters = [p for _, p in named]
    groups = parameter_groups(config, named)
    if config.optimizer == "sgd":
        fused = not any(map(is_dtensor, parameters))  # for DTensors torch has only a fused Adam
        return SGD(groups, lr=config.lr, momentum=MOMENTUM, fused=fused)
    kind = AdamW if config.optimizer == "adamw" else Adam
    return kind(groups, lr=config.lr, fused=True)


def parameter_groups(config: TrainConfig, named: Sequence[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
    """Parameter groups: matrices and vectors of the rest, then of each of `config.groups`, with `lr_scale`.

    Raises:
        UserError: a group that matches no parameter.
    """
    members: dict[str, list[nn.Parameter]] = {"": [], **{name: [] for name in config.groups}}
    for name, parameter in named:
        fitting = [group for group in members if f"{name}.".startswith(f"{group}.") or not group]
        members[max(fitting, key=len)].append(parameter)
    if empty := [group for group in config.groups if not members[group]]:
        known = sorted({".".join(name.split(".")[:2]) for name, _ in named})
        raise UserError(
            f"train.groups got {empty[0]!r}, which begins no parameter's name: {', '.join(known)}"
        )
    groups: list[dict[str, Any]] = []
    for name, parameters in members.items():
        own = config.groups.get(name, GroupConfig())
        decay = config.weight_decay if own.weight_decay is None else own.weight_decay
        for decays in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == decays]
            groups.append({"params": chosen, "weight_decay": decay if decays else 0.0, "lr_scale": own.lr})
    return groups


def put_rate_on_device(optimizer: Optimizer, device: torch.device) -> None:
    """Keep the learning rate in a tensor on the device, so that a captured step reads new values.

    Call it after `load_state_dict`, which replaces the tensor. Fused kernels read fp32 on CUDA; on a CPU fp64
    gives the same numbers as a Python float.
    """
    dtype = torch.float32 if device.type == "cuda" else torch.float64
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), dtype=dtype, device=device)


@contextmanager
def capturable(optimizers: Iterable[Optimizer]) -> Iterator[None]:
    """Context in which optimizer steps may be captured; set permanently, torch warns at every other step."""
    groups = [g for optimizer in optimizers for g in optimizer.param_groups if "capturable" in g]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def portable_state(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer's state with learning rates as plain numbers, which any device can load."""
    state = optimizer.state_dict()
    return {**state, "param_groups": [{**g, "lr": float(g["lr"])} for g in state["param_groups"]]}


def learning_rate(
    config: TrainConfig, step: Tensor | int, total: int, factor: Tensor | float = 1.0
) -> Tensor:
    """Lr x warm-up x decay at update `step` of `total`, () fp64; `factor` is that of the plateau rule."""
    t = as_step(step)
    rate = config.lr * factor * torch.ones_like(t)
    if config.warmup:
        rate = rate * ((t + 1) / config.warmup).clamp(max=1.0)
    if config.decay in ("linear", "cosine"):
        gone = (t - config.warmup).clamp(min=0) / max(1, total - config.warmup)
        left = (1 - gone).clamp(min=0)
        rate = rate * (left if config.decay == "linear" else 0.5 * (1 - torch.cos(math.pi * left)))
    return rate


def set_learning_rate(optimizer: Optimizer, lr: Tensor) -> None:
    """Set lr () times each group's factor; no host sync if the group keeps its rate in a tensor."""
    for group in optimizer.param_groups:
        own = lr * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(own)
        else:
            group["lr"] = float(own)
