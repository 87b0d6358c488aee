"""Embeds sentences with a pretrained encoder, and measures how well a run recovers them from the vectors.

python scripts/recover_embeddings.py embed MODEL texts.txt texts.npy --detokenize
seqvae train --corpus texts.txt --vectors texts.npy --set data.detokenize=true --out runs/inverted
python scripts/recover_embeddings.py recover runs/inverted MODEL test.txt --rounds 5
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from seqvae.cli.printing import emit_lines
from seqvae.data.text.detokenize import detokenize as detokenized
from seqvae.data.text.readers import Example
from seqvae.evaluation.metrics.text_scores import corpus_bleu
from seqvae.inference import load
from seqvae.models.pretrained.base import find_base
from seqvae.models.pretrained.embedder import Embedder, FrozenFeatures
from seqvae.models.pretrained.recover import recover as recovered
from seqvae.utils.tables import markdown_table

MODEL = Annotated[str, typer.Argument(help="The encoder: a Hub id, a folder or a .zip file of one.")]
TEXTS = Annotated[Path, typer.Argument(help="Sentences, one per line.")]
app = typer.Typer(pretty_exceptions_enable=False)


def lines_of(file: Path, detokenize: bool) -> list[str]:
    """The sentences of a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [detokenized(line) for line in lines] if detokenize else lines


@app.command()
def embed(
    model: MODEL,
    texts: TEXTS,
    out: Annotated[Path, typer.Argument(help="A .npy file to write.")],
    detokenize: Annotated[bool, typer.Option(help="As data.detokenize.")] = False,
) -> None:
    """Write the vectors of all lines, one row per line, as data.vectors reads them."""
    reader = FrozenFeatures(Embedder(find_base(model), "auto"))
    np.save(out, reader.read([Example(line) for line in lines_of(texts, detokenize)]).values)


@app.command()
def recover(
    run: Annotated[str, typer.Argument(help="A run of encoder vectors.")],
    model: MODEL,
    texts: TEXTS,
    rounds: Annotated[int, typer.Option(help="Corrections after the first text.")] = 5,
    step: Annotated[float, typer.Option(help="Fraction of the difference that each round adds.")] = 0.5,
    show: Annotated[int, typer.Option(help="Sentences to show.")] = 5,
) -> None:
    """Print BLEU, exact match and cosine after each round, as a Markdown table."""
    vae = load(run)
    wanted = lines_of(texts, vae.run.config.data.detokenize)
    embedder = Embedder(find_base(model), "auto")
    vectors, began = embedder.embed(wanted), time.perf_counter()
    found = recovered(vae, vectors, embedder.embed, rounds=rounds, step=step)
    seconds = time.perf_counter() - began
    rows = []
    for number, (back, cosines) in enumerate(zip(found.history, found.cosines, strict=True)):
        exact = np.array([a == b for a, b in zip(back, wanted, strict=True)], float)
        spread = exact.std() / len(exact) ** 0.5
        error = cosines.std() / len(cosines) ** 0.5
        bleu = corpus_bleu(back, wanted)
        matched = f"{100 * exact.mean():.1f} ± {100 * spread:.1f}"
        score = "-" if bleu is None else f"{bleu:.2f}"
        rows.append([str(number), score, matched, f"{cosines.mean():.3f} ± {error:.3f}"])
    emit_lines(markdown_table(("rounds", "BLEU", "exact match, %", "cosine"), rows))
    emit_lines(["", f"{len(wanted):,} sentences, {seconds:.0f} s for all rounds", ""])
    for text, first, last in list(zip(wanted, found.history[0], found.texts, strict=True))[:show]:
        emit_lines([f"    {text}", f"    {first}", f"    {last}", ""])


if __name__ == "__main__":
    app()
