"""Many runs on one protocol, one table: variants of a base config, each with one seed or several.

base: text/ptb-gru                     # a shipped config, or a file
set: [train.epochs=5]                  # over the base, for all variants
seeds: [0]                             # of a variant that names none
samples: 20                            # K of IW-NLL
test_examples: 1000                    # measured on the first so many; all where it is left out
columns: [neg_elbo, rate, mi_low]      # of the table; the JSON holds everything
quality: {samples: 2000, scorer: lm}   # prior samples, judged by a language model: a variant or a run
fit_prior: mixture                     # what a prior fitted afterwards brings
sample_seeds: [0]                      # those two of these seeds alone
factors: true                          # mig, sap, dci_* ... of each run's code, over the labels of the data
devices: [cuda:0, cuda:1]              # a run at a time on each; one after the other where it is left out
variants:
lm: {latent: {name: none}, remedies: []}
annealed: {seeds: [0, 1, 2], remedies: [{name: linear_annealing}]}
ae: {latent: {name: deterministic}, remedies: []}
pretrained: {init: {from: ae, parts: [encoder]}}   # `from` may name a variant: the run of the same seed
dial: {latent: {name: exact_rate, nats: [2, 64]}, rates: [4, 16]}   # one run, a row at each of these rates
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
    """Train and measure whatever is not done yet, seed by seed, and write what there is after every run.

    table.md and table.json always hold all runs that are done; rate-distortion.png and curves.png are drawn
    at the end. `only` names the variants to be worked on, `where` the processes (`places`). A run that fails
    stops those that start from it and no other, and is listed with its reason in the table. Several calls may
    work on the same folder at once, on machines that share it: each run is taken by one of them (`claims`).

    Raises:
        UserError: a config that does not hold, or a folder with something else in it; nothing is trained.
        Interrupted: a signal came; the next call goes on.
    """
    if launched_world_size() > 1:
        raise UserError(
            "compare shares its runs out by itself: start it without torchrun, once a machine or device, "
            "each time with the same --out"
        )
    report = report or Silent()
    runs = run_specs(comparison, out)
    for run in runs:
        require_same_config(run)
    shown = _TableWriter(comparison, runs, out)
    try:
        run_jobs(
            _jobs(comparison, runs, only),
            shown.settle,
            report,
            where or available_slots(comparison.devices, 1),
        )
    except Interrupted as stop:
        done = len({result["run"] for result in shown.table().results})
        message = f"stopped with {done} of {len(runs)} runs done: the same command goes on"
        raise Interrupted(message, stop.signal) from None
    with shown.alone():
        table = shown.written()
        for reason in draw_pictures(table, runs, out):
            report.note(reason)
    return table


@dataclass(frozen=True)
class _TableWriter:
    """The table on disk: written anew whenever a run is settled."""

    comparison: Comparison
    runs: Sequence[RunSpec]
    out: Path
    failed: dict[str, str] = field(default_factory=dict)

    def table(self) -> Table:
        """As far as the runs have come."""
        found = [result for run in self.runs for result in read_results(run, self.comparison)]
        return make_table(self.comparison, self.runs, found, self.failed)

    def alone(self) -> AbstractContextManager[None]:
        """Inside, no other program writes the table: the last one has read the numbers of all."""
        return file_lock(self.out / ".table.claim")

    def written(self) -> Table:
        """The table, after it was written."""
        table = self.table()
        write_table(table, self.out)
        return table

    def settle(self, name: str, reason: str | None) -> None:
        """A run is done, or has failed for a reason."""
        if reason is not None:
            self.failed[name] = reason
        with self.alone():
            self.written()


def _jobs(comparison: Comparison, runs: Sequence[RunSpec], only: Sequence[str]) -> list[Job]:
    """The runs that are not done, each after those it starts from."""
    trained = frozenset(run.name for run in runs if is_finished(run.path))
    left = [run for run in select_runs(runs, only, trained) if not read_results(run, comparison)]
    names = {run.name for run in left}
    return [
        Job(
            run.name,
            partial(execute_run, run, comparison),
            run.needs & names,
            Lease(run.path.with_name(f".{run.path.name}.claim")),
            partial(_is_done, run, comparison),
        )
        for run in left
    ]


def _is_done(run: RunSpec, comparison: Comparison) -> bool:
    return bool(read_results(run, comparison))
