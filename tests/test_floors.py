"""The floors of the house: an import goes down, never up and never across to another wing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

FLOORS = (  # low to high; a name is a file of seqvae/ or a folder
    {
        "accelerator",
        "batch",
        "conditions",
        "config",
        "content",
        "data_paths",
        "distributed",
        "feeding",
        "hub_data",
        "input_files",
        "registry",
        "sharding",
        "shares",
        "interfaces",
        "keyed",
        "labelled",
        "labels",
        "normals",
        "notices",
        "numerics",
        "overrides",
        "shipped",
        "tables",
        "flows",
        "sources",
        "yaml_files",
    },
    {"priors", "text", "image", "synthetic"},
    {"latents", "remedies"},
    {"model"},
    {"objective", "metrics", "generate", "traverse"},
    {"wings"},
    {"build", "evaluate", "fitting", "gains"},
    {"disk", "rates", "scoring"},
    {"codes", "weights"},
    {"checkpoint", "claims", "device", "memory", "optim", "progress", "signals"},
    {"run_data"},
    {"board", "runlog", "selection", "updates", "plots", "fitted"},
    {"capture"},
    {"api", "trainer", "workers"},
    {"train"},
    {"quality", "default_rate", "examples", "probing"},
    {"needs", "rungs"},
    {"subject"},
    {"rate_figures"},
    {"bench", "compare", "selftest", "figures", "moving"},
    {"lessons"},
    {"cli"},
)
ACROSS = {  # the embedded corpora and pictures
    ("seqvae/text/data.py", "synthetic"),
    ("seqvae/image/data.py", "synthetic"),
}
MAY_READ_TEXT = {
    "text",
    "wings",
    "build",
    "api",
    "quality",
    "bench",
    "needs",
    "cli",
    "examples",
}  # others are neutral
HEAVY = ("torch", "datasets", "sklearn", "matplotlib", "transformers")
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|tmp|root|farm|opt)/")


@dataclass(frozen=True)
class Arrow:
    """One import of ours: `source` reads `target`; `late` inside a function."""

    source: str
    target: str
    late: bool

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


def part(path: str) -> str:
    """seqvae/text/data.py -> text, seqvae/model.py -> model, seqvae/__init__.py -> __init__."""
    return path.split("/")[1].removesuffix(".py")


def arrows(files: Mapping[str, str]) -> list[Arrow]:
    """Every import of seqvae within `files` (path -> source), those for type checkers left out."""
    found = []
    for path, source in files.items():
        package = path.removesuffix(".py").split("/")[:-1]
        for node, late in _imports(ast.parse(source), late=False):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                home = package[: len(package) + 1 - node.level] if node.level else []
                base = ".".join(home + ([node.module] if node.module else []))
                names = [f"{base}.{alias.name}" for alias in node.names]
            ours = (name for name in names if name.split(".")[0] == "seqvae")
            found += [Arrow(path, _file_of(name, files), late) for name in ours]
    return list(dict.fromkeys(found))


def _imports(node: ast.AST, late: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []), late)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, late or inside)


def _file_of(name: str, files: Mapping[str, str]) -> str:
    """The file a dotted name lives in; a file that is not there is named as it would be."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[:length])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in files and (length > 1 or len(parts) <= 2):
                return path
    return f"{'/'.join(parts[:2])}.py"


def broken(files: Mapping[str, str]) -> list[str]:
    """The arrows that go up or across, the files without a floor, and the circles."""
    height = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    height |= {"__init__": -1, "__main__": len(FLOORS)}
    bad = [f"{path} has no floor: name it in FLOORS" for path in files if part(path) not in height]
    found = arrows(files)
    for arrow in found:
        here, there = part(arrow.source), part(arrow.target)
        if here not in height or there not in height:
            continue
        free = here == there or height[here] == height[there] == 0 or (arrow.source, there) in ACROSS
        if height[there] >= height[here] and not free:
            bad.append(f"{arrow}: goes up or across")
        elif there == "text" and here not in MAY_READ_TEXT:
            bad.append(f"{arrow}: only {', '.join(sorted(MAY_READ_TEXT))} may read seqvae.text")
    return bad + [f"{circle}: a circle" for circle in _circles([a for a in found if not a.late])]


def _circles(found: list[Arrow]) -> list[str]:
    """Take away what imports nothing that is left, again and again: what stays lies on or above a circle."""
    reads: dict[str, set[str]] = {}
    for arrow in found:
        reads.setdefault(arrow.source, set()).add(arrow.target)
    while leaves := {path for path, targets in reads.items() if not targets & reads.keys()}:
        reads = {path: targets for path, targets in reads.items() if path not in leaves}
    return [f"{path} -> {target}" for path, targets in reads.items() for target in targets & reads.keys()]


