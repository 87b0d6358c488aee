"""`seqvae sample`, `reconstruct`, `interpolate`, `encode` and `decode`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seqvae.cli.options import (
    CONDITION,
    DEVICE,
    INPUT,
    JSON,
    PRINT0,
    PRIOR,
    RATE,
    RUN,
    SEED,
    TEXTS,
    VECTORS,
    given_vectors,
    load_vae,
    require_text,
    rows,
)
from seqvae.cli.printing import emit_lines, emit_texts
from seqvae.cli.reading import Reading, reads_files, say
from seqvae.cli.writing import Writing, writes_sentences
from seqvae.errors import UserError

GREEDY = Annotated[bool, typer.Option("--greedy", help="The likeliest word at each place.")]
BEAM = Annotated[int | None, typer.Option(help="Beam search of this width.")]
LENGTH = Annotated[int | None, typer.Option(help="Words at most; the run's max_tokens by default.")]


@writes_sentences
def sample(
    run: RUN,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.", min=1)] = 10,
    temperature: Annotated[
        float, typer.Option(help="Divides the logits: below 1 likelier words, above 1 rarer ones.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest words.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest words of this mass; 0.95, 1 for all words.")
    ] = None,
    greedy: GREEDY = False,
    beam: BEAM = None,
    max_length: LENGTH = None,
    seed: SEED = 0,
    rate: RATE = None,
    prior: PRIOR = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    print0: PRINT0 = False,
    *,
    writing: Writing,
) -> None:
    """Write sentences from codes of the prior, a fitted one if there is one; repeated ones are counted."""
    vae = load_vae(run, device, rate, prior, condition)
    require_text(vae, "`seqvae plot RUN samples` draws pictures")
    how = writing.how(
        vae, max_length, greedy=greedy, beam=beam, temperature=temperature, top_k=top_k, top_p=top_p
    )
    texts = vae.sample(n, how, seed, constraint=writing.rule)
    writing.emit_json([{"text": t} for t in texts]) if json else emit_texts(texts, print0)
    writing.said(n, n - len(texts))
    copies = len(texts) - len(Counter(texts))
    if copies:
        say(f"{copies} of {len(texts)} sentences repeat another one")


@reads_files
@writes_sentences
def reconstruct(
    run: RUN,
    texts: TEXTS = None,
    input_: INPUT = None,
    draw: Annotated[bool, typer.Option("--draw", help="From a posterior sample, not the mean.")] = False,
    beam: BEAM = None,
    seed: SEED = 0,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    print0: PRINT0 = False,
    *,
    reading: Reading,
    writing: Writing,
) -> None:
    """Encode sentences and decode their codes; `=` marks exact reconstructions."""
    vae = load_vae(run, device, rate, condition=condition, reading=reading, sources=input_)
    require_text(vae, "`seqvae plot RUN reconstructions` draws pictures")
    given = rows(vae, texts, input_, reading=reading)
    how, rule = writing.how(vae, greedy=not beam, beam=beam), writing.rule
    found = vae.reconstruct(given.x, how, draw, seed, condition=given.condition, constraint=rule)
    pairs = given.spread(found)
    writing.said(len(found), sum(writing.missing(pair.reconstruction) for pair in found))
    if json:
        none = {"text": "", "reconstruction": None, "exact": None}
        writing.emit_json(
            [
                none if p is None else {**vars(p), "reconstruction": writing.shown(p.reconstruction)}
                for p in pairs
            ]
        )
    elif print0:
        emit_texts([p.reconstruction if p else "" for p in pairs], print0)
    else:
        emit_lines(line for p in pairs for line in _pair(p))


@writes_sentences
def interpolate(
    run: RUN,
    a: Annotated[str, typer.Argument(help="A sentence.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    steps: Annotated[int, typer.Option(help="Sentences on the path, both ends included.")] = 8,
    path: Annotated[Literal["linear", "slerp"], typer.Option(help="Straight, or along the arc.")] = "linear",
    beam: BEAM = None,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    print0: PRINT0 = False,
    *,
    writing: Writing,
) -> None:
    """Decode codes on the path between two sentences' codes; the ends are their reconstructions."""
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`seqvae plot RUN interpolation` draws pictures")
    how = writing.how(vae, greedy=not beam, beam=beam)
    points = vae.interpolate(a, b, steps, path, how, constraint=writing.rule)
    writing.said(len(points), sum(writing.missing(p.text) for p in points))
    if json:
        shown = [{"t": p.t, "text": writing.shown(p.text)} for p in points]
        writing.emit_json({"a": a, "b": b, "path": path, "points": shown})
    elif print0:
        emit_texts([p.text for p in points], print0)
    else:
        emit_lines([f"a     {a}", *(f"{p.t:.2f}  {p.text}" for p in points), f"b     {b}"])


