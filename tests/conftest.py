"""Common fixtures: one thread, a fixed seed, no network, a separate cache, and a device.

Tests run on the CPU even where there is a GPU, and those with the marker `cuda` on it. `--on cuda` trains the
tiny runs of all tests there, `--on pretended` on a device that only pretends (`pretend_cuda.py`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub

import pytest
import torch

if TYPE_CHECKING:
    from run_cli import Cli

    from seqvae.inference import TextVAE

ROOT = Path(__file__).resolve().parent.parent


STACK = ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the tiny runs are trained."""
    parser.addoption(
        "--on", choices=("cpu", "cuda", "pretended"), default="cpu", help="where tiny runs train"
    )


def pytest_configure(config: pytest.Config) -> None:
    """One thread a process, and a cache folder a process: pytest-xdist starts several."""
    torch.set_num_threads(1)
    where = config.getoption("--on")
    os.environ["SEQVAE_TEST_DEVICE"] = "cpu" if where == "cpu" else "cuda"  # as `tiny.py` reads it
    if where == "cpu" and "cuda" not in config.getoption("markexpr").replace("not cuda", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before the first look: `auto` is the CPU then
    if where == "pretended":
        from pretend_cuda import pretended_cuda

        STACK.enter_context(pretended_cuda())
    os.environ["SEQVAE_CACHE"] = tempfile.mkdtemp(prefix="seqvae-cache-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the rows that need a package of an extra which is not installed."""
    if find_spec("zuko") is None:
        for item in items:
            if "zuko_flow" in item.name.partition("[")[2]:
                item.add_marker(pytest.mark.skip(reason="zuko is not installed (extra flows)"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    STACK.close()
    shutil.rmtree(os.environ["SEQVAE_CACHE"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of text that tests share: they read it, and change copies alone."""
    from tiny import tiny_run

    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def vae(run: Path) -> TextVAE:
    """The model of the module's `run`."""
    from seqvae.inference import TextVAE

    return TextVAE.from_pretrained(run)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("sample", run)` as the shell would run it: exit code, stdout and stderr."""
    from run_cli import run_cli

    return partial(run_cli, capsys)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data beside the project; where it is absent the test is skipped."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the data folder ../shared beside the project")
    return folder