@pytest.fixture(scope="module")
def package(root: Path) -> dict[str, str]:
    """Every Python file of the package: path -> source."""
    paths = sorted((root / "seqvae").rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_imports_go_down(package: dict[str, str]) -> None:
    assert broken(package) == []


LEGAL = {
    "seqvae/__init__.py": "",
    "seqvae/batch.py": "import torch\nfrom seqvae.numerics import Randomness",
    "seqvae/numerics.py": "if TYPE_CHECKING:\n    from seqvae.batch import Loss\nelse:\n    Loss = None",
    "seqvae/text/__init__.py": "from seqvae.text.data import Corpus",
    "seqvae/text/data.py": "import seqvae.synthetic\nfrom seqvae import batch",
    "seqvae/synthetic/__init__.py": "from . import sentences",
    "seqvae/synthetic/sentences.py": "from ..batch import TextBatch",
    "seqvae/latents/gaussian.py": "from seqvae.batch import TextBatch",
    "seqvae/objective.py": "",
    "seqvae/train.py": "from seqvae.objective import Objective",
    "seqvae/cli/__init__.py": "def main():\n    from seqvae.train import train",
}
# one planted import each, and what the checker must say of it
PLANTED = {
    "up": ("seqvae/objective.py", "from seqvae.train import train", "seqvae/objective.py -> seqvae/train.py"),
    "up, inside a function": (
        "seqvae/objective.py",
        "def f():\n    from seqvae import train",
        "seqvae/objective.py -> seqvae/train.py",
    ),
    "up, relative": ("seqvae/batch.py", "from .train import x", "seqvae/batch.py -> seqvae/train.py"),
    "up, else branch": (
        "seqvae/batch.py",
        "if typing.TYPE_CHECKING:\n    pass\nelse:\n    import seqvae.cli",
        "seqvae/batch.py -> seqvae/cli/__init__.py",
    ),
    "up, to a file not there": (
        "seqvae/objective.py",
        "from seqvae.api import TextVAE",
        "seqvae/objective.py -> seqvae/api.py",
    ),
    "across": (
        "seqvae/priors/flow.py",
        "import seqvae.synthetic.sentences",
        "seqvae/priors/flow.py -> seqvae/synthetic/sentences.py",
    ),
    "across, back": (
        "seqvae/synthetic/sentences.py",
        "from seqvae.text import data",
        "seqvae/synthetic/sentences.py -> seqvae/text/data.py",
    ),
    "same floor": ("seqvae/api.py", "import seqvae.train", "seqvae/api.py -> seqvae/train.py"),
    "text above": (
        "seqvae/objective.py",
        "from seqvae.text.data import Corpus",
        "seqvae/objective.py -> seqvae/text/data.py",
    ),
    "circle": (
        "seqvae/numerics.py",
        "from seqvae.batch import TextBatch",
        "seqvae/numerics.py -> seqvae/batch.py: a circle",
    ),
    "eager front door": (
        "seqvae/__init__.py",
        "from seqvae.batch import TextBatch",
        "seqvae/__init__.py -> seqvae/batch.py",
    ),
    "no floor": ("seqvae/misc.py", "", "seqvae/misc.py has no floor"),
}


def test_checker_accepts_what_is_allowed() -> None:
    assert broken(LEGAL) == []


@pytest.mark.parametrize("case", PLANTED)
def test_checker_catches_a_planted_arrow(case: str) -> None:
    path, source, complaint = PLANTED[case]
    assert any(line.startswith(complaint) for line in broken(LEGAL | {path: source}))


def test_every_file_opens_with_one_sentence(package: dict[str, str]) -> None:
    def opening(source: str) -> str:
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    assert [path for path, source in package.items() if not opening(source).endswith((".", ":", "?"))] == []


def _loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter holds after `code`."""
    told = f"{code}\nimport sys\nprint('loaded', *[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split()[1:])


def test_front_door_is_light() -> None:
    assert _loaded("import seqvae, seqvae.config, seqvae.shipped") == set()


def test_help_is_light() -> None:
    import seqvae.cli

    if not hasattr(seqvae.cli, "main"):
        pytest.skip("seqvae.cli has no main yet")
    assert _loaded("import seqvae.cli") == set()
    asked = "import sys\nsys.argv = ['seqvae', '--help']\nfrom seqvae.cli import main"
    assert _loaded(f"{asked}\ntry:\n    main()\nexcept SystemExit:\n    pass") == set()


def test_no_path_of_some_machine(root: Path) -> None:
    files = [root / "README.md", root / "pyproject.toml"]
    for folder in ("configs", "scripts", "seqvae"):
        files += [p for p in (root / folder).rglob("*") if p.suffix in {".py", ".md", ".sh", ".txt", ".yaml"}]
    assert [
        f"{file.relative_to(root)}: {line.strip()}"
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        if MACHINE_PATH.search(line)
    ] == []
