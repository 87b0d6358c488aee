"""`seqvae neighbors`: the examples whose codes are nearest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seqvae.cli.options import (
    CONDITION,
    DEVICE,
    GIVEN,
    INPUT,
    JSON,
    RATE,
    RUN,
    load_vae,
    read_examples,
    rows,
)
from seqvae.cli.printing import emit_json, emit_lines
from seqvae.cli.reading import Reading, reads_files, say
from seqvae.errors import UserError


@reads_files
def neighbors(
    run: RUN,
    given: GIVEN = None,
    input_: INPUT = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="Search in these: train, valid, test or files.")
    ] = None,
    codes: Annotated[
        Path | None, typer.Option(help="Or in codes that `seqvae encode` wrote: .npy or .parquet.")
    ] = None,
    examples: Annotated[int | None, typer.Option(help="Only in the first N.", min=1)] = None,
    count: Annotated[int, typer.Option("-k", "--count", help="How many neighbors.", min=1)] = 5,
    metric: Annotated[
        Literal["cosine", "kl"], typer.Option(help="Cosine of the means, or KL between posteriors in nats.")
    ] = "cosine",
    backend: Annotated[
        Literal["exact", "faiss"], typer.Option(help="faiss (extra `neighbors`) may miss some.")
    ] = "exact",
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    *,
    reading: Reading,
) -> None:
    """Find the sentences or pictures whose codes are nearest, in the training split by default."""
    from seqvae.inference.neighbors import find_neighbors

    sources = [*(data or ()), *(input_ or ())]
    vae = load_vae(run, device, rate, condition=condition, reading=reading, sources=sources or None)
    asked = rows(vae, given, input_, reading=reading)
    index, names = _index(vae, codes, data, examples, metric, backend, reading)
    found = find_neighbors(vae, asked.x, index, count)
    named = [[{"place": n.place, metric: n.score, "example": names[n.place]} for n in row] for row in found]
    if json:
        pairs = zip(asked.names, named, strict=True)
        emit_json([{"query": query, "neighbors": row} for query, row in pairs])
        return
    for query, row in zip(asked.names, named, strict=True):
        emit_lines([query, *(f"{n[metric]:8.4f}  {n['example']}" for n in row)])


def _index(
    vae: Any,
    codes: Path | None,
    data: list[str] | None,
    examples: int | None,
    metric: Any,
    backend: Any,
    reading: Reading,
) -> tuple[Any, list[str]]:
    """What is searched, and the name of each of its examples."""
    from seqvae.inference.code_index import CodeIndex, Gaussians
    from seqvae.inference.latent_files import read_codes, read_texts
    from seqvae.inference.neighbors import build_index

    if codes is not None:
        if data:
            raise UserError("--codes and --data both say where to search: give one")
        z = read_codes(codes)[:examples]
        names = read_texts(codes) or [str(place) for place in range(len(z))]
        if z.ndim != 2 or z.shape[1] != vae.latent_dim:
            raise UserError(
                f"{codes} holds codes of shape {tuple(z.shape)}: this run's have {vae.latent_dim} dims"
            )
        there = (~z.isnan().any(1)).nonzero()[:, 0]  # rows without a code are not searched
        return CodeIndex(Gaussians(z[there]), metric, backend), [names[i] for i in there.tolist()]
    shown = read_examples(vae, None, None, data or ["train"], examples, reading)
    say(f"searching in {len(shown):,} examples")
    return build_index(vae, shown.x, metric, backend, shown.condition), shown.names


COMMANDS = (neighbors,)
