"""Optimizers and learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from seqvae.config.schema import TrainConfig
from seqvae.distributed.fsdp import is_dtensor
from seqvae.numerics import as_step

MOMENTUM = 0.9
PLATEAU = 0.5  # the learning rate's factor when a validation is no better


def make_optimizer(config: TrainConfig, module: nn.Module, without: Iterable[nn.Parameter] = ()) -> Optimizer:
    """The optimizer of all of a module's parameters but those in `without`; matrices alone decay."""
    left_out = {id(p) for p in without}
    parameters = [p for p in module.parameters() if id(p) not in left_out]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        fused = not any(map(is_dtensor, parameters))  # of cut ones torch has a fused Adam alone
        return SGD(groups, lr=config.lr, momentum=MOMENTUM, fused=fused)
    kind = AdamW if config.optimizer == "adamw" else Adam
    return kind(groups, lr=config.lr, fused=True)


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
    """The same rate () for all groups, without reading it where a group holds a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(lr)
        else:
            group["lr"] = float(lr)
