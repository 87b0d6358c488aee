"""`seqvae list`, `show`, `cp` and `selftest`: the catalogue, one config or run, a config to start from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from seqvae.cli.options import JSON
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns
from seqvae.utils.tables import markdown_table as markdown_table

KINDS = (
    "configs",
    "encoders",
    "decoders",
    "latents",
    "priors",
    "objectives",
    "remedies",
    "tokenizers",
    "corpora",
    "lessons",
)


def list_(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}.")] = None,
    json: JSON = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown tables, with headings without KIND.")
    ] = False,
) -> None:
    """Print what a config can name, with its arguments, year and paper."""
    if kind is not None and kind not in KINDS:
        from seqvae.config.registry import lookup

        lookup("kind", dict.fromkeys(KINDS), kind)
    rows = {"configs": _configs()} if kind == "configs" else _rows(kind)
    if json:
        emit_json(rows if kind is None else rows[kind])
        return
    for name, entries in rows.items():
        columns = tuple(entries[0])
        cells = [tuple(str(e[c]) for c in columns) for e in entries]
        if markdown:
            title = [f"## {name.capitalize()}", ""] if kind is None else []
            emit_lines([*title, *markdown_table(columns, cells), *([""] if title else [])])
            continue
        typer.echo(f"\n{name}" if kind is None else name)
        emit_lines(align_columns(columns, cells))


def show(
    source: Annotated[str, typer.Argument(help="A run folder, a YAML file or a shipped config's name.")],
    json: JSON = False,
) -> None:
    """Print the whole config; for a run also its number of steps and whether it is finished."""
    from seqvae.config.loading import dump_config, load_config
    from seqvae.config.shipped import find_config
    from seqvae.config.yaml_files import read_yaml

    path = Path(find_config(source))
    if not path.is_dir() and "variants" in read_yaml(path):  # a comparison: `seqvae compare` runs it
        values = read_yaml(path)
        emit_json(values) if json else typer.echo(path.read_text(encoding="utf-8"), nl=False)
        return
    if not path.is_dir():
        config = load_config(path)
        emit_json(config.model_dump(by_alias=True)) if json else typer.echo(dump_config(config), nl=False)
        return
    from seqvae.runs.run_folder import read_card

    card = read_card(path)
    if json:
        emit_json({"finished": card["progress"]["finished"], **card})
        return
    typer.echo((path / "config.yaml").read_text(encoding="utf-8"), nl=False)
    typer.echo(f"\n# {card['progress']['step']} steps, selected {card['selected']}")
    typer.echo(f"# finished: {'yes' if card['progress']['finished'] else 'no'}")
    if "rate" in card:
        from seqvae.evaluation.rate_sweep import describe_choice

        typer.echo(f"# {describe_choice(card['rate'])}")


def cp(
    config: Annotated[
        str, typer.Argument(help="A shipped config's name, as `seqvae list configs` prints it.")
    ],
    dest: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Copy a shipped config, to change it."""
    from seqvae.config.registry import lookup
    from seqvae.config.shipped import shipped_configs

    source = lookup("config", shipped_configs(), config)
    target = dest / source.name if dest.is_dir() else dest
    if target.exists():
        raise UserError(f"{target} exists: choose another name")
    if not target.parent.is_dir():
        raise UserError(f"the folder {target.parent} does not exist: make it first")
    shutil.copyfile(source, target)
    typer.echo(target)


def _rows(kind: str | None) -> dict[str, list[dict[str, Any]]]:
    from seqvae.build import catalogue
    from seqvae.experiments.lessons import lesson_rows

    tables = catalogue() | {"lessons": lesson_rows()}
    return {kind: tables[kind]} if kind else {"configs": _configs(), **tables}


def selftest() -> None:
    """Run the cases whose answers are known: pPCA, ln N, closed forms, the exact rate, controllers."""
    from seqvae.evaluation.selftest.checks import run_selftest as run

    checks = run(lambda group: typer.echo(f"{group} ...", err=True))
    rows: list[tuple[str, ...]] = [
        ("ok" if c.holds else "FAIL", c.name, f"{c.got:.4f}", f"{c.known:.4f}", f"{c.tolerance:.4f}")
        for c in checks
    ]
    emit_lines(align_columns(("", "check", "got", "known", "within"), rows))
    if not all(c.holds for c in checks):
        raise typer.Exit(1)


def _configs() -> list[dict[str, Any]]:
    from seqvae.config.shipped import read_first_comment, shipped_configs

    return [{"name": name, "about": read_first_comment(path)} for name, path in shipped_configs().items()]


COMMANDS = (list_, show, cp, selftest)
