"""The output of a comparison: a table over seeds, a caption with the protocol, and two figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqvae import plots
from seqvae.data.input_files import in_words
from seqvae.errors import UserError
from seqvae.experiments.compare.schema import COLUMNS, Comparison, RunSpec
from seqvae.runs.metrics_log import read_metrics
from seqvae.utils.atomic_files import write_atomically
from seqvae.utils.tables import markdown_table

Result = dict[str, Any]  # all numbers of a run


@dataclass(frozen=True)
class Table:
    """The table of a comparison, with the runs finished so far."""

    caption: str
    columns: Sequence[str]
    results: Sequence[Result]
    wanted: Mapping[str, int]  # {row: number of its runs}
    failed: Mapping[str, str]  # {run name: reason}
    runs: int = 0  # number of all runs

    @property
    def rows(self) -> list[Result]:
        """One row per variant, in the order of the YAML; None in all columns while it has no finished run."""
        done = {row["variant"]: row for row in summarise(self.results, self.columns)}
        empty = dict.fromkeys(self.columns)
        return [done.get(name, {"variant": name, "seeds": 0, **empty}) for name in self.wanted]

    def failures(self) -> str:
        """Number of failed runs, as text."""
        return f"{len(self.failed)} of {self.runs} runs failed"

    def markdown(self) -> str:
        """The caption, the table, and what is missing."""
        rows = [{**row, "seeds": _share(row["seeds"], self.wanted[row["variant"]])} for row in self.rows]
        lines = [self.caption, "", *as_markdown(rows, self.columns).splitlines()]
        failed = [f"- {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join([*lines, *(["", "Failed:", "", *failed] if failed else [])]) + "\n"


def make_table(
    comparison: Comparison, runs: Sequence[RunSpec], results: Sequence[Result], failed: Mapping[str, str]
) -> Table:
    """The table of all runs, including rows for those that are not finished."""
    wanted = {
        row: sum(run.variant == name for run in runs)
        for name, variant in comparison.variants.items()
        for row in variant.rows(name)
    }
    order = list(wanted)
    results = sorted(results, key=lambda result: order.index(result["variant"]))
    return Table(
        make_caption(comparison, runs, results), comparison.columns, results, wanted, failed, len(runs)
    )


def summarise(results: Sequence[Result], columns: Sequence[str] = COLUMNS) -> list[Result]:
    """One row per variant: number of seeds, and (mean, s.d. over seeds) per column; s.d. is None for one."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault(result["variant"], []).append(result)
    return [
        {
            "variant": variant,
            "seeds": len(runs),
            **{c: _mean_and_sd([r.get(c) for r in runs]) for c in columns},
        }
        for variant, runs in rows.items()
    ]


def as_markdown(rows: Sequence[Result], columns: Sequence[str] = COLUMNS) -> str:
    """The rows in Markdown; "-" for a missing number."""
    head = ["variant", "seeds", *columns]
    return "\n".join(markdown_table(head, [[_cell(row[name]) for name in head] for row in rows])) + "\n"


def make_caption(comparison: Comparison, runs: Sequence[RunSpec], results: Sequence[Result]) -> str:
    """The protocol in one line: data, test examples, K, seeds and budget."""
    data = {run.config.data.name or Path(in_words(run.config.data.train or "")).name for run in runs}
    splits = {str(result["data"]) for result in results if "data" in result}
    counts = {f"{result['n']:,}" for result in results if "n" in result}
    first = "" if comparison.test_examples is None else "the first "
    measured = f"{first}{_all(counts)} examples of the {_all(splits)} split" if counts else "not measured yet"
    seeds = "seed" + "s" * (len({run.seed for run in runs}) > 1) + " " + _all({str(run.seed) for run in runs})
    budgets = _all({_budget(run) for run in runs})
    return (
        f"{_all(data)}: {measured}; IW-NLL with K = {comparison.samples}; {seeds}; "
        f"{budgets} per run. Nats per example, mean ± s.d. over seeds."
    )


def write_table(table: Table, out: Path) -> None:
    """Write table.md, and table.json with all numbers of every finished run."""
    out.mkdir(parents=True, exist_ok=True)
    results = json.dumps(list(table.results), indent=2)
    write_atomically(out / "table.json", lambda p: p.write_text(results, "utf-8"))
    write_atomically(out / "table.md", lambda p: p.write_text(table.markdown(), "utf-8"))


def draw_pictures(table: Table, runs: Sequence[RunSpec], out: Path) -> list[str]:
    """Plot rate-distortion.png and curves.png; returns a line with the reason for each one left out.

    The curves are those of each variant's first finished run; a language model's NLL is a level.
    """
    done = {result["run"] for result in table.results}
    finished = [run for run in runs if str(run.path) in done]
    first = {run.variant: run for run in reversed(finished)}
    order = [name for name in dict.fromkeys(run.variant for run in runs) if name in first]
    ranged = any("dial" in result for result in table.results)
    levels = {name for name, run in first.items() if run.config.latent.name == "none"}
    figures: dict[str, Callable[[], Any]] = {
        "rate-distortion": lambda: plots.rate_distortion_of(table.results, levels, ranged),
        "curves": lambda: plots.curves({name: list(read_metrics(first[name].path)) for name in order}),
    }
    left_out = []
    for name, made in figures.items():
        try:
            plots.save(made(), out / f"{name}.png")
        except UserError as error:
            left_out.append(f"{name}.png is left out: {error}")
    return left_out


def _budget(run: RunSpec) -> str:
    settings = run.config.train
    if settings.steps:
        return f"{settings.steps:,} steps"
    return f"{settings.epochs} epochs" if settings.epochs else "the default number of steps"


def _all(names: set[str]) -> str:
    """Join names: numbers sorted by value, the rest alphabetically."""
    return ", ".join(sorted(names, key=lambda name: (len(name) if name.isdigit() else 99, name)))


def _share(done: int, wanted: int) -> str:
    return str(done) if done == wanted else f"{done} of {wanted}"


def _mean_and_sd(values: Sequence[Any]) -> tuple[float, float | None] | None:
    known = [float(v) for v in values if isinstance(v, int | float)]
    if not known:
        return None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, tuple):
        return str(value)
    mean, deviation = value
    whole = mean == round(mean) and not deviation
    digits = 0 if abs(mean) >= 1000 or whole else 2
    shown = f"{round(mean, digits) + 0.0:,.{digits}f}"  # no -0.00
    return shown + ("" if deviation is None else f" ± {deviation:,.{digits}f}")