@reads_files
def encode(
    run: RUN,
    output: Annotated[
        Path, typer.Option(help="z.npy, or z.parquet with row numbers, texts, labels, counts.")
    ],
    input_: INPUT = None,
    vectors: VECTORS = None,
    empty: Annotated[
        Literal["nan", "mask", "drop"],
        typer.Option(help="A row without a text becomes NaN, zeros with a mask, or no row."),
    ] = "nan",
    draw: Annotated[bool, typer.Option("--draw", help="Posterior samples, not means.")] = False,
    seed: SEED = 0,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    *,
    reading: Reading,
) -> None:
    """Write the codes of sentences, pictures or vectors to a file, one row per row of the input."""
    from seqvae.distributed.collectives import distributed_session, is_main
    from seqvae.inference.inputs import Inputs
    from seqvae.inference.latent_files import check_output, write_codes
    from seqvae.utils.device import pick_device

    if bool(input_) == (vectors is not None):
        raise UserError("give --input FILE of examples or --vectors FILE of vectors, one of the two")
    with distributed_session(pick_device(device)):
        check_output(output)
        vae = load_vae(run, device, rate, condition=condition, reading=reading, sources=input_)
        given = rows(vae, None, input_, reading=reading) if input_ else Inputs(given_vectors(vae, vectors))
        z = vae.encode(given.x, draw, seed, condition=given.condition)
        if vae.modality == "text" and input_:  # vectors have no tokens
            given = given.with_column("unknown_tokens", given.spread(vae.unknown(given.x)))
        if is_main():
            write_codes(output, z, given, empty)
            left = f", of {given.total} rows" if given.left_out else ""
            typer.echo(f"{output}: {z.shape[0]} codes of {z.shape[1]} dims{left}")


@writes_sentences
def decode(
    run: RUN,
    input_: Annotated[
        Path | None, typer.Option("--input", help="z.npy or z.parquet, as `encode` writes them.")
    ] = None,
    vectors: VECTORS = None,
    beam: BEAM = None,
    max_length: LENGTH = None,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
    print0: PRINT0 = False,
    *,
    writing: Writing,
) -> None:
    """Write the sentence of each code in a file, or of each vector, which is encoded first."""
    from seqvae.inference.latent_files import coded_rows, read_codes

    if (input_ is None) == (vectors is None):
        raise UserError("give --input FILE of codes or --vectors FILE of vectors, one of the two")
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`ImageVAE.decode` gives pictures as tensors")
    z = read_codes(input_) if input_ is not None else vae.encode(given_vectors(vae, vectors))
    there = coded_rows(z)
    how = writing.how(vae, max_length, greedy=not beam, beam=beam)
    found = vae.decode(z[there] if there.numel() else z, how, constraint=writing.rule)
    writing.said(len(found), sum(map(writing.missing, found)))
    written = iter(map(writing.shown, found))
    texts = [next(written) if filled else None for filled in there.tolist()]
    if missing := int((~there).sum()):
        say(f"{missing:,} of {len(texts):,} rows hold no code: they keep their place, without a text")
    writing.emit_json([{"text": t} for t in texts]) if json else emit_texts([t or "" for t in texts], print0)


def _pair(pair: Any) -> tuple[str, str]:
    """A sentence and its reconstruction; a row without a sentence has two empty lines."""
    return (pair.text, f"{'=' if pair.exact else '>'} {pair.reconstruction}") if pair else ("", "")


COMMANDS = (sample, reconstruct, interpolate, encode, decode)
