"""Notes, once per run, on input texts: truncated, left out, or with unknown tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seqvae.data.text.token_store import Counts
from seqvae.utils.notices import say_once

MORE = "--max-tokens N (with_max_tokens) reads more"


def say_cut(run: Path, what: str, most: int) -> None:
    """Note that texts are truncated to `most` tokens."""
    line = f"{what} have more than {most} tokens and are cut there, as in training: {MORE}"
    say_once(run, f"cut at {most}", line)


def say_lengths(run: Path, where: str, counts: Counts, most: int) -> None:
    """Note how many sentences of a split or file the maximum length truncated or dropped."""
    if counts.truncated:
        say_cut(run, f"{counts.truncated:,} of the {counts.kept:,} sentences of {where}", most)
    if counts.dropped:
        line = f"{counts.dropped:,} sentences of {where} have more than {most} tokens and are left out"
        say_once(run, f"left out at {most}", f"{line}, as in training: {MORE}")


def say_unknown(run: Path, rows: Sequence[Sequence[bool]], written: str) -> None:
    """Note how many tokens are out of vocabulary (`rows` marks them) and read as `written`."""
    unknown, sentences = sum(map(sum, rows)), sum(map(any, rows))
    if unknown:
        say_once(
            run,
            "unknown",
            f"{unknown:,} of {sum(map(len, rows)):,} tokens are outside the vocabulary, in {sentences:,} of "
            f"{len(rows):,} sentences: the model reads {written} there, whatever the word",
        )


def say_prior(run: Path, name: str) -> None:
    """Which prior samples come from, by default."""
    say_once(
        run,
        "prior",
        f"codes are drawn from the fitted prior {name!r}; --prior trained (with_prior) draws from the "
        "trained one",
    )
