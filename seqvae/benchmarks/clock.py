"""Measurement of time and memory on a CPU or a GPU."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from seqvae.utils.accelerator import side_stream

Work = Callable[[], object]
Runner = Callable[[Work], Work]  # wraps a function for timing
WARM_UP = 3  # calls before capture, in which libraries load and select kernels


def run_directly(work: Work) -> Work:
    """Return the function unchanged."""
    return work


def run_as_graph(work: Work) -> Work:
    """Capture the kernels that `work` launches as a CUDA graph, so that one launch runs all of them."""
    with side_stream():
        for _ in range(WARM_UP):
            work()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def replay(keeps: Work = work) -> None:  # `keeps` keeps the tensors alive that the graph reads
        graph.replay()

    return replay


def runner_of(device: torch.device) -> Runner:
    """How to run the parts of a limit on a device."""
    return run_as_graph if device.type == "cuda" else run_directly


def time_work(work: Work, device: torch.device) -> float:
    """Seconds from the start of `work` to the end of all kernels that it launched.

    With one CPU thread it is the CPU time of this process, which other programs do not increase.
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
    """`process` if `time_work` measures CPU time, else `wall`."""
    return "process" if device.type == "cpu" and torch.get_num_threads() == 1 else "wall"


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def time_in_turns(
    works: Mapping[str, Work], device: torch.device, budget: float, least: int = 3
) -> dict[str, float]:
    """Minimum seconds of each function, timed in turn for about `budget` seconds.

    Other load on the machine only increases times, and in turn it affects all functions alike.
    """
    return {name: min(times) for name, times in time_rounds(works, device, budget, least).items()}


def time_rounds(
    works: Mapping[str, Work], device: torch.device, budget: float, least: int = 3
) -> dict[str, list[float]]:
    """Seconds of each function in every round, for about `budget` seconds after a warm-up call."""
    for work in works.values():
        time_work(work, device)  # warm-up
    times: dict[str, list[float]] = {name: [] for name in works}
    began, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - began < budget:
        for name, work in works.items():
            times[name].append(time_work(work, device))
        rounds += 1
    return times


def reset_peak(device: torch.device) -> None:
    """Measure peak memory from here on; on a CPU without /proc, from the start of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb(device: torch.device) -> float:
    """Peak MB of the device's allocator, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure_bandwidth(device: torch.device) -> float:
    """Bytes per second that a copy between two large tensors reads and writes."""
    source = torch.zeros(1 << 25, device=device)
    target = torch.empty_like(source)
    took = time_in_turns({"copy": lambda: target.copy_(source)}, device, 0.2)["copy"]
    return 2 * source.numel() * source.element_size() / took
