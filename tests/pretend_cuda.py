"""A pretended CUDA device on a machine without one: it computes on the CPU and refuses what CUDA refuses.

Inside `pretended_cuda()` a tensor that is made on, or moved to, `cuda` is a `DeviceTensor`: a wrapper that
says `cuda:0` and holds an ordinary CPU tensor. Every operation runs on what the wrappers hold, so that a
whole run can be trained, measured and sampled there, with the CPU's numbers. What fails on CUDA fails here:

- an operation on wrapped and ordinary tensors at once, but for the exceptions that CUDA makes
- `.numpy()` of a wrapped tensor
- what cuDNN refuses (`pretend_cudnn.py`): a recurrence that goes backward in evaluation mode, an initial
  state that is not contiguous, weights that do not lie in one buffer
- what a CUDA graph refuses (`pretend_graph.py`): to be captured while something reads a number on the host

The precisions are not those of CUDA, nor are launches, streams and memory there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, ClassVar, NamedTuple
from unittest import mock

import torch
from pretend_cudnn import flattened, run_recurrence
from pretend_graph import Graph, captured_by, leaves, mapped
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

HERE, HOST = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
# places of arguments that CUDA's kernels take from the host too: a copy's source, an index, a value
TAKES_HOST: dict[Any, tuple[int, ...]] = {
    aten.copy_.default: (0, 1),
    aten.fill_.Tensor: (1,),
    aten.masked_fill.Tensor: (2,),
    aten.masked_fill_.Tensor: (2,),
    aten.index.Tensor: (1,),
    aten.index_put.default: (1,),
    aten.index_put_.default: (1,),
    aten._index_put_impl_.default: (1,),
}

# besides pointwise ones, operations that take a tensor () of the host
TAKES_NUMBERS = (
    aten.where.self,
    *(getattr(aten, name).tensor_lr for name in ("_fused_adam_", "_fused_adamw_", "_fused_sgd_")),
)


class DeviceTensor(Tensor):
    """A tensor that says it is on the pretended device; `inner` holds its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> DeviceTensor:
        """Wrap an ordinary tensor."""
        made: Any = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=HOST
        )
        made.inner = inner
        return made  # type: ignore[no-any-return]

    device = property(lambda self: HERE)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:
        return f"on cuda: {self.inner}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copied = DeviceTensor(self.inner.detach().clone())
            parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(copied, self.requires_grad) if parameter else copied
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a pretended tensor cannot be pickled: copy it to the host first")

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> DeviceTensor:
        return DeviceTensor(inner["inner"])

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on what the wrappers hold; its results are wrapped where CUDA would have them."""
    given = [x for x in leaves((args, kwargs)) if isinstance(x, Tensor)]
    ours = any(isinstance(x, DeviceTensor) for x in given)
    target = kwargs.get("device")
    call = _Functions.calls[-1]
    here = ours or (not given and call.on_device)
    if target is not None:
        here = torch.device(target).type == "cuda" or (here and not call.asks_for_host)
    if not ours and not here:
        return func(*args, **kwargs)
    if ours:
        _refuse_mixed(func, args, kwargs)
    inner_args, inner_kwargs = mapped((args, kwargs), DeviceTensor, lambda x: x.inner)
    if target is not None:
        inner_kwargs = {**inner_kwargs, "device": HOST}
    if func is aten.copy_.default and not isinstance(args[0], DeviceTensor):
        here = False
    from_host = func in (aten.copy_.default, aten._to_copy.default) and not isinstance(
        given[-1], DeviceTensor
    )
    out = captured_by(func, inner_args, inner_kwargs, moves=from_host or not here)
    if not here or not any(isinstance(x, Tensor) for x in leaves(out)):
        return out
    return return_and_correct_aliasing(func, args, kwargs, mapped(out, Tensor, DeviceTensor))


def _refuse_mixed(func: Any, args: Any, kwargs: Any) -> None:
    """Raise what CUDA raises where an operation has arguments on both devices."""
    free = TAKES_HOST.get(func, ())
    if free == (1,) and not isinstance(args[0], DeviceTensor):
        raise RuntimeError(f"{func}: {MIXED}")
    pointwise = torch.Tag.pointwise in func.tags or func in TAKES_NUMBERS
    for x in leaves(([x for place, x in enumerate(args) if place not in free], kwargs)):
        if isinstance(x, Tensor) and not isinstance(x, DeviceTensor) and not (pointwise and x.dim() == 0):
            raise RuntimeError(f"{func}: {MIXED}")


class _Operations(TorchDispatchMode):
    """Sees every operation, also those that make a tensor from nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Call(NamedTuple):
    """A call of torch from Python."""

    on_device: bool  # whether it has tensors of the device
    asks_for_host: bool


def _call_of(func: Any, args: Any, kwargs: Any) -> _Call:
    given = leaves((args, kwargs))
    on_device = any(isinstance(x, DeviceTensor) for x in given)
    named = any(x in ("cpu", HOST) for x in given if isinstance(x, str | torch.device))
    like = func is Tensor.to and any(type(x) is Tensor for x in given[1:])
    return _Call(on_device, named or like or func in (Tensor.cpu, Tensor.tolist))


