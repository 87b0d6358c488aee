"""Token sequences to try the toolkit on, a line each: `python scripts/make_sequences.py chords > chords.txt`.

chords and logs are made up; smiles and peptides are read from packages that ship them:
`pip install chemicals` (identifiers of 71,000 compounds of PubChem), `pip install modlamp` (6,000 peptides).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files

LONGEST = 60  # characters of a molecule or a peptide
_NEXT = {  # functional harmony: degrees of a major key, and where each of them goes
    "I": ["ii", "IV", "V", "vi", "iii"],
    "ii": ["V", "V", "viio"],
    "iii": ["vi", "IV"],
    "IV": ["V", "ii", "I"],
    "V": ["I", "I", "vi"],
    "vi": ["ii", "IV"],
    "viio": ["I"],
}
_KEY = {
    "I": (0, ""),
    "ii": (2, "m"),
    "iii": (4, "m"),
    "IV": (5, ""),
    "V": (7, ""),
    "vi": (9, "m"),
    "viio": (11, "dim"),
}
_NOTES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_SERVICES = ("api", "auth", "billing", "search", "worker")
_EVENTS = {
    "INFO": ("request {n} served in {t} ms", "user {n} logged in from {ip}", "job {n} finished in {t} ms"),
    "WARN": ("slow query took {t} ms", "retry {r} of 3 for job {n}", "cache miss rate {r}{r} %"),
    "ERROR": (
        "connection to {ip} refused",
        "request {n} failed with status 50{r}",
        "job {n} timed out after {t} ms",
    ),
}


def chords(count: int) -> Iterator[str]:
    """Chord progressions in random major keys that end on the tonic, as `C Am Dm7 G7 C`."""
    chance = random.Random(0)
    for _ in range(count):
        key, degree, line = chance.randrange(12), "I", ["I"]
        while len(line) < 4 or degree != "I":
            degree = chance.choice(_NEXT[degree])
            line.append(degree)
        yield " ".join(_chord(key, degree, chance) for degree in line)


def _chord(key: int, degree: str, chance: random.Random) -> str:
    step, quality = _KEY[degree]
    seventh = "7" if degree in ("V", "ii") and chance.random() < 0.5 else ""
    return _NOTES[(key + step) % 12] + quality + seventh


def logs(count: int) -> Iterator[str]:
    """Lines of a server's log, as `2026-03-14 09:26:53 INFO api: user 4711 logged in from 10.0.3.7`."""
    chance = random.Random(0)
    for _ in range(count):
        level = chance.choices(list(_EVENTS), (8, 2, 1))[0]
        n, t, r = chance.randrange(10_000), chance.randrange(2000), chance.randrange(1, 4)
        ip = f"10.0.{chance.randrange(8)}.{chance.randrange(256)}"
        event = chance.choice(_EVENTS[level]).format(n=n, t=t, r=r, ip=ip)
        day = f"2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        time = f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}"
        yield f"{day} {time} {level} {chance.choice(_SERVICES)}: {event}"


def smiles(count: int) -> Iterator[str]:
    """Molecules of the package `chemicals`, of 4 to 60 characters."""
    table = files("chemicals") / "Identifiers" / "chemical identifiers pubchem large.tsv"
    found = {line.split("\t")[4] for line in table.read_text(encoding="utf-8").splitlines()}
    yield from _shuffled(found, count)


def peptides(count: int) -> Iterator[str]:
    """Peptides of the package `modlamp`, antimicrobial and other ones, of 4 to 60 residues."""
    tables = [file for file in (files("modlamp") / "data").iterdir() if file.name.endswith(".csv")]
    lines = (line for file in tables for line in file.read_text(encoding="utf-8").splitlines()[1:])
    yield from _shuffled({line.split(",")[0].strip() for line in lines}, count)


def _shuffled(found: set[str], count: int) -> list[str]:
    lines = sorted(line for line in found if 4 <= len(line) <= LONGEST)
    random.Random(0).shuffle(lines)
    return lines[:count]


KINDS: dict[str, Callable[[int], Iterator[str]]] = {
    "smiles": smiles, "peptides": peptides, "chords": chords, "logs": logs
}  # fmt: skip


def main() -> None:
    """Print sequences of a kind, 20,000 or as many as are asked for."""
    if len(sys.argv) < 2 or sys.argv[1] not in KINDS:
        sys.exit(f"python scripts/make_sequences.py {{{','.join(KINDS)}}} [COUNT]")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    try:
        for line in KINDS[sys.argv[1]](count):
            print(line)
    except ModuleNotFoundError as error:
        sys.exit(f"`pip install {error.name}`: these sequences are in that package")


if __name__ == "__main__":
    main()
