"""Every command that takes a device, on the pretended one; the slow half with `-m long`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from device_verbs import OTHERS, PLOTS, TEXT, make_runs, run_verb
from pretend_cuda import pretended_cuda


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pretended_cuda():
        return make_runs(tmp_path_factory.mktemp("pretended"), "cuda")


@pytest.fixture(autouse=True)
def _pretended(folder: Path) -> Iterator[None]:
    with pretended_cuda():
        yield


@pytest.mark.parametrize("name", TEXT)
def test_a_command(name: str, folder: Path) -> None:
    # what another command makes may be made in another process: make it here too
    if "mixture" in TEXT[name] and name != "fit-prior mixture" and not any(folder.rglob("*mixture*")):
        assert not run_verb(folder, "cuda", TEXT["fit-prior mixture"])
    if "--input" in TEXT[name] and "{folder}/z.npy" in TEXT[name] and not (folder / "z.npy").exists():
        assert not run_verb(folder, "cuda", TEXT["encode"])
    if name == "encode":
        (folder / "z.npy").unlink(missing_ok=True)
    assert not run_verb(folder, "cuda", TEXT[name])


@pytest.mark.long
@pytest.mark.parametrize("name", [*OTHERS, *PLOTS])
def test_another_command(name: str, folder: Path) -> None:
    assert not run_verb(folder, "cuda", {**OTHERS, **PLOTS}[name])
