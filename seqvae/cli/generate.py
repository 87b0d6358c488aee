"""`seqvae sample`, `reconstruct`, `interpolate`, `encode` and `decode`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seqvae.cli.options import (
    CONDITION,
    DEVICE,
    INPUT,
    JSON,
    PRIOR,
    RATE,
    RUN,
    SEED,
    TEXTS,
    load_vae,
    read_example_file,
    read_sentences,
    require_text,
)
from seqvae.cli.printing import emit_json, emit_lines

if TYPE_CHECKING:
    from seqvae.models.text.decoding import GenerationConfig

GREEDY = Annotated[bool, typer.Option("--greedy", help="The likeliest word at each place.")]
BEAM = Annotated[int | None, typer.Option(help="Beam search of this width.")]
LENGTH = Annotated[int | None, typer.Option(help="Words at most; the run's max_tokens by default.")]


def sample(
    run: RUN,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.", min=1)] = 10,
    temperature: Annotated[float, typer.Option(help="Below 1 safer words, above 1 bolder ones.")] = 1.0,
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
) -> None:
    """Write sentences from codes drawn from the prior; repeated ones are counted on stderr."""
    vae = load_vae(run, device, rate, prior, condition)
    require_text(vae, "`seqvae plot RUN samples` draws pictures")
    how = _how(vae, greedy=greedy, beam=beam, max_length=max_length)
    how = _with_defaults(how, temperature=temperature, top_k=top_k, top_p=top_p)
    texts = vae.sample(n, how, seed)
    emit_json([{"text": t} for t in texts]) if json else emit_lines(texts)
    copies = n - len(Counter(texts))
    if copies:
        print(f"{copies} of {n} sentences repeat another one", file=sys.stderr)


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
) -> None:
    """Send sentences through their codes and back; `=` marks those that came back whole."""
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`seqvae plot RUN reconstructions` draws pictures")
    pairs = vae.reconstruct(
        read_sentences(vae, texts, input_), _how(vae, greedy=not beam, beam=beam), draw, seed
    )
    if json:
        emit_json([vars(p) for p in pairs])
    else:
        emit_lines(f"{p.text}\n{'=' if p.exact else '>'} {p.reconstruction}" for p in pairs)


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
) -> None:
    """Walk from one sentence's code to another's; the ends are their reconstructions."""
    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`seqvae plot RUN interpolation` draws pictures")
    points = vae.interpolate(a, b, steps, path, _how(vae, greedy=not beam, beam=beam))
    if json:
        emit_json({"a": a, "b": b, "path": path, "points": [vars(p) for p in points]})
    else:
        emit_lines([f"a     {a}", *(f"{p.t:.2f}  {p.text}" for p in points), f"b     {b}"])


def encode(
    run: RUN,
    input_: Annotated[str, typer.Option("--input", help="Sentences (- is standard input), or pictures.")],
    output: Annotated[Path, typer.Option(help="z.npy, or z.parquet with the texts.")],
    draw: Annotated[bool, typer.Option("--draw", help="Posterior samples, not means.")] = False,
    seed: SEED = 0,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
) -> None:
    """Write the codes of sentences, or of pictures, to a file."""
    from seqvae.build import modality_of
    from seqvae.distributed.collectives import distributed_session, is_main
    from seqvae.inference.latent_files import check_output, write_codes
    from seqvae.utils.device import pick_device

    with distributed_session(pick_device(device)):
        check_output(output)
        vae = load_vae(run, device, rate, condition=condition)
        given = read_example_file(vae, input_)
        z = vae.encode(given.x, draw, seed, condition=given.condition)
        if is_main():
            write_codes(output, z, None if modality_of(vae.run.config).is_image else given.names)
            typer.echo(f"{output}: {z.shape[0]} codes of {z.shape[1]} dims")


def decode(
    run: RUN,
    input_: Annotated[Path, typer.Option("--input", help="z.npy or z.parquet, as `encode` writes them.")],
    beam: BEAM = None,
    max_length: LENGTH = None,
    rate: RATE = None,
    condition: CONDITION = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Write the sentence of each code in a file."""
    from seqvae.inference.latent_files import read_codes

    vae = load_vae(run, device, rate, condition=condition)
    require_text(vae, "`ImageVAE.decode` gives pictures as tensors")
    texts = vae.decode(read_codes(input_), _how(vae, greedy=not beam, beam=beam, max_length=max_length))
    emit_json([{"text": t} for t in texts]) if json else emit_lines(texts)


def _how(vae: Any, greedy: bool, beam: int | None, max_length: int | None = None) -> GenerationConfig:
    from seqvae.models.text.decoding import GenerationConfig

    length = vae.config.data.max_tokens if max_length is None else max_length
    return GenerationConfig(greedy=greedy, beam=beam, max_length=length)


def _with_defaults(how: GenerationConfig, **values: Any) -> GenerationConfig:
    from dataclasses import replace

    return replace(how, **values)


COMMANDS = (sample, reconstruct, interpolate, encode, decode)
