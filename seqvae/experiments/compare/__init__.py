"""Comparisons: variants of a base config, trained and measured on one protocol, in one table.

base: text/ptb-gru                     # a shipped config, or a file
set: [train.epochs=5]                  # overrides of the base, for all variants
seeds: [0]                             # unless a variant has its own
samples: 20                            # K of IW-NLL
test_examples: 1000                    # measure on the first 1000; on all by default
columns: [neg_elbo, rate, mi_low]      # of the table; the JSON holds everything
quality: {samples: 2000, scorer: lm}   # of prior samples; scorer: a language model, a variant or a run
fit_prior: mixture                     # measure the gain of a prior fitted after training
sample_seeds: [0]                      # quality and fit_prior only for these seeds
factors: true                          # mig, sap, dci_* ... of each run's code over the data's labels
devices: [cuda:0, cuda:1]              # one run at a time on each; one after the other by default
variants:
lm: {latent: {name: none}, remedies: []}
annealed: {seeds: [0, 1, 2], remedies: [{name: linear_annealing}]}
ae: {latent: {name: deterministic}, remedies: []}
pretrained: {init: {from: ae, parts: [encoder]}}   # a variant: its run of the same seed
dial: {latent: {name: exact_rate, nats: [2, 64]}, rates: [4, 16]}   # one run, one row per rate
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from seqvae.distributed.collectives import launched_world_size
from seqvae.errors import UserError
from seqvae.experiments.compare.running import (
    available_slots,
    execute_run,
    is_finished,
    read_results,
    require_same_config,
)
from seqvae.experiments.compare.schema import (
    COLUMNS,
    Comparison,
    RunSpec,
    load_comparison,
    run_specs,
    select_runs,
)
from seqvae.experiments.compare.table import (
    Table,
    as_markdown,
    draw_pictures,
    make_table,
    summarise,
    write_table,
)
from seqvae.utils.jobs.leases import Lease, file_lock
from seqvae.utils.jobs.scheduler import Job, Slot
from seqvae.utils.jobs.workers import run_jobs
from seqvae.utils.reporter import Reporter, Silent
from seqvae.utils.signals import Interrupted

__all__ = [
    "COLUMNS",
    "Comparison",
    "RunSpec",
    "Table",
    "as_markdown",
    "available_slots",
    "compare",
    "load_comparison",
    "run_specs",
    "summarise",
]


def compare(
    comparison: Comparison,
    out: Path,
    report: Reporter | None = None,
    only: Sequence[str] = (),
    where: Sequence[Slot] = (),
) -> Table:
    """Train and measure all runs that are not done yet, seed by seed; the table is written after each run.

    table.md and table.json always hold all finished runs; rate-distortion.png and curves.png are drawn at the
    end. A run that fails stops only the runs that start from it, and is listed in the table with the reason.
    Several calls, also on machines that share the folder, may work on it at once: a lease per run
    (`utils.jobs.leases`) gives each run to one of them.

    Args:
        comparison: the variants and the protocol.
        out: the folder of the runs and the table.
        report: receives progress.
        only: names of the variants to work on; all by default.
        where: one process per slot; by default runs are executed one after the other in this process.

    Returns:
        The table, failed runs included.

    Raises:
        UserError: an invalid config, or a folder that holds something else; nothing is trained.
        Interrupted: a signal arrived; the next call resumes.
    """
    if launched_world_size() > 1:
        raise UserError(
            "compare distributes its runs itself: start it without torchrun, once per machine or device, "
            "each time with the same --out"
        )
    report = report or Silent()
    runs = run_specs(comparison, out)
    for run in runs:
        require_same_config(run)
    writer = _TableWriter(comparison, runs, out)
    try:
        run_jobs(
            _jobs(comparison, runs, only),
            writer.settle,
            report,
            where or available_slots(comparison.devices, 1),
        )
    except Interrupted as stop:
        done = len({result["run"] for result in writer.table().results})
        message = f"stopped with {done} of {len(runs)} runs done: the same command goes on"
        raise Interrupted(message, stop.signal) from None
    with writer.lock():
        table = writer.write()
        for reason in draw_pictures(table, runs, out):
            report.note(reason)
    return table


@dataclass(frozen=True)
class _TableWriter:
    """Writes the table's files whenever a run has finished or failed."""

    comparison: Comparison
    runs: Sequence[RunSpec]
    out: Path
    failed: dict[str, str] = field(default_factory=dict)

    def table(self) -> Table:
        """The table of the runs finished so far."""
        found = [result for run in self.runs for result in read_results(run, self.comparison)]
        return make_table(self.comparison, self.runs, found, self.failed)

    def lock(self) -> AbstractContextManager[None]:
        """A lock under which the table is read and written, so that no other program's rows are lost."""
        return file_lock(self.out / ".table.lock")

    def write(self) -> Table:
        """Write the table's files, and return the table."""
        table = self.table()
        write_table(table, self.out)
        return table

    def settle(self, name: str, reason: str | None) -> None:
        """Record that a run is done, or has failed for a reason."""
        if reason is not None:
            self.failed[name] = reason
        with self.lock():
            self.write()


def _jobs(comparison: Comparison, runs: Sequence[RunSpec], only: Sequence[str]) -> list[Job]:
    """Jobs of the runs that are not done, each depending on those it starts from."""
    trained = frozenset(run.name for run in runs if is_finished(run.path))
    left = [run for run in select_runs(runs, only, trained) if not read_results(run, comparison)]
    names = {run.name for run in left}
    return [
        Job(
            run.name,
            partial(execute_run, run, comparison),
            run.depends_on & names,
            Lease(run.path.with_name(f".{run.path.name}.claim")),
            partial(_is_done, run, comparison),
        )
        for run in left
    ]


def _is_done(run: RunSpec, comparison: Comparison) -> bool:
    return bool(read_results(run, comparison))
