"""Sharded parameters for models too large for one device (FSDP2, torch's `fully_shard`).

Each rank keeps a shard of every parameter, its gradient and its optimizer state, split along the first dim.
Full parameters are gathered while they are needed: those of a module that declares `shards = True` during
its own forward and backward pass, all others for the whole step.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqvae.distributed.collectives import is_main, world_size
from seqvae.errors import UserError

RNN_SINCE = (2, 13)  # torch 2.11 reduced other gradients of a GRU than one process computes


class StackedBlock(nn.Module):
    """One of many equal blocks of a deep network: torch.compile compiles and FSDP shards each as a unit."""


def is_dtensor(x: object) -> bool:
    """Whether a tensor is a DTensor, this rank's shard of a larger one."""
    return hasattr(x, "full_tensor")  # not isinstance: importing DTensor is slow


def shards_rnns(version: str = torch.__version__) -> bool:
    """Whether this version of torch shards a GRU or LSTM with the gradients of one process."""
    return tuple(int(number) for number in version.split(".")[:2]) >= RNN_SINCE


def apply_fsdp(module: nn.Module, device: torch.device) -> nn.Module:
    """Shard a module's parameters over all ranks, onto `device`, in place; returns the module.

    `backward` reduce-scatters the sum of the ranks' gradients (Zhao et al. 2023).

    Raises:
        UserError: a parameter that cannot be sharded, or a GRU or LSTM with a torch before 2.13.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not shards_rnns() and any(isinstance(part, nn.RNNBase) for part in module.modules()):
        raise UserError(
            f"train.shard of a GRU or LSTM needs torch 2.13, this is {torch.__version__}: leave train.shard "
            "out, or take a Transformer"
        )
    for name, parameter in module.named_parameters():
        if parameter.ndim == 0:
            raise UserError(
                f"train.shard cannot split {name}, which is a single number: leave train.shard out"
            )
    # harmless: the keys and values that a block returns are views that are never written to
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    # expected: parameters are gathered into FSDP's buffer, not into cuDNN's
    warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
    mesh = init_device_mesh(device.type, (world_size(),))
    for block in [m for m in module.modules() if isinstance(m, StackedBlock)]:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)  # a sum, not a mean: losses are weighted by shard size
            part.set_force_sum_reduction_for_comms(True)  # gloo supports only sums
    return module


def full_state_dict(states: Any) -> Any:
    """The same nested dicts and lists with unsharded CPU tensors. A collective: call it on every rank.

    On ranks other than 0, which do not write files, None replaces each sharded tensor.
    """
    if isinstance(states, dict):
        return {key: full_state_dict(value) for key, value in states.items()}
    if isinstance(states, list | tuple):
        return type(states)(full_state_dict(value) for value in states)
    if not is_dtensor(states):
        return states
    gathered: Tensor = states.full_tensor()
    return gathered.cpu() if is_main() else None


def local_optimizer_state(states: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's saved `states`, with the tensors sharded that belong to sharded parameters.

    From the saved groups only their parameters are used. Settings come from the config, as the current
    optimizer has them, because saved ones may belong to another device (`fused`, `capturable`).
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = {
        place: {key: _shard_state(value, parameters[place]) for key, value in state.items()}
        for place, state in states["state"].items()
    }
    now = optimizer.state_dict()["param_groups"]
    pairs = zip(now, states["param_groups"], strict=True)
    return {"state": kept, "param_groups": [{**here, "params": saved["params"]} for here, saved in pairs]}


def _shard_state(value: Any, parameter: Any) -> Any:
    """This rank's shard of a value that has its parameter's shape; other values unchanged."""
    if not is_dtensor(parameter) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    where = parameter.device_mesh, parameter.placements
    # src_data_rank=None: no communication, since every rank has read the full tensor
    return distribute_tensor(value, *where, src_data_rank=None)
