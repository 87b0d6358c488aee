"""`seqvae train`, `seqvae evaluate` and `seqvae compare`."""

from __future__ import annotations

import re
from json import dumps
from os import environ
from pathlib import Path
from typing import Annotated, Literal

import typer

from seqvae.cli.options import CONDITION, DEVICE, JSON, PRIOR, RATE, RUN, load_vae, only
from seqvae.cli.printing import emit_json, emit_lines, format_value
from seqvae.cli.reading import Reading, reads_files
from seqvae.cli.terminal import Terminal
from seqvae.config.loading import load_config
from seqvae.config.schema import RunConfig, TextRunConfig
from seqvae.config.shipped import find_config
from seqvae.data.input_files import STDIN, regular_files
from seqvae.errors import UserError
from seqvae.utils.reporter import Silent
from seqvae.utils.tables import align_columns
from seqvae.utils.tables import markdown_table as markdown_table


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
    chosen = None if resume is not None else _choose_config(config, corpus, recipe, overrides)
    from seqvae.training import loop as training

    report = Terminal()
    if resume is not None:
        path = training.resume(resume, report, device)
    else:
        assert chosen is not None
        if corpus and recipe == "default":
            from seqvae.data.text.fit_config import fit_to_corpus

            assert isinstance(chosen, TextRunConfig)
            chosen, reasons = fit_to_corpus(chosen, sets or [])
            for line in reasons:
                report.note(line)
        path = training.train(chosen, out or _free_name(config, corpus), report)
    if int(environ.get("RANK", 0)) == 0:  # one path per run, not one per rank
        typer.echo(path)


@reads_files
def evaluate(
    run: RUN,
    data: Annotated[
        list[str] | None, typer.Option(help="Files; the run's own test split by default.")
    ] = None,
    samples: Annotated[int, typer.Option(help="K of IW-NLL; papers use 500.")] = 20,
    precision: Annotated[Literal["fp32", "bf16", "auto"], typer.Option(help="bf16 is faster.")] = "fp32",
    examples: Annotated[int | None, typer.Option(help="Only the first N examples.", min=1)] = None,
    refine: Annotated[int, typer.Option(help="SVI steps: adds the amortisation gap.", min=0)] = 0,
    factors: Annotated[bool, typer.Option("--factors", help="Adds MIG, DCI, SAP ... over labels.")] = False,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="One row of a Markdown table.")] = False,
    *,
    reading: Reading,
) -> None:
    """Measure a run: NLL, rate, MI, active units, reconstruction, and whether the decoder uses the code."""
    from seqvae.distributed.collectives import distributed_session, is_main
    from seqvae.utils.device import pick_device

    with distributed_session(pick_device(device)):
        first = is_main()
        report = Terminal() if first else Silent()
        result = load_vae(run, device, rate, prior, condition, reading, data).evaluate(
            only(data) if data else None,
            samples,
            report.advance,
            precision=precision,
            examples=examples,
            refine=refine,
            factors=factors,
        )
        report.close()
    if not first:
        return
    if json:
        emit_json(result)
    elif markdown:
        from seqvae.evaluation.metrics.keys import HEADLINE, headline_cells, label_of

        head = ["model", *map(label_of, HEADLINE)]
        emit_lines(markdown_table(head, [[run, *headline_cells(result)]]))
    else:
        cautions = result.pop("cautions", [])
        emit_lines(align_columns(("measure", "value"), [(k, format_value(v)) for k, v in result.items()]))
        for line in cautions:
            typer.echo(line, err=True)


def compare(
    comparison: Annotated[str, typer.Argument(help="A YAML of base, variants, seeds; or a shipped one.")],
    out: Annotated[Path, typer.Option(help="The folder of its runs; call again to resume or share.")],
    only: Annotated[str, typer.Option(help="Variants to work on, as lm,ae; the others' rows stay.")] = "",
    devices: Annotated[str, typer.Option(help="One run at a time on each, as cuda:0,cuda:1.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time; they share the CPU's threads.")] = 1,
) -> None:
    """Train and evaluate variants of a config alike; prints one table, mean ± s.d. over seeds."""
    from seqvae.experiments.compare import available_slots, load_comparison
    from seqvae.experiments.compare import compare as compared

    where = available_slots([name for name in devices.split(",") if name], workers)
    named = [name for name in only.split(",") if name]
    table = compared(load_comparison(comparison), out, Terminal(), named, where)
    typer.echo(table.markdown(), nl=False)
    if table.failed:
        raise UserError(f"{table.failures()}: the end of the table says why, the same command tries again")


def _choose_config(config: str | None, corpus: list[str] | None, recipe: str, sets: list[str]) -> RunConfig:
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


def _of_vectors(vectors: Path | None) -> list[str]:
    """Overrides for a model that encodes the vectors in a file."""
    return [] if vectors is None else ["encoder={name: vectors}", f"data.vectors={dumps(str(vectors))}"]


def _free_name(config: str | None, corpus: list[str] | None) -> Path:
    """runs/NAME, or runs/NAME-2 ... where that exists."""
    named = config or (corpus[0] if corpus else "")
    base = "stdin" if named == STDIN else re.sub(r"[*?\[\]]", "", Path(named).name.split(".")[0]) or "run"
    names = (base if n == 1 else f"{base}-{n}" for n in range(1, 10_000))
    return next(path for name in names if not (path := Path("runs") / name).exists())


COMMANDS = (train, evaluate, compare)
