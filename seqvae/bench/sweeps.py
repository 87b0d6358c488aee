"""What a token costs as one size of the model or of its data grows, all else as in a preset.

Shapes: B sentences, T words, H hidden, V words known, K importance samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any

from seqvae.bench.clock import in_turn
from seqvae.bench.setting import WORDS, on_the_bench, overrides_of
from seqvae.bench.work import Bench, bench_of
from seqvae.registry import UserError, lookup

ROWS = 8  # sentences that are decoded at once
SMALL = ("width=256", "layers=2", "heads=4")  # of the Transformer, to bear 512 words on a CPU
LINES: dict[str, tuple[str, ...]] = {  # name of a line: its preset and what is changed in it
    "GRU": ("reference",),
    "Transformer": (
        "transformer",
        f"tokenizer.vocab_size={WORDS}",
        "train.batch_size=32",
        *(f"{part}.{size}" for part in ("encoder", "decoder") for size in SMALL),
    ),
}
Timed = Callable[[Bench, int], tuple[Callable[[], object], int]]  # the work at a point, and the units of it


def _training(made: Bench, value: int) -> tuple[Callable[[], object], int]:
    return made.update, made.batch.units


def _likelihood(made: Bench, value: int) -> tuple[Callable[[], object], int]:
    return lambda: made.importance(value), made.batch.units * value


def _decoding(made: Bench, value: int) -> tuple[Callable[[], object], int]:
    return lambda: made.write(ROWS, words=value), ROWS * value


@dataclass(frozen=True)
class Sweep:
    """One size that grows, what is timed at each of its values, and the slopes that theory knows."""

    axis: str
    cost: str
    values: tuple[int, ...]
    slopes: tuple[float, ...]  # of log cost in log size, where one term is all
    keys: tuple[str, ...] = ()  # of the config, that have the value
    lines: tuple[str, ...] = ("GRU",)
    timed: Timed = _training
    sentences_have_it: bool = False


TRAINING = "training, µs a token"
SWEEPS = {
    "vocabulary": Sweep(
        "vocabulary (words)", TRAINING, tuple(2000 * 2**i for i in range(7)), (1,), ("tokenizer.vocab_size",)
    ),
    "length": Sweep(
        "words a sentence",
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
        "sentences a batch", TRAINING, tuple(8 * 2**i for i in range(7)), (-1, 0), ("train.batch_size",)
    ),
    "samples": Sweep(
        "importance samples K",
        "IW-NLL, µs a token and sample",
        tuple(2**i for i in range(8)),
        (0,),
        timed=_likelihood,
    ),
    "decoding": Sweep(
        "words written",
        "greedy decoding, µs a token",
        tuple(16 * 2**i for i in range(6)),
        (0, 1),
        lines=("Transformer", "GRU"),
        timed=_decoding,
    ),
}


def asked_for(sweeps: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The values of each sweep of `NAME` or `NAME=N,N,...`; of all where none is given.

    Raises:
        UserError: no such sweep, or values that are no whole numbers above 0.
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


def curves(
    sweeps: Iterable[str] = (), overrides: Iterable[str] = (), budget: float = 1.0
) -> list[dict[str, Any]]:
    """Rows of `sweep`, `line`, `at` and `us`: microseconds a token (or token and sample) at each size.

    `sweeps` are names, or `NAME=N,N,...` with sizes of one's own. Each point takes about `budget` seconds or
    three times its work.

    Raises:
        UserError: no such sweep, sizes that are none, or a config that cannot be built.
    """
    presets = overrides_of({preset for preset, *_ in LINES.values()}, overrides)
    return [
        {"sweep": name, "line": line, "at": value, "us": round(_cost(name, line, value, presets, budget), 3)}
        for name, values in asked_for(sweeps).items()
        for line in SWEEPS[name].lines
        for value in values
    ]


def _cost(name: str, line: str, value: int, presets: Mapping[str, list[str]], budget: float) -> float:
    """Microseconds a unit at one point."""
    sweep, (preset, *changes) = SWEEPS[name], LINES[line]
    sets = [*changes, *presets[preset], *(f"{key}={value}" for key in sweep.keys)]
    length = value if sweep.sentences_have_it else None
    with on_the_bench(preset, sets, length=length) as trainer:
        work, units = sweep.timed(bench_of(trainer), value)
        took = in_turn({"work": work}, trainer.device, budget)["work"]
    return 1e6 * took / units


def slopes(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Rows for people: sweep, line, the two largest sizes, and the slope of log cost between them."""
    for sweep, line in dict.fromkeys((row["sweep"], row["line"]) for row in rows):
        own = [row for row in rows if (row["sweep"], row["line"]) == (sweep, line)]
        for a, b in list(pairwise(own))[-1:]:
            slope = log(b["us"] / a["us"]) / log(b["at"] / a["at"])
            yield sweep, line, f"{a['at']:,} to {b['at']:,}", f"{slope:+.2f}"
