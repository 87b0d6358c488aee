"""CUDA graphs on a CPU: what a function does to memory is recorded once, and done again without its Python.

A replay runs the recorded operations on the tensors of the recording, as a CUDA graph runs its kernels on
their addresses. Whatever the function took from Python at the recording stays as it was then: a number, a
shape, a tensor that has since been replaced. As a capture does, a recording leaves memory as it was, and what
it made holds no numbers before the first replay. Unlike there, results in between keep their own memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from seqvae.accelerator import Function, Graphs

WAITS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select")  # no capture has them


class Recording(TorchDispatchMode):
    """The operations that pass, with their arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.written: list[tuple[Tensor, Tensor]] = []  # what operations write into, and what it held before
        self.made: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.name().removeprefix("aten::").partition(".")[0], kwargs or {}
        assert name not in WAITS, f"{name} waits for the device"
        self._remember(func, args, kwargs)
        out = func(*args, **kwargs)
        aliases = [result.alias_info for result in func._schema.returns]
        if all(alias is None for alias in aliases):
            self.made += [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if all(alias is None or alias.is_write for alias in aliases):  # a view does no work
            self.calls.append((func, args, kwargs, out))
        return out

    def _remember(self, func: Any, args: Any, kwargs: Any) -> None:
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                x = args[place] if place < len(args) else kwargs.get(argument.name)
                self.written += [(x, x.clone())] if isinstance(x, Tensor) else []

    def undo(self) -> None:
        """Leave memory as it was, and no numbers in what was made."""
        for x, before in reversed(self.written):
            x.copy_(before)
        for x in self.made:
            x.fill_(torch.nan if x.is_floating_point() else 0)
        self.written.clear()

    def replay(self) -> None:
        """Do the same again, each result in its own place."""
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for mine, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(mine, Tensor) and mine is not new:
                    mine.copy_(new)


class RecordedGraphs(Graphs):
    """`Graphs` whose captures are recordings."""

    def capture(self, function: Function) -> Function:
        """What does the recorded work."""
        with torch.no_grad():
            recording = Recording()
            with recording:
                function()
            recording.undo()
        return torch.no_grad()(recording.replay)
