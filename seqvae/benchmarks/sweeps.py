"""Sweeps: the cost per token as one size of the model or the data grows, all else as in a preset.

Shapes: B sentences, T words, H hidden, V words known, K importance samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any, cast

from seqvae.benchmarks.ablation import run_first_updates
from seqvae.benchmarks.clock import time_in_turns
from seqvae.benchmarks.corpora import Corpus, corpora
from seqvae.benchmarks.presets import WORDS, bench_data, overrides_by_preset, preset_trainer
from seqvae.benchmarks.workloads import Workload, make_workload
from seqvae.config.registry import lookup
from seqvae.config.schema import TextRunConfig
from seqvae.data.text.dataset import TextData
from seqvae.data.text.feed import TextBatchSource
from seqvae.errors import UserError

ROWS = 8  # sentences decoded at once
SMALL = ("width=256", "layers=2", "heads=4")  # of the Transformer, so that 512 words are feasible on a CPU
LINES: dict[str, tuple[str, ...]] = {  # {line: (preset, *overrides)}
    "GRU": ("reference",),
    "Transformer": (
        "transformer",
        f"tokenizer.vocab_size={WORDS}",
        "train.batch_size=32",
        *(f"{part}.{size}" for part in ("encoder", "decoder") for size in SMALL),
    ),
}
Timed = Callable[
    [Workload, int], tuple[Callable[[], object], int]
]  # the function to time at a point, and its number of units


def _training(made: Workload, value: int) -> tuple[Callable[[], object], int]:
    return made.update, made.batch.num_targets


def _likelihood(made: Workload, value: int) -> tuple[Callable[[], object], int]:
    return lambda: made.importance(value), made.batch.num_targets * value


def _decoding(made: Workload, value: int) -> tuple[Callable[[], object], int]:
    return lambda: made.write(ROWS, words=value), ROWS * value


def _updates(made: Workload, value: int) -> tuple[Callable[[], object], int]:
    return lambda: run_first_updates(made.trainer), run_first_updates(made.trainer)


def _start(made: Workload, value: int) -> tuple[Callable[[], object], int]:
    """Time from a config to its first batch; 1000 units turn microseconds into milliseconds."""
    config = cast(TextRunConfig, made.trainer.config)

    def start() -> None:
        feed = TextBatchSource(
            cast(TextData, bench_data(config)), config.train.batch_size, 1, config.train.seed
        )
        feed.update(0)

    return start, 1000


@dataclass(frozen=True)
class Sweep:
    """One size to vary, its values, the work to time, and the slopes that theory predicts."""

    axis: str
    cost: str
    values: tuple[int, ...]
    slopes: tuple[float, ...]  # of log cost over log size, if one term dominates
    keys: tuple[str, ...] = ()  # config keys to set to the value
    lines: tuple[str, ...] = ("GRU",)
    timed: Timed = _training
    sentences_have_it: bool = False
    files_have_it: bool = False  # the value is the number of sentences of a prepared file


TRAINING = "training, µs per token"
CORPORA = tuple(1000 * 10**i for i in range(4))
SWEEPS = {
    "vocabulary": Sweep(
        "vocabulary (words)", TRAINING, tuple(2000 * 2**i for i in range(7)), (1,), ("tokenizer.vocab_size",)
    ),
    "length": Sweep(
        "words per sentence",
        TRAINING,
        tuple(16 * 2**i for i in range(6)),
        (0,),
        lines=("GRU", "Transformer"),
        sentences_have_it=True,
    ),
    "hidden": Sweep(
        "hidden features",
        TRAINING,
        tuple(64 * 2**i for i in range(5)),
        (1, 2),
        ("encoder.hidden", "decoder.hidden"),
    ),
    "batch": Sweep(
        "sentences per batch", TRAINING, tuple(8 * 2**i for i in range(7)), (-1, 0), ("train.batch_size",)
    ),
    "samples": Sweep(
        "importance samples K",
        "IW-NLL, µs per token and sample",
        tuple(2**i for i in range(8)),
        (0,),
        timed=_likelihood,
    ),
    "decoding": Sweep(
        "words written",
        "greedy decoding, µs per token",
        tuple(16 * 2**i for i in range(6)),
        (0, 1),
        lines=("Transformer", "GRU"),
        timed=_decoding,
    ),
    "corpus": Sweep("sentences of the corpus", TRAINING, CORPORA, (0,), timed=_updates, files_have_it=True),
    "start": Sweep(
        "sentences of the corpus",
        "to the first batch, cached, ms",
        CORPORA,
        (0,),
        timed=_start,
        files_have_it=True,
    ),
}


def parse_sweeps(sweeps: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Parse `NAME` or `NAME=N,N,...` into the values of each sweep; all sweeps by default.

    Raises:
        UserError: no such sweep, or values that are not positive integers.
    """
    found = {}
    for text in sweeps:
        name, _, numbers = text.partition("=")
        known = lookup("sweep", SWEEPS, name).values
        given = numbers.split(",") if numbers else []
        if not all(number.strip().isdecimal() and int(number) > 0 for number in given):
            raise UserError(f"sweep {name} got {numbers!r}: give whole numbers above 0, as {name}=16,64,256")
        found[name] = tuple(sorted({int(number) for number in given})) or known
    return found or {name: sweep.values for name, sweep in SWEEPS.items()}


