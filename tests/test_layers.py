"""Layout: imports go down, importing is light, files have docstrings, no path of some machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "datasets",
    "sklearn",
    "matplotlib",
    "transformers",
    "peft",
    "sentence_transformers",
    "fastapi",
    "uvicorn",
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|tmp|root|farm|opt)/")


@pytest.fixture(scope="module")
def package(root: Path) -> dict[str, str]:
    """Every Python file of the package: path -> source."""
    paths = sorted((root / "seqvae").rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def test_imports_go_down(root: Path) -> None:
    """By the layers in pyproject.toml; the message names broken contracts."""
    script = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([script, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_few_files_lie_at_the_root(root: Path) -> None:
    assert len(list((root / "seqvae").glob("*.py"))) <= 8


def test_every_file_opens_with_one_sentence(package: dict[str, str]) -> None:
    def opening(source: str) -> str:
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    assert [path for path, source in package.items() if not opening(source).endswith((".", ":", "?"))] == []


def _loaded(code: str, heavy: tuple[str, ...] = tuple(HEAVY)) -> set[str]:
    """The heavy packages that a fresh interpreter holds after `code`."""
    printed = f"{code}\nimport sys\nprint('loaded', *[name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", printed], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split()[1:])


def test_importing_the_package_is_light() -> None:
    assert _loaded("import seqvae, seqvae.config, seqvae.config.shipped") == set()


def test_help_is_light() -> None:
    import seqvae.cli

    if not hasattr(seqvae.cli, "main"):
        pytest.skip("seqvae.cli has no main yet")
    heavy = (*HEAVY, "pydantic", "yaml")  # reading a config takes them, the help does not
    assert _loaded("import seqvae.cli", heavy) == set()
    asked = "import sys\nsys.argv = ['seqvae', '--help']\nfrom seqvae.cli import main"
    assert _loaded(f"{asked}\ntry:\n    main()\nexcept SystemExit:\n    pass", heavy) == set()


def test_no_path_of_some_machine(root: Path) -> None:
    files = [root / "README.md", root / "pyproject.toml"]
    for folder in ("configs", "docs", "scripts", "seqvae"):
        files += [p for p in (root / folder).rglob("*") if p.suffix in {".py", ".md", ".sh", ".txt", ".yaml"}]
    assert [
        f"{file.relative_to(root)}: {line.strip()}"
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        if MACHINE_PATH.search(line)
    ] == []
