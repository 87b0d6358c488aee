"""`seqvae lesson`: claims of introductory articles, each measured as a table, a sentence and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqvae.cli.options import JSON
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.terminal import Terminal
from seqvae.utils.tables import align_columns

SETS = Annotated[list[str] | None, typer.Option("--set", help="key.path=value over every run's config.")]


def lesson(
    name: Annotated[str | None, typer.Argument(help="Name of the lesson; without it all are listed.")] = None,
    out: Annotated[Path, typer.Option(help="The folder of runs and results.")] = Path("runs/lessons"),
    data: Annotated[str | None, typer.Option(help="Pictures, as a folder of MNIST's idx files.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the trainings and of all random draws.")] = 0,
    sets: SETS = None,
    json: JSON = False,
) -> None:
    """Teach one thing about autoencoders: train the models, print a table and a sentence, plot a picture.

    Finished runs in the folder are used again; an interrupted lesson resumes.
    """
    from seqvae.config.registry import lookup
    from seqvae.experiments.lessons import LESSONS, LessonArgs, lesson_rows, run_lesson

    if name is None:
        rows = [(row["name"], row["about"]) for row in lesson_rows()]
        emit_json(lesson_rows()) if json else emit_lines(align_columns(("lesson", "about"), rows))
        return
    taught = run_lesson(
        lookup("lesson", LESSONS, name), LessonArgs(out, data, seed, tuple(sets or ())), Terminal()
    )
    if json:
        typer.echo(taught.record.read_text("utf-8"), nl=False)
    else:
        emit_lines(taught.lines())


COMMANDS = (lesson,)
