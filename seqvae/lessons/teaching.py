"""What a lesson is: runs to train, numbers to take from them, a small table, a sentence and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqvae.compare.running import trained
from seqvae.compare.schema import Entry
from seqvae.config import RunConfig
from seqvae.disk import disk_errors, write_atomically
from seqvae.plots import save
from seqvae.plots.style import blank
from seqvae.progress import Reporter, Silent
from seqvae.registry import UserError
from seqvae.signals import Interrupted
from seqvae.tables import aligned

Numbers = dict[str, Any]  # what JSON can hold
Runs = Mapping[str, Path]  # the run folders by name
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # head and rows


@dataclass(frozen=True)
class Asked:
    """What a lesson is taught on: `data` in place of the embedded pictures, `sets` over every config."""

    out: Path
    data: str | None = None
    seed: int = 0
    sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """One argument: `conclude` reads its sentence from the numbers alone, whichever way they fall."""

    name: str
    about: str
    paper: str
    year: int
    configs: Callable[[Asked], Mapping[str, RunConfig]]
    measure: Callable[[Runs, Asked], Numbers]
    table: Callable[[Numbers], Table]
    conclude: Callable[[Numbers], str]
    draw: Callable[[Numbers, Runs, Asked], Any]
    takes_data: bool = True


@dataclass(frozen=True)
class Taught:
    """What a lesson came to; the same stands in `record`, a JSON file."""

    table: Table
    conclusion: str
    picture: Path
    record: Path
    numbers: Numbers

    def lines(self) -> Iterator[str]:
        """The table, the sentence and the picture's path, for a terminal."""
        yield from aligned(*self.table)
        yield from ("", self.conclusion, "", str(self.picture))


def teach(lesson: Lesson, asked: Asked, report: Reporter | None = None) -> Taught:
    """Train what is not trained yet into OUT/NAME, then write OUT/NAME.json and OUT/NAME.png.

    Raises:
        UserError: data that the lesson does not take, a folder with another run in it, no matplotlib.
        Interrupted: a signal came; the next call goes on.
    """
    report = report or Silent()
    if asked.data is not None and not lesson.takes_data:
        raise UserError(
            f"lesson {lesson.name!r} needs factors that are known: leave out --data, got {asked.data}"
        )
    blank(1, 1)  # whether pictures can be drawn at all is known before anything is trained
    configs = lesson.configs(asked)
    runs = {name: asked.out / lesson.name / name for name in configs}
    _train(
        lesson.name, [Entry(name, asked.seed, runs[name], config) for name, config in configs.items()], report
    )
    numbers = lesson.measure(runs, asked)
    conclusion = lesson.conclude(numbers)
    known = {"lesson": lesson.name, "data": asked.data, "seed": asked.seed, "conclusion": conclusion}
    record = asked.out / f"{lesson.name}.json"
    text = json.dumps({**known, "numbers": numbers}, indent=2) + "\n"
    with disk_errors(asked.out):
        write_atomically(record, lambda path: path.write_text(text, "utf-8"))
    picture = save(lesson.draw(numbers, runs, asked), asked.out / f"{lesson.name}.png")
    return Taught(lesson.table(numbers), conclusion, picture, record, numbers)


def _train(name: str, entries: Sequence[Entry], report: Reporter) -> None:
    for entry in entries:
        try:
            trained(entry, report)
        except Interrupted as stop:
            raise Interrupted(f"lesson {name!r} stopped: the same command goes on", stop.signal) from None
