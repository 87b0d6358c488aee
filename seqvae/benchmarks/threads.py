"""OpenMP wait policies: training speed on a quiet machine, and next to busy processes.

Threads of one operation wait for each other thousands of times per second. A thread that spins responds at
once, but takes CPU time from everything else on its core, even from the thread that it waits for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from seqvae.benchmarks.turns import Candidate, busy_loops, python, take_turns

SLEEP = {"OMP_WAIT_POLICY": "passive"}
SPINS = (1000, 3000, 10_000, 30_000)  # a thousand are about 20 microseconds
POLICIES: dict[str, Mapping[str, str]] = {
    "sleep": SLEEP,
    **{f"spin {n:,} times, then sleep": {**SLEEP, "GOMP_SPINCOUNT": str(n)} for n in SPINS},
    "spin": {"OMP_WAIT_POLICY": "active"},
}
QUIET, BUSY = "quiet", "busy"


def wait_policies(
    preset: str = "reference", overrides: Iterable[str] = (), seconds: float = 3.0, rounds: int = 5
) -> list[dict[str, Any]]:
    """Rows of `policy`, training tokens/s `quiet` and `busy`, their shares of the best, and the `worse` one.

    Quiet: no other process of the benchmark. Busy: as many busy-looping processes as there are cores.
    Each policy runs `rounds` times for about `seconds`, in turn with the others; results are medians.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    command = python("-m", "seqvae.benchmarks.worker", preset, *overrides)
    clear: dict[str, str | None] = {"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None}
    candidates = [Candidate(name, command, {**clear, **policy}) for name, policy in POLICIES.items()]
    loops = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    phases: dict[str, Callable[[], Any]] = {QUIET: nullcontext, BUSY: lambda: busy_loops(loops)}
    found = take_turns(candidates, rounds, seconds, phases)
    best = {phase: max(speeds.values()) for phase, speeds in found.items()}
    rows = []
    for name in POLICIES:
        shares = {phase: round(found[phase][name] / best[phase], 3) for phase in phases}
        speeds = {phase: round(found[phase][name]) for phase in phases}
        named = {f"{phase}_share": share for phase, share in shares.items()}
        rows.append({"policy": name, **speeds, **named, "worse": min(shares.values())})
    return rows
