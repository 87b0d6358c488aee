"""How data are prepared: the reporter of progress and the processes that prepare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seqvae.utils.jobs.scheduler import Slot
from seqvae.utils.reporter import Reporter, Silent


@dataclass(frozen=True)
class Preparation:
    """The reporter of progress, and the processes that prepare shards; this process if there is none."""

    report: Reporter = field(default_factory=Silent)
    places: Sequence[Slot] = ()
