"""torch.compile for the blocks of deep networks, if there is a compiler."""

from __future__ import annotations

import os
import shutil
import sys

import torch
from torch import nn

from seqvae.distributed.fsdp import StackedBlock
from seqvae.utils.reporter import Reporter


def compile_blocks(model: nn.Module, device: torch.device, report: Reporter) -> None:
    """Compile each block in place, so that names of weights stay; warn if there is no compiler."""
    if wanted := _missing_compiler(device):
        report.warn(f"train.compile is left out: no C++ compiler {wanted!r} here, install one")
        return
    for module in model.modules():
        if isinstance(module, StackedBlock):
            module.compile()


def _missing_compiler(device: torch.device) -> str | None:
    """The C++ compiler that torch.compile needs on a CPU, if it is missing; else None."""
    wanted = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return wanted if device.type == "cpu" and shutil.which(wanted) is None else None
