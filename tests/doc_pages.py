"""README and docs/ as tests read them: pages, code blocks, inline code, commands."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"<!-- generated: .*?<!-- end -->", re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
SETTING = re.compile(r"[A-Z_]+=\S*")  # an environment variable before a command
RUNNABLE = (
    "README",
    "quickstart",
    "data",
    "configuration",
    "variable-rate",
    "conditioning",
    "images",
    "tools",
)


@dataclass(frozen=True)
class Page:
    """A page of Markdown; `name` is its path from the root."""

    name: str
    text: str

    def blocks(self, language: str) -> list[str]:
        """Its code blocks in one language."""
        return [body for kind, body in FENCE.findall(self.text) if kind == language]

    @property
    def prose(self) -> str:
        """The text without code blocks and generated tables."""
        return FENCE.sub("", GENERATED.sub("", self.text))

    @property
    def inline(self) -> list[str]:
        """Inline code, line breaks inside it as spaces."""
        return [" ".join(code.split()) for code in INLINE.findall(self.prose)]

    @property
    def lines(self) -> list[str]:
        """The lines of shell blocks; continued ones are one."""
        joined = (block.replace("\\\n", " ") for block in self.blocks("bash"))
        return [line for block in joined for line in block.splitlines()]

    @property
    def typed(self) -> list[list[str]]:
        """The words of each command in shell blocks and inline code, without environment and redirection."""
        typed = (line.partition(" > ")[0] for line in (*self.lines, *self.inline))
        code = (part for line in typed for part in re.split(r"\s*(?:;|\|)\s+", line))
        words = (shlex.split(line, comments=True) for line in code if _is_command(line))
        return [[word for word in each if not SETTING.fullmatch(word)] for each in words]

    @property
    def commands(self) -> list[list[str]]:
        """The words after `seqvae` of every command, wherever it stands."""
        return [words[words.index("seqvae") + 1 :] for words in self.typed if "seqvae" in words]

    @property
    def runnable(self) -> list[list[str]]:
        """The words of lines that start with `seqvae` in shell blocks."""
        typed = [line.partition(" > ")[0] for line in self.lines if line.startswith("seqvae ")]
        return [shlex.split(line, comments=True)[1:] for line in typed]


def _is_command(line: str) -> bool:
    words = line.replace("do ", "", 1).split()
    first = next((word for word in words if not SETTING.fullmatch(word)), "")
    return first in ("seqvae", "python", "bash", "pytest", "torchrun", "srun", "mkdocs")


def pages(root: Path) -> list[Page]:
    """README first, then docs/: pages whose commands build on one another in the order of `RUNNABLE`."""
    paths = [root / "README.md", *(root / "docs").rglob("*.md")]
    order = {name: place for place, name in enumerate(RUNNABLE)}
    paths.sort(key=lambda path: (path.parent != root, order.get(path.stem, len(order)), path.as_posix()))
    return [Page(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return kept.replace(" ", "-")
