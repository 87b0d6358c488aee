"""Shipped files: configs are found in every installation, pins hold, scripts start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from seqvae.config.loading import load_config
from seqvae.config.shipped import read_first_comment, shipped_configs
from seqvae.experiments.compare import load_comparison

PACKED = {".py", ".typed", ".html", ".css", ".js", ".svg"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """pyproject.toml, read."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel; built from a copy, because setuptools writes beside its sources."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    for name in ("seqvae", "configs"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools.build_meta import build_wheel; build_wheel('built')"
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True, capture_output=True)
    (built,) = (copy / "built").glob("*.whl")
    unpacked = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(built).extractall(unpacked)
    return unpacked


def test_checkout_finds_its_configs(root: Path) -> None:
    configs = shipped_configs()
    assert configs["text/quickstart"] == root / "configs" / "text" / "quickstart.yaml"
    assert len(configs) == len(list((root / "configs").rglob("*.yaml")))


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_config_reads_and_says_what_it_is(name: str) -> None:
    path = shipped_configs()[name]
    load_comparison(path) if name.startswith("compare/") else load_config(path)
    assert len(read_first_comment(path)) > 20


def test_first_comment_of_a_bare_config(tmp_path: Path) -> None:
    bare = tmp_path / "bare.yaml"
    bare.write_text("train: {steps: 1}\n", encoding="utf-8")
    assert read_first_comment(bare) == ""


def test_wheel_holds_every_file(root: Path, wheel: Path) -> None:
    sources = [path for path in (root / "seqvae").rglob("*") if path.suffix in PACKED]
    expected = {path.relative_to(root) for path in sources}
    expected |= {"seqvae" / path.relative_to(root) for path in (root / "configs").rglob("*.yaml")}
    packed = {path.relative_to(wheel) for path in wheel.rglob("*") if path.is_file()}
    assert {path for path in packed if path.parts[0] == "seqvae"} == expected
    assert [path for path in packed if path.name == "LICENSE"]


def test_wheel_finds_its_configs(wheel: Path) -> None:
    code = "from seqvae.config.shipped import shipped_configs as s; print(s()['text/quickstart'])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=wheel.parent,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(run.stdout.strip()) == wheel / "seqvae" / "configs" / "text" / "quickstart.yaml"


def test_every_dependency_is_pinned_to_a_tested_version(root: Path, project: dict[str, Any]) -> None:
    lines = (root / "scripts" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    tested = {canonicalize_name(name): version for name, version in pins.items()}
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    for requirement in map(Requirement, wanted):
        assert tested[canonicalize_name(requirement.name)] in requirement.specifier, str(requirement)


@pytest.mark.parametrize(
    "script",
    [
        "scripts/environment.sh",
        "scripts/quickstart.sh",
        "scripts/pretrained.sh",
        "scripts/test.sh",
        ".ci/run",
    ],
)
def test_script_is_executable_bash(root: Path, script: str) -> None:
    path = root / script
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_environment_refuses_an_unknown_wish(root: Path) -> None:
    command = ["bash", str(root / "scripts" / "environment.sh"), "everything"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "got 'everything'" in run.stderr
    assert run.stdout == ""


def test_continuous_integration_runs_the_test_command(root: Path) -> None:
    commands = re.findall(r"^bash .*$", (root / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands == ["bash scripts/test.sh"]
