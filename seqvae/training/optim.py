"""Optimizers and learning rates."""

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
PLATEAU = 0.5  # the learning rate's factor when a validation is no better


def make_optimizer(config: TrainConfig, module: nn.Module, without: Iterable[nn.Parameter] = ()) -> Optimizer:
    """The optimizer of all of a module's parameters but those in `without`; matrices alone decay.

    Raises:
        UserError: `config.groups` names no parameter.
    """
    left_out = {id(p) for p in without}
    named = [(n.removeprefix("vae."), p) for n, p in module.named_parameters() if id(p) not in left_out]
    parameters = [p for _, p in named]
    groups = parameter_groups(config, named)
    if config.optimizer == "sgd":
        fused = not any(map(is_dtensor, parameters))  # of cut ones torch has a fused Adam alone
        return SGD(groups, lr=config.lr, momentum=MOMENTUM, fused=fused)
    kind = AdamW if config.optimizer == "adamw" else Adam
    return kind(groups, lr=config.lr, fused=True)


def parameter_groups(config: TrainConfig, named: Sequence[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
    """Matrices and vectors of the rest, then of each of `config.groups`; `lr_scale` is a group's factor.

    Raises:
        UserError: a group that names no parameter.
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
    """Let the learning rate lie in a tensor on the device, so that a captured step can read a new one.

    To be called after `load_state_dict`, which replaces it. Fused kernels read fp32 on CUDA; on a CPU fp64
    gives the very numbers that a Python float gives.
    """
    dtype = torch.float32 if device.type == "cuda" else torch.float64
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), dtype=dtype, device=device)


@contextmanager
def capturable(optimizers: Iterable[Optimizer]) -> Iterator[None]:
    """Inside, steps may be recorded in a CUDA graph; set for good, torch warns at each step outside."""
    groups = [g for optimizer in optimizers for g in optimizer.param_groups if "capturable" in g]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def portable_state(optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimizer as any device loads it: learning rates are plain numbers."""
    state = optimizer.state_dict()
    return {**state, "param_groups": [{**g, "lr": float(g["lr"])} for g in state["param_groups"]]}


def learning_rate(
    config: TrainConfig, step: Tensor | int, total: int, factor: Tensor | float = 1.0
) -> Tensor:
    """Lr x warm-up x decay at update `step` of `total`, () fp64; `factor` is what the plateau rule set."""
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
    """The rate () times each group's factor, without reading it where a group holds a tensor."""
    for group in optimizer.param_groups:
        own = lr * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(own)
        else:
            group["lr"] = float(own)
