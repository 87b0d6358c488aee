"""Time and memory on whatever device computes."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], object]
Runner = Callable[[Work], Work]  # makes of a function what is timed
WARM_UP = 3  # calls before a graph is recorded: libraries load kernels and choose among them


def run_directly(work: Work) -> Work:
    """The function itself."""
    return work


def run_as_graph(work: Work) -> Work:
    """A CUDA graph of the kernels that `work` launches: one launch for all of them."""
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def replay(keeps: Work = work) -> None:  # the tensors at the addresses that the graph reads
        graph.replay()

    return replay


def runner_of(device: torch.device) -> Runner:
    """How pieces of a limit run on a device."""
    return run_as_graph if device.type == "cuda" else run_directly


def time_work(work: Work, device: torch.device) -> float:
    """Seconds from the start of `work` to the end of all that it gave the device to do.

    On one thread of a CPU they are those that this process computed: as if nothing else ran on the machine.
    """
    if device.type != "cuda":
        clock = time.process_time if clock_name(device) == "process" else time.perf_counter
        began = clock()
        work()
        return clock() - began
    start, end = _event(), _event()
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def clock_name(device: torch.device) -> str:
    """`process` where `time_work` counts what this process computed, else `wall`."""
    return "process" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall"


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def time_in_turns(
    works: Mapping[str, Work], device: torch.device, budget: float, least: int = 3
) -> dict[str, float]:
    """Least seconds of each, all timed in turn for about `budget` seconds.

    Whatever else the machine does only adds to a time, and in turn it hits all alike.
    """
    return {name: min(times) for name, times in time_rounds(works, device, budget, least).items()}


def time_rounds(
    works: Mapping[str, Work], device: torch.device, budget: float, least: int = 3
) -> dict[str, list[float]]:
    """Seconds of each in every round, for about `budget` seconds, after a call that warms up."""
    for work in works.values():
        time_work(work, device)  # the first time warms up
    times: dict[str, list[float]] = {name: [] for name in works}
    began, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - began < budget:
        for name, work in works.items():
            times[name].append(time_work(work, device))
        rounds += 1
    return times


def reset_peak(device: torch.device) -> None:
    """Measure the peak of memory from here on; where a CPU's system cannot, from the start of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb(device: torch.device) -> float:
    """MB of the device's allocator at its peak, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure_bandwidth(device: torch.device) -> float:
    """Bytes a second that a copy between two large tables moves, read and written."""
    source = torch.zeros(1 << 25, device=device)
    target = torch.empty_like(source)
    took = time_in_turns({"copy": lambda: target.copy_(source)}, device, 0.2)["copy"]
    return 2 * source.numel() * source.element_size() / took
