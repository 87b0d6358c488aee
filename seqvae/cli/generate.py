"""`seqvae sample`, `reconstruct`, `interpolate`, `encode` and `decode`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from seqvae.cli.printing import emit_json, emit_lines, emit_texts
from seqvae.cli.reading import Reading, reads_files, say
from seqvae.errors import UserError

if TYPE_CHECKING:
    from seqvae.models.text.decoding import GenerationConfig

GREEDY = Annotated[bool, typer.Option("--greedy", help="The likeliest word at each place.")]
BEAM = Annotated[int | None, typer.Option(help="Beam search of this width.")]
LENGTH = Annotated[int | None, typer.Option(help="Words at most; the run's max_tokens by default.")]


def sample(
    run: RUN,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.", min=1)] = 10,
    temperature: Annotated[
        float, typer.Option(help="Divides the logits: below 1 likelier words, above 1 rarer ones.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest words.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest words of this mass.")] = None,
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
) -> None:
    """Write sentences from codes drawn from the prior; repeated ones are counted on stderr."""
    vae = load_vae(run, device, rate, prior, condition)
    require_text(vae, "`seqvae plot RUN samples` draws pictures")
    how = _how(vae, greedy=greedy, beam=beam, max_length=max_length)
    how = _with_defaults(how, temperature=temperature, top_k=top_k, top_p=top_p)
    texts = vae.sample(n, how, seed)
    emit_json([{"text": t} for t in texts]) if json else emit_texts(texts, print0)
    copies = n - len(Counter(texts))
    if copies:
        say(f"{copies} of {n} sentences repeat another one")


@reads_files
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
) -> None:
    """Encode sentences and decode their codes; `=` marks exact reconstructions."""
    vae = load_vae(run, device, rate, condition=condition, reading=reading, sources=input_)
    require_text(vae, "`seqvae plot RUN reconstructions` draws pictures")
    given = rows(vae, texts, input_, reading=reading)
    how = _how(vae, greedy=not beam, beam=beam)
    pairs = given.spread(vae.reconstruct(given.x, how, draw, seed, condition=given.condition))
    if json:
        none = {"text": "", "reconstruction": None, "exact": None}
        emit_json([none if p is None else vars(p) for p in pairs])
    elif print0:
        emit_texts([p.reconstruction if p else "" for p in pairs], print0)
    else:
        emit_lines(line for p in pairs for line in _pair(p))


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
) -> None:
    """Decode codes on the path between two sentences' codes; the ends are their reconstructions."""
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`seqvae plot RUN interpolation` draws pictures")
    points = vae.interpolate(a, b, steps, path, _how(vae, greedy=not beam, beam=beam))
    if json:
        emit_json({"a": a, "b": b, "path": path, "points": [vars(p) for p in points]})
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
) -> None:
    """Write the sentence of each code in a file, or of each vector, which is encoded first."""
    from seqvae.inference.latent_files import coded_rows, read_codes

    if (input_ is None) == (vectors is None):
        raise UserError("give --input FILE of codes or --vectors FILE of vectors, one of the two")
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`ImageVAE.decode` gives pictures as tensors")
    z = read_codes(input_) if input_ is not None else vae.encode(given_vectors(vae, vectors))
    there = coded_rows(z)
    written = iter(
        vae.decode(
            z[there] if there.numel() else z, _how(vae, greedy=not beam, beam=beam, max_length=max_length)
        )
    )
    texts = [next(written) if filled else None for filled in there.tolist()]
    if missing := texts.count(None):
        say(f"{missing:,} of {len(texts):,} rows hold no code: they keep their place, without a text")
    emit_json([{"text": t} for t in texts]) if json else emit_texts([t or "" for t in texts], print0)


def _pair(pair: Any) -> tuple[str, str]:
    """A sentence and its reconstruction; a row without a sentence has two empty lines."""
    return (pair.text, f"{'=' if pair.exact else '>'} {pair.reconstruction}") if pair else ("", "")


def _how(vae: Any, greedy: bool, beam: int | None, max_length: int | None = None) -> GenerationConfig:
    from seqvae.models.text.decoding import GenerationConfig

    length = vae.config.data.max_tokens if max_length is None else max_length
    return GenerationConfig(greedy=greedy, beam=beam, max_length=length)


def _with_defaults(how: GenerationConfig, **values: Any) -> GenerationConfig:
    from dataclasses import replace

    return replace(how, **values)


COMMANDS = (sample, reconstruct, interpolate, encode, decode)
