"""Who is told how far the preparation of data is, and which processes prepare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seqvae.utils.jobs.scheduler import Slot
from seqvae.utils.reporter import Reporter, Silent


@dataclass(frozen=True)
class Preparation:
    """Who is told how far the preparation of shards is, and the processes that prepare; this one if none."""

    report: Reporter = field(default_factory=Silent)
    places: Sequence[Slot] = ()
