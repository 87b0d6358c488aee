"""`seqvae sample`, `reconstruct`, `interpolate`, `encode` and `decode`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seqvae.cli.output import emit_json, emit_lines
from seqvae.cli.training import CONDITION, DEVICE, JSON, PRIOR, RATE, RUN
from seqvae.registry import UserError

if TYPE_CHECKING:
    from seqvae.examples import Examples
    from seqvae.text.decoding import Decoding

SEED = Annotated[int, typer.Option(help="The same seed draws the same sentences.")]
GREEDY = Annotated[bool, typer.Option("--greedy", help="The likeliest word at each place.")]
BEAM = Annotated[int | None, typer.Option(help="Beam search of this width.")]
LENGTH = Annotated[int | None, typer.Option(help="Words at most; the run's max_tokens by default.")]
TEXTS = Annotated[list[str] | None, typer.Argument(help="Sentences.", show_default=False)]
INPUT = Annotated[str | None, typer.Option("--input", help="A file of sentences; - is standard input.")]


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
    vae = loaded(run, device, rate, prior, condition)
    of_text(vae, "`seqvae plot RUN samples` draws pictures")
    how = _how(vae, greedy=greedy, beam=beam, max_length=max_length)
    how = _changed(how, temperature=temperature, top_k=top_k, top_p=top_p)
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
    vae = loaded(run, device, rate, condition=condition)
    of_text(vae, "`seqvae plot RUN reconstructions` draws pictures")
    pairs = vae.reconstruct(sentences(vae, texts, input_), _how(vae, greedy=not beam, beam=beam), draw, seed)
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
    vae = loaded(run, device, rate, condition=condition)
    of_text(vae, "`seqvae plot RUN interpolation` draws pictures")
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
    from seqvae.codes import check_output, write_codes
    from seqvae.device import pick_device
    from seqvae.distributed import is_main, one_voice

    with one_voice(pick_device(device)):
        check_output(output)
        vae = loaded(run, device, rate, condition=condition)
        given, texts = _examples(vae, input_)
        z = vae.encode(given.x, draw, seed, condition=given.condition)
        if is_main():
            write_codes(output, z, texts)
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
    from seqvae.codes import read_codes

    vae = loaded(run, device, rate, condition=condition)
    of_text(vae, "`ImageVAE.decode` gives pictures as tensors")
    texts = vae.decode(read_codes(input_), _how(vae, greedy=not beam, beam=beam, max_length=max_length))
    emit_json([{"text": t} for t in texts]) if json else emit_lines(texts)


def loaded(
    run: str,
    device: str,
    rate: float | None = None,
    prior: str | None = None,
    condition: list[str] | None = None,
) -> Any:
    """The run for use, at the rate and told the labels that were asked for."""
    from seqvae.api import load

    vae = load(run, device, prior)
    vae = vae if rate is None else vae.with_rate(rate)
    return vae.with_condition(labels(condition)) if condition else vae


def of_text(vae: Any, instead: str) -> None:
    """Refuse a run that writes no sentences.

    Raises:
        UserError: such a run.
    """
    if vae.modality != "text":
        raise UserError(f"{vae.run.path} is a model of {vae.modality}s, which has no sentences: {instead}")


def labels(condition: list[str]) -> dict[str, str]:
    """Labels as people write them, LABEL=VALUE, by name.

    Raises:
        UserError: something else, or a label that is there twice.
    """
    found: dict[str, str] = {}
    for word in condition:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UserError(f"--condition got {word!r}: write LABEL=VALUE, for example tense=past")
        if name in found:
            raise UserError(f"--condition got {name!r} twice: keep one")
        found[name] = value
    return found


def _how(vae: Any, greedy: bool, beam: int | None, max_length: int | None = None) -> Decoding:
    from seqvae.text.decoding import Decoding

    length = vae.config.data.max_tokens if max_length is None else max_length
    return Decoding(greedy=greedy, beam=beam, max_length=length)


def _changed(how: Decoding, **values: Any) -> Decoding:
    from dataclasses import replace

    return replace(how, **values)


def sentences(vae: Any, texts: list[str] | None, source: str | None) -> list[str]:
    """Sentences from the command line, or from a file as the run's own data were read."""
    if bool(texts) == (source is not None):
        raise UserError("give sentences as arguments or --input FILE, one of the two")
    if texts:
        return texts
    assert source is not None
    found = list(_read(source, vae.config.data.text_column))
    if not found:
        raise UserError(f"--input {source} holds no sentence: give at least one a line")
    return found


def _examples(vae: Any, source: str) -> tuple[Examples, list[str] | None]:
    """What a file holds, for a model to read and for people: pictures have no words."""
    from seqvae.examples import Examples, examples_of

    if vae.modality == "text":
        texts = sentences(vae, None, source)
        return Examples(texts), texts
    return examples_of(vae, source), None


def _read(source: str, column: str) -> Iterator[str]:
    if source == "-":
        return (line.strip() for line in sys.stdin if line.strip())
    from seqvae.text.corpus import read_corpus

    return (example.text for example in read_corpus(source, text_column=column) if example.text)


COMMANDS = (sample, reconstruct, interpolate, encode, decode)
