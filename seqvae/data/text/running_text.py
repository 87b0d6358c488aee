"""Texts of files whose lines are not texts: wrapped prose, blocks of lines, FASTA records, named SMILES."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, pairwise

from seqvae.errors import UserError

Note = Callable[[str], object]
_SAMPLE = 2000  # lines that hints are made from
_WIDTHS = range(40, 141)  # characters of a page's line
_CLOSERS = "[\"'\u2019\u201d\u00bb)\\]]*"
_OPENERS = "[\"'\u2018\u201c\u00ab\u201e(\\[\u00bf\u00a1]*"
_WIDE = "\u3002\uff01\uff1f"  # the full stops of Chinese and Japanese
_END = re.compile(rf"[.!?\u2026]+{_CLOSERS}\s+(?={_OPENERS}\w)|[{_WIDE}]+[\u2019\u201d\u300d\u300f\uff09]*")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Prof|Rev|Gen|Col|Capt|Lt|vs|cf|No|e\.g|i\.e|[A-Z])\.\s+$")
_MARKUP = re.compile(r"\s*<(?:!doctype html|html|\?xml)", re.IGNORECASE)
_CLOSED = re.compile(rf"[.!?\u2026:;,{_WIDE}]{_CLOSERS}$")


def read_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Each block of lines between blank ones as one text, its lines joined by spaces."""
    block: list[str] = []
    for line in chain(lines, [""]):
        if line.strip():
            block.append(line.strip())
        elif block:
            yield " ".join(block)
            block = []


def read_sentences(lines: Iterable[str]) -> Iterator[str]:
    """The sentences of each paragraph.

    A sentence ends at `.`, `!`, `?` or an ellipsis before white space and no lower-case letter, except after
    a title (`Mr.`) or an initial; and at the full stops of Chinese and Japanese.
    """
    for paragraph in read_paragraphs(lines):
        start = 0
        for end in _END.finditer(paragraph):
            found = paragraph[start : end.end()]
            following = re.sub(r"^\W+", "", paragraph[end.end() :][:8])
            if following[:1].islower() or _ABBREVIATION.search(found):
                continue
            yield found.strip()
            start = end.end()
        if rest := paragraph[start:].strip():
            yield rest


def read_fasta(lines: Iterable[str], where: str) -> Iterator[str]:
    """The sequence of each record, its lines joined, without the header (`>`) and comments (`;`).

    Raises:
        UserError: a sequence before the first header.
    """
    record: list[str] | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(">"):
            if record is not None:
                yield "".join(record)
            record = []
        elif text and not text.startswith(";"):
            if record is None:
                raise UserError(
                    f"{where}, line {number} is no FASTA header (>): --format lines reads each line as a text"
                )
            record.append(text)
    if record is not None:
        yield "".join(record)


def read_smiles(lines: Iterable[str], where: str, note: Note) -> Iterator[str]:
    """The first column of each line, which a name may follow; a header `smiles` is left out."""
    said = False
    for number, line in enumerate(lines):
        text, *name = line.split(maxsplit=1)[:2] or [""]
        if number == 0 and text.lower() in ("smiles", "canonical_smiles"):
            continue
        if name and not said:
            note(f"{where}: the first column is read, without the names: --format lines reads whole lines")
            said = True
        yield text


def with_hints(lines: Iterable[str], where: str, note: Note) -> Iterator[str]:
    """The lines unchanged; `note` is called where the first ones look as if a line were not a text."""
    rest = iter(lines)
    sample = list(islice(rest, _SAMPLE))
    if hint := _hint(sample):
        note(f"{where}: {hint}")
    return chain(sample, rest)


def _hint(lines: list[str]) -> str | None:
    if lines and _MARKUP.match(lines[0]):
        return "HTML or XML, whose tags are read as text: save it as plain text"
    if _is_wrapped(lines):
        return (
            "most lines end where the page is full, and each is read as a text: --format sentences (or "
            "paragraphs) joins them"
        )
    blank, blocks = sum(not line.strip() for line in lines), list(read_blocks(lines))
    if len(blocks) >= 10 and sum(n > 1 for n in blocks) > len(blocks) / 2 and blank >= len(lines) / 20:
        return (
            "blank lines separate blocks, and each line is read as a text: --format paragraphs joins a block"
        )
    return None


def read_blocks(lines: Iterable[str]) -> Iterator[int]:
    """The number of lines of each block between blank lines."""
    n = 0
    for line in chain(lines, [""]):
        if line.strip():
            n += 1
        elif n:
            yield n
            n = 0


def _is_wrapped(lines: list[str]) -> bool:
    """Whether the next word would mostly not have fitted, and the line does not end a sentence."""
    lengths = sorted(len(line.rstrip()) for line in lines if line.strip())
    if len(lengths) < 20:
        return False
    width = lengths[int(0.99 * (len(lengths) - 1))]
    pairs = [(a.rstrip(), b.split()[0]) for a, b in pairwise(lines) if a.strip() and b.strip()]
    if width not in _WIDTHS or len(pairs) < 10:
        return False
    full = sum(len(a) + 1 + len(word) > width for a, word in pairs)
    going_on = sum(word[:1].islower() and not _CLOSED.search(a) for a, word in pairs)
    return full > 0.7 * len(pairs) and going_on > 0.3 * len(pairs)
