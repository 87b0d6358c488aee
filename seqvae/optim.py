"""Optimizers and learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from seqvae.config import TrainConfig
from seqvae.sharding import is_share

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
        fused = not any(map(is_share, parameters))  # of cut ones torch has a fused Adam alone
        return SGD(groups, lr=config.lr, momentum=MOMENTUM, fused=fused)
    kind = AdamW if config.optimizer == "adamw" else Adam
    return kind(groups, lr=config.lr, fused=True)


def learning_rate(config: TrainConfig, step: int, total: int, factor: float = 1.0) -> float:
    """Lr x warm-up x decay at update `step` of `total`; `factor` is what the plateau rule made of it."""
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    left = max(0.0, 1 - max(0, step - config.warmup) / max(1, total - config.warmup))
    decay = {"linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}.get(config.decay, 1.0)
    return config.lr * rise * decay * factor


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """The same rate for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr
