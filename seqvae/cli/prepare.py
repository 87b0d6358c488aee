"""`seqvae prepare`: tokenize a corpus before it is trained on, shard by shard, by many processes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.options import JSON
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.reading import Reading, reads_files
from seqvae.cli.terminal import Terminal
from seqvae.cli.train import FITTED, choose_config, fit_config
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns

if TYPE_CHECKING:
    from seqvae.config.schema import RunConfig


@reads_files
def prepare(
    config: Annotated[str | None, typer.Argument(help="A YAML file, or a shipped config's name.")] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Your text: a file, URL, folder, glob or Hub id; may be given several times."),
    ] = None,
    recipe: Annotated[str, typer.Option(help="The shipped config that --corpus uses.")] = "default",
    sets: Annotated[list[str] | None, typer.Option("--set", help="key.path=value over the config.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Shards at a time, each in a process.")] = 1,
    json: JSON = False,
    *,
    reading: Reading,
) -> None:
    """Tokenize a corpus as `train` would; call it on many machines to share the shards of data.store."""
    report = Terminal()
    chosen = choose_config(config, corpus, recipe, [*reading.overrides, *(sets or [])])
    if corpus and recipe in FITTED:
        chosen = fit_config(chosen, sets or [], report)
    found = _prepare(chosen, workers, report)
    report.close()
    if json:
        emit_json(found)
        return
    rows = [(split, *(f"{n:,}" for n in row.values())) for split, row in found.items()]
    emit_lines(align_columns(("split", "shards", "sentences", "tokens", "bytes"), rows))


def _prepare(config: RunConfig, workers: int, report: Terminal) -> dict[str, dict[str, Any]]:
    """Of each split its shards, sentences, tokens and bytes on disk."""
    from seqvae.build import modality_of
    from seqvae.data.preparation import Preparation
    from seqvae.utils.jobs.scheduler import Slot

    if config.modality != "text":
        raise UserError("prepare reads text: pictures are prepared when they are trained on")
    places = [Slot(threads=1)] * workers if workers > 1 else []
    data: Any = modality_of(config).load_data(config, None, Preparation(report, places))
    for line in data.report():
        report.note(line)
    return {name: store.extent for name, store in data.splits.items()}


COMMANDS = (prepare,)
