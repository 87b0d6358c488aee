"""The protocol of lessons, and `run_lesson`, which trains, measures and writes the results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seqvae.config.schema import RunConfig
from seqvae.errors import UserError
from seqvae.experiments.compare.running import ensure_trained
from seqvae.experiments.compare.schema import RunSpec
from seqvae.plots import save
from seqvae.plots.style import new_figure
from seqvae.utils.atomic_files import explain_disk_errors, write_atomically
from seqvae.utils.reporter import Reporter, Silent
from seqvae.utils.signals import Interrupted
from seqvae.utils.tables import align_columns

Numbers = dict[str, Any]  # JSON values
Runs = Mapping[str, Path]  # the run folders by name
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # head and rows


@dataclass(frozen=True)
class LessonArgs:
    """Arguments of a lesson: `data` replaces the embedded images, `sets` overrides every config."""

    out: Path
    data: str | None = None
    seed: int = 0
    sets: tuple[str, ...] = ()


class Lesson(Protocol):
    """A lesson; every module of this folder with a `NAME` is one."""

    NAME: str  # on the command line and in file names
    ABOUT: str
    PAPER: str
    YEAR: int
    TAKES_DATA: bool  # whether other images may replace the embedded ones

    def configs(self, material: LessonArgs) -> Mapping[str, RunConfig]:
        """The configs to train, by run name."""
        ...

    def measure(self, runs: Runs, material: LessonArgs) -> Numbers:
        """All numbers that table, sentence and figure need."""
        ...

    def table(self, numbers: Numbers) -> Table:
        """The numbers as a table."""
        ...

    def conclude(self, numbers: Numbers) -> str:
        """The conclusion in one sentence, derived from the numbers, for every outcome."""
        ...

    def draw(self, numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
        """The figure."""
        ...


@dataclass(frozen=True)
class LessonResult:
    """The result of a lesson, also stored in the JSON file `record`."""

    table: Table
    conclusion: str
    picture: Path
    record: Path
    numbers: Numbers

    def lines(self) -> Iterator[str]:
        """The table, the sentence and the figure's path as lines of text."""
        yield from align_columns(*self.table)
        yield from ("", self.conclusion, "", str(self.picture))


def run_lesson(lesson: Lesson, material: LessonArgs, report: Reporter | None = None) -> LessonResult:
    """Train the missing runs in OUT/NAME, then write OUT/NAME.json and OUT/NAME.png.

    Raises:
        UserError: data that the lesson cannot use, a folder that holds another run, or no matplotlib.
        Interrupted: a signal arrived; the next call resumes.
    """
    report = report or Silent()
    if material.data is not None and not lesson.TAKES_DATA:
        raise UserError(
            f"lesson {lesson.NAME!r} needs factors that are known: leave out --data, got {material.data}"
        )
    new_figure(1, 1)  # fails now, before any training, if matplotlib is missing
    configs = lesson.configs(material)
    runs = {name: material.out / lesson.NAME / name for name in configs}
    _train(
        lesson.NAME,
        [RunSpec(name, material.seed, runs[name], config) for name, config in configs.items()],
        report,
    )
    numbers = lesson.measure(runs, material)
    conclusion = lesson.conclude(numbers)
    known = {"lesson": lesson.NAME, "data": material.data, "seed": material.seed, "conclusion": conclusion}
    record = material.out / f"{lesson.NAME}.json"
    text = json.dumps({**known, "numbers": numbers}, indent=2) + "\n"
    with explain_disk_errors(material.out):
        write_atomically(record, lambda path: path.write_text(text, "utf-8"))
    picture = save(lesson.draw(numbers, runs, material), material.out / f"{lesson.NAME}.png")
    return LessonResult(lesson.table(numbers), conclusion, picture, record, numbers)


def _train(name: str, entries: Sequence[RunSpec], report: Reporter) -> None:
    for entry in entries:
        try:
            ensure_trained(entry, report)
        except Interrupted as stop:
            raise Interrupted(f"lesson {name!r} stopped: the same command goes on", stop.signal) from None
