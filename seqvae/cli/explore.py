"""`seqvae explore`: a page on which one looks at a run and moves through its code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seqvae.cli.options import CONDITION, DEVICE, PRIOR, RATE, RUN, load_vae


def explore(
    run: RUN,
    data: Annotated[
        str | None, typer.Option(help="A file whose examples are on the map; the test split by default.")
    ] = None,
    port: Annotated[
        int,
        typer.Option(help="The page's port; 0 takes a free one.", min=0, max=65535),
    ] = 8800,
    static: Annotated[
        Path | None, typer.Option(help="Write the page into this new folder, to open from disk, and end.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Examples on the map, at most.", min=2)] = 50_000,
    seed: Annotated[int, typer.Option(help="Of t-SNE, of the prior draws and of the static paths.")] = 0,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
) -> None:
    """Open a local page on a run: map, paths, sliders, rates, samples and health (extra `explore`)."""
    from seqvae.explore.requirements import require_packages

    require_packages()
    from seqvae.explore.session import Explorer

    vae = load_vae(run, device, rate, prior, condition)
    explorer = Explorer(vae, data, examples, seed, rate, prior)
    if static is not None:
        from seqvae.cli.terminal import Terminal
        from seqvae.explore.static import write_static

        report = Terminal()
        page = write_static(explorer, static, report.advance)
        report.close()
        typer.echo(page)
        return
    from seqvae.explore.serve import serve

    serve(explorer, port, typer.echo)


COMMANDS = (explore,)
