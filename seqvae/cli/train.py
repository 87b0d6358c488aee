"""`seqvae train`."""

from __future__ import annotations

import re
from json import dumps
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqvae.cli.options import only
from seqvae.cli.reading import Reading, reads_files
from seqvae.cli.terminal import Terminal
from seqvae.errors import UserError
from seqvae.utils.tables import markdown_table as markdown_table

if TYPE_CHECKING:
    from seqvae.config.schema import RunConfig

FITTED = ("default", "free-bits")  # recipes whose tokenizer, length and code follow from the corpus


@reads_files
def train(
    config: Annotated[str | None, typer.Argument(help="A YAML file, or a shipped config's name.")] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Your text: a file, folder, glob, - or Hub id; may be given several times."),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="A vector per line of --corpus: decode these, .npy or .parquet.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="The shipped config that --corpus uses.")] = "default",
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value over the config.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to make; runs/NAME by default.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue this run.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N, over train.device.")] = None,
    *,
    reading: Reading,
) -> None:
    """Train a model; prints the run folder. Ctrl-C saves and prints the command that resumes."""
    if vectors is not None and not corpus:
        raise UserError(f"--vectors {vectors} goes with --corpus FILE, which has the text of each row")
    if resume is not None and (config or corpus or sets or out or reading.overrides):
        raise UserError(f"--resume continues {resume} unchanged: leave out CONFIG, --corpus, --set and --out")
    place = [] if device is None else [f"train.device={device}"]
    overrides = [*reading.overrides, *_of_vectors(vectors), *(sets or []), *place]
    chosen = None if resume is not None else choose_config(config, corpus, recipe, overrides)
    from seqvae.training import loop as training

    report = Terminal()
    if resume is not None:
        path = training.resume(resume, report, device)
    else:
        assert chosen is not None
        if corpus and recipe in FITTED:
            chosen = fit_config(chosen, sets or [], report)
        path = training.train(chosen, out or _free_name(config, corpus), report)
    if int(environ.get("RANK", 0)) == 0:  # one path per run, not one per rank
        _report_findings(path, device or "auto", report)
        typer.echo(path)


def choose_config(config: str | None, corpus: list[str] | None, recipe: str, sets: list[str]) -> RunConfig:
    """The config that was named, or the recipe over a corpus, with what was set over it."""
    from seqvae.config.loading import load_config
    from seqvae.config.shipped import find_config
    from seqvae.data.input_files import regular_files

    if (config is None) == (not corpus):
        raise UserError(
            "give a config or --corpus FILE, one of them (`seqvae list configs` names the shipped); quote a "
            "pattern of several files"
        )
    if corpus:
        found = regular_files(only(corpus), keep=True)
        return load_config(find_config(f"text/{recipe}"), [f"data.train={dumps(found)}", *sets])
    assert config is not None
    return load_config(find_config(config), sets)


def fit_config(config: RunConfig, sets: list[str], report: Terminal) -> RunConfig:
    """A recipe fitted to its corpus, except for what the user set; reports how."""
    from seqvae.config.schema import TextRunConfig
    from seqvae.data.text.fit_config import fit_to_corpus

    assert isinstance(config, TextRunConfig)
    fitted, reasons = fit_to_corpus(config, sets)
    for line in reasons:
        report.note(line)
    return fitted


def _report_findings(path: Path, device: str, report: Terminal) -> None:
    """Report the rate that the corpus asks for, and the doctor's first finding."""
    from seqvae.analysis.doctor.quick import look_briefly
    from seqvae.analysis.rate_asked import describe_rate_asked
    from seqvae.inference import load

    vae = load(path, device)
    try:
        for line in (describe_rate_asked(vae), look_briefly(vae)):
            if line:
                report.note(line)
    except UserError as error:  # data that have changed, or that cannot be read again
        report.note(f"not measured after training: {error}")


def _of_vectors(vectors: Path | None) -> list[str]:
    """Overrides for a model that encodes the vectors in a file."""
    return [] if vectors is None else ["encoder={name: vectors}", f"data.vectors={dumps(str(vectors))}"]


def _free_name(config: str | None, corpus: list[str] | None) -> Path:
    """runs/NAME, or runs/NAME-2 ... where that exists."""
    from seqvae.data.input_files import STDIN

    named = config or (corpus[0] if corpus else "")
    base = "stdin" if named == STDIN else re.sub(r"[*?\[\]]", "", Path(named).name.split(".")[0]) or "run"
    names = (base if n == 1 else f"{base}-{n}" for n in range(1, 10_000))
    return next(path for name in names if not (path := Path("runs") / name).exists())


COMMANDS = (train,)
