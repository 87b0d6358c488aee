"""Refuses, on a CPU, operations that a CUDA graph cannot capture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READS = {  # operators whose result, or its shape, the host has to wait for
    "aten._local_scalar_dense",
    "aten.equal",
    "aten.is_nonzero",
    "aten.masked_select",
    "aten.nonzero",
    "aten._unique2",
    "aten.unique_dim",
}
MAKES = {"aten.lift_fresh", "aten.lift_fresh_copy"}  # torch.tensor([...]): on a GPU a copy from the host


LEAVES = ("cpu", "numpy", "tolist")  # of a CPU's tensor no operator sees these


class HostReadError(AssertionError):
    """An operator that no CUDA graph can hold."""


class _Watch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name.replace("::", ".")
        by_mask = name in ("aten.index", "aten.index_put", "aten.index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in READS | MAKES or by_mask:
            raise HostReadError(f"{name} in captured work")
        return func(*args, **(kwargs or {}))


def _leave(*_: Any, **__: Any) -> Any:
    raise HostReadError("numbers leave the device")


@contextmanager
def no_host_reads() -> Iterator[None]:
    """Inside, a read of a value raises, and so does a tensor made without naming its device.

    The latter lies on `meta`, which no operation mixes with a CPU: on a GPU it would lie on the host.
    """
    with torch.device("meta"), _Watch(), mock.patch.multiple(Tensor, **dict.fromkeys(LEAVES, _leave)):
        yield
