"""Choice of the device and the precision of a run.

`auto` is CUDA if available, and bf16 if the hardware has fast bf16 matrix products.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from seqvae.distributed.collectives import launched_world_size, local_rank
from seqvae.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device `auto`, `cpu`, `cuda` or `cuda:N`; under torchrun `cuda` is the one of the local rank.

    Raises:
        UserError: no such device, or fewer CUDA devices than local ranks.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device got {name!r}: give auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device got 'cuda', but no CUDA device is seen here: use --device cpu or auto")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device got {name!r}: give auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device got {name!r}, but only {torch.cuda.device_count()} are seen here")
    return _own_device() if name == "cuda" and launched_world_size() > 1 else device


def _own_device() -> torch.device:
    devices = torch.cuda.device_count()
    if local_rank() >= devices:
        raise UserError(f"{devices} CUDA devices for more processes: `torchrun --nproc-per-node {devices}`")
    return torch.device("cuda", local_rank())


def pick_precision(name: str, device: torch.device) -> str:
    """`fp32` or `bf16`; `auto` is bf16 where the hardware has it."""
    if name != "auto":
        return name
    if device.type == "cuda":
        # older cards emulate it, slower than fp32
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    abilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Context with autocast to bf16 if `precision` is bf16."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