class _Functions(TorchFunctionMode):
    """Sees what Python asks of tensors: moves between devices, and numbers that leave torch.

    `calls` are those that are going on. What torch's own code makes in one, as a gradient of zeros, it puts
    beside the tensors of the call, which for a wrapper would be the host.
    """

    calls: ClassVar[list[_Call]] = [_Call(False, False)]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append(_call_of(func, args, kwargs))
        try:
            return self._called(func, args, kwargs)
        finally:
            self.calls.pop()

    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = mapped((args, kwargs or {}), (torch.device, str), _with_index)
        asked = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == HERE
        if asked and not isinstance(args[0], DeviceTensor):
            made = func(*args, **{**kwargs, "device": None})
            return aten._to_copy(made, device=HERE)
        if func is Tensor.cuda:
            return args[0].to(HERE)
        if func is Tensor.pin_memory:
            return args[0]
        if getattr(func, "__name__", "") in ("gru", "lstm"):
            return run_recurrence(func, args, DeviceTensor)
        if func is Tensor.to and self.calls[-1].on_device:
            return _to(*args, **kwargs)
        if args and isinstance(args[0], DeviceTensor) and func in _LEAVING:
            return _LEAVING[func](*args, **kwargs)
        return func(*args, **kwargs)


def _with_index(x: Any) -> Any:
    cuda = x == "cuda" if isinstance(x, str) else x.type == "cuda"
    return HERE if cuda else x


def _to(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`, which itself would take the wrapper for a tensor of the host."""
    words = [w for w in (*args, *kwargs.values()) if isinstance(w, Tensor | torch.dtype | torch.device | str)]
    places = [
        w.device if isinstance(w, Tensor) else torch.device(w)
        for w in words
        if not isinstance(w, torch.dtype)
    ]
    dtypes = [w.dtype if isinstance(w, Tensor) else w for w in words if isinstance(w, Tensor | torch.dtype)]
    dtype = dtypes[0] if dtypes else x.dtype
    if places and places[0] != x.device:
        return aten._to_copy(x, device=places[0], dtype=dtype)  # type: ignore[no-any-return]
    return x if dtype == x.dtype and not kwargs.get("copy") else aten._to_copy(x, dtype=dtype)


def _no_numpy(x: Tensor, *_: Any, **__: Any) -> Any:
    raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first")


_LEAVING: dict[Any, Any] = {
    Tensor.tolist: lambda x: aten._to_copy(x, device=HOST).tolist(),
    Tensor.numpy: _no_numpy,
    Tensor.__array__: _no_numpy,
    Tensor.new_tensor: lambda x, data, dtype=None: aten._to_copy(
        torch.tensor(data, dtype=dtype or x.dtype), device=HERE
    ),
    Tensor.data_ptr: lambda x: x.inner.data_ptr(),
    Tensor.cpu: lambda x, **_: aten._to_copy(x, device=HOST),
}
_AUTOCAST = torch.amp.autocast_mode.autocast


class _Autocast(_AUTOCAST):
    """Autocast of the host where that of CUDA is asked for."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


def _of_host(asked: Any) -> Any:
    return lambda device="cuda": asked("cpu" if device == "cuda" else device)


_GROUPED = torch._C._group_tensors_by_device_and_dtype


def _grouped(tensors: Any, *rest: Any) -> Any:
    """Groups by device and type; those of wrappers say the device that these say."""
    found = _GROUPED(tensors, *rest)
    here = any(isinstance(x, DeviceTensor) for x in leaves(tensors))
    return {(HERE if here else device, dtype): group for (device, dtype), group in found.items()}


_APPLY = nn.Module._apply


def _swapping(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """Move a module by swapping its parameters: a wrapper is no storage that could be put in their place."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return _APPLY(module, *args, **kwargs)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


_RUN_BACKWARD = torch.autograd._engine_run_backward  # type: ignore[attr-defined]


def _seen_backward(*args: Any, **kwargs: Any) -> Any:
    """Run a backward pass so that what Python does in it is seen too."""
    with _Functions():
        return _RUN_BACKWARD(*args, **kwargs)


@contextmanager
def pretended_cuda(devices: int = 1) -> Iterator[torch.device]:
    """Inside, this machine has CUDA devices; the first, which is the only one that tensors lie on.

    Tensors of one such block must not be used in another.
    """
    cuda = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "device_count": lambda: devices,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "manual_seed_all": lambda seed: None,
        "is_bf16_supported": lambda *_, **__: True,
        "get_device_name": lambda device=None: "pretended",
        "reset_peak_memory_stats": lambda device=None: None,
        "max_memory_allocated": lambda device=None: 1_000_000,
        "is_current_stream_capturing": Graph.capturing,
        "CUDAGraph": Graph,
        "graph": Graph.capture,
        "graph_pool_handle": lambda: (0, 0),
        "device": lambda device: nullcontext(),
        "mem_get_info": lambda device=None: (1 << 33, 1 << 34),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "Stream": mock.MagicMock,
        "current_stream": mock.MagicMock(),
        "stream": lambda stream: nullcontext(),
    }
    with ExitStack() as stack:
        for name, value in cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        for name in ("is_autocast_enabled", "get_autocast_dtype"):
            stack.enter_context(mock.patch.object(torch, name, _of_host(getattr(torch, name))))
        stack.enter_context(mock.patch.object(torch, "autocast", _Autocast))
        stack.enter_context(mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped))
        stack.enter_context(mock.patch.object(torch.autograd, "_engine_run_backward", _seen_backward))
        stack.enter_context(mock.patch.object(nn.RNNBase, "flatten_parameters", flattened(DeviceTensor)))
        stack.enter_context(mock.patch.object(nn.Module, "_apply", _swapping))
        stack.enter_context(_Functions())
        stack.enter_context(_Operations())
        yield HERE
