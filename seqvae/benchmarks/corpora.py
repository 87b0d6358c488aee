"""Made-up corpora on disk, with a temporary cache of their prepared data."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from seqvae.data.synthetic.sentences import iter_sentences

Corpus = Callable[[int], AbstractContextManager[Path]]


@contextmanager
def corpora() -> Iterator[Corpus]:
    """Yield a function of a number of sentences that is a context with their file and a temporary cache.

    Files and cache live as long as this context, so that data are prepared once.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield lambda sentences: _corpus(Path(folder), sentences)


@contextmanager
def _corpus(folder: Path, sentences: int) -> Iterator[Path]:
    file, before = folder / f"{sentences}.txt", os.environ.get("SEQVAE_CACHE")
    if not file.exists():
        write_sentences(file, sentences)
    os.environ["SEQVAE_CACHE"] = str(folder / "cache")
    try:
        yield file
    finally:
        del os.environ["SEQVAE_CACHE"]
        os.environ.update({} if before is None else {"SEQVAE_CACHE": before})


def write_sentences(file: Path, sentences: int) -> None:
    """Write different sentences, one per line."""
    with file.open("w", encoding="utf-8") as lines:
        lines.writelines(f"{text}\n" for text, _ in iter_sentences(sentences, seed=0))