def measure_curves(
    sweeps: Iterable[str] = (), overrides: Iterable[str] = (), budget: float = 1.0
) -> list[dict[str, Any]]:
    """Rows of `sweep`, `line`, `at` and `cost` at each size: microseconds per token, or as `SWEEPS` says.

    `sweeps` are names, or `NAME=N,N,...` with other sizes. Each point takes about `budget` seconds, or
    three runs if they take longer.

    Raises:
        UserError: no such sweep, invalid sizes, or a config that cannot be built.
    """
    presets = overrides_by_preset({preset for preset, *_ in LINES.values()}, overrides)
    points = [
        (name, line, value)
        for name, values in parse_sweeps(sweeps).items()
        for line in SWEEPS[name].lines
        for value in values
    ]
    with corpora() as corpus:
        costs = [_cost(SWEEPS[n], line, at, (presets, corpus), budget) for n, line, at in points]
    keys = "sweep", "line", "at", "cost"
    return [dict(zip(keys, (*p, round(cost, 3)), strict=True)) for p, cost in zip(points, costs, strict=True)]


def _cost(
    sweep: Sweep, line: str, value: int, given: tuple[Mapping[str, list[str]], Corpus], budget: float
) -> float:
    """Microseconds per unit at one point; `given` are the presets' overrides and the corpora."""
    with workload_at(sweep, line, value, *given) as made:
        work, units = sweep.timed(made, value)
        took = time_in_turns({"work": work}, made.trainer.device, budget)["work"]
    return 1e6 * took / units


@contextmanager
def workload_at(
    sweep: Sweep, line: str, value: int, presets: Mapping[str, list[str]], corpus: Corpus
) -> Iterator[Workload]:
    """The workload of a line's preset with the size set to `value`."""
    preset, *changes = LINES[line]
    sets = [*changes, *presets[preset], *(f"{key}={value}" for key in sweep.keys)]
    with ExitStack() as stack:
        if sweep.files_have_it:
            sets.append(f"data.train={stack.enter_context(corpus(value))}")
        length = value if sweep.sentences_have_it else None
        yield make_workload(stack.enter_context(preset_trainer(preset, sets, length=length)))


def fit_slopes(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Table rows: sweep, line, the two largest sizes, and the slope of log cost between them."""
    for sweep, line in dict.fromkeys((row["sweep"], row["line"]) for row in rows):
        own = [row for row in rows if (row["sweep"], row["line"]) == (sweep, line)]
        for a, b in list(pairwise(own))[-1:]:
            slope = log(b["cost"] / a["cost"]) / log(b["at"] / a["at"])
            yield sweep, line, f"{a['at']:,} to {b['at']:,}", f"{slope:+.2f}"
