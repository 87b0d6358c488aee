"""One model spread over processes, for models too large for one device (FSDP2: `fully_shard` of torch).

Each process keeps a share of every parameter, of its gradient and of the optimizer's memory of it, cut along
the first dim. What a step computes with is gathered for as long as it is needed: a module that says
`shards = True` in its own time, all else for the whole step.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqvae.distributed import is_main, world
from seqvae.registry import UserError


def is_share(x: object) -> bool:
    """Whether a tensor is this process's share of a larger one."""
    return hasattr(x, "full_tensor")  # asked so that nobody has to import DTensor, which takes a while


def shard(module: nn.Module, device: torch.device) -> nn.Module:
    """Spread a module's parameters over all processes, each share on `device`; the module comes back.

    Its `backward` leaves the sum of the processes' gradients, each process its share (Zhao et al. 2023).

    Raises:
        UserError: a parameter that cannot be cut.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    for name, parameter in module.named_parameters():
        if parameter.ndim == 0:
            raise UserError(f"train.shard cannot cut {name}, which is a single number: leave train.shard out")
    # keys and values that a block gives out are views; nobody writes into them
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    # shares are gathered into FSDP's buffer, not into cuDNN's
    warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
    mesh = init_device_mesh(device.type, (world(),))
    for part in [m for m in module.modules() if getattr(m, "shards", False)]:
        fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)  # a sum: losses are weighted by what each process reads
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    return module


def whole(states: Any) -> Any:
    """The same nest of dicts and lists with whole tensors in host memory; every process must ask.

    None in place of each on all processes but the first, which alone writes.
    """
    if isinstance(states, dict):
        return {key: whole(value) for key, value in states.items()}
    if isinstance(states, list | tuple):
        return type(states)(whole(value) for value in states)
    if not is_share(states):
        return states
    gathered: Tensor = states.full_tensor()
    return gathered.cpu() if is_main() else None


def own_share(states: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's saved `states` with those tensors cut that belong to a parameter that is cut.

    Of the saved groups only their parameters are taken. Their settings are those of the config, as the
    optimizer has them, or belong to the device of the run that wrote them (`fused`, `capturable`).
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    kept = {
        place: {key: _cut(value, parameters[place]) for key, value in state.items()}
        for place, state in states["state"].items()
    }
    now = optimizer.state_dict()["param_groups"]
    pairs = zip(now, states["param_groups"], strict=True)
    return {"state": kept, "param_groups": [{**here, "params": saved["params"]} for here, saved in pairs]}


def _cut(value: Any, parameter: Any) -> Any:
    """This process's share of a value of a parameter's shape; the value where there is nothing to cut."""
    if not is_share(parameter) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    where = parameter.device_mesh, parameter.placements
    return distribute_tensor(value, *where, src_data_rank=None)  # every process has read the whole
