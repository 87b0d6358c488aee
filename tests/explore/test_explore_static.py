"""The page as a folder: what it records, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_run

pytest.importorskip("fastapi", reason="needs the extra `explore` (fastapi, uvicorn)")

from seqvae.cli import main
from seqvae.errors import UserError
from seqvae.explore import static
from seqvae.explore.app import ASSETS
from seqvae.explore.session import Explorer
from seqvae.explore.static import as_script, request_key, write_static
from seqvae.inference import load
from seqvae.models.text.decoding import TOP_P


def test_keys_are_those_of_the_page() -> None:
    assert request_key("walk", {"b": 1, "a": {"z": [1.0, 0.5]}}) == 'walk {"a":{"z":[1,0.5]},"b":1}'
    assert request_key("edit", {"dims": {3: -1}}) == 'edit {"dims":{"3":-1}}'


def test_texts_cannot_end_the_script() -> None:
    written = as_script({"texts": ["</script><script>alert(1)</script>", "a\u2028b"]})
    assert "</script>" not in written
    assert "\u2028" not in written
    assert (
        json.loads(written.removeprefix("window.SEQVAE_STATIC = ").removesuffix(";\n"))["texts"][1]
        == "a\u2028b"
    )


def test_folder_is_complete(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(static, "EXAMPLES", 2)
    run, folder = tiny_run(tmp_path_factory), tmp_path / "page"
    with pytest.raises(SystemExit) as end:
        main(["explore", str(run), "--static", str(folder), "--examples", "30"])
    assert not end.value.code
    assert Path(capsys.readouterr().out.strip()) == folder / "index.html"
    assert {file.name for file in folder.iterdir()} == {file.name for file in ASSETS.iterdir()}
    content: Any = json.loads((folder / "data.js").read_text().split(" = ", 1)[1].removesuffix(";\n"))
    a, b = content["examples"][:2]
    walk = content["answers"][
        request_key("walk", {"a": {"index": b}, "b": {"index": a}, "path": "linear", "steps": 9})
    ]
    vae = load(run)
    texts = content["answers"]["examples {}"]["texts"]
    expected = vae.interpolate(texts[b], texts[a], steps=9)  # type: ignore[attr-defined]
    assert [step["text"] for step in walk["steps"]] == [point.text for point in expected]
    samples = content["answers"][
        request_key("samples", {"n": 12, "seed": 0, "prior": "", "temperature": 1, "top_p": TOP_P})
    ]
    assert all(sample["near"] for sample in samples["samples"])


def test_a_folder_in_use_is_refused(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    explorer = Explorer(load(tiny_run(tmp_path_factory)), examples=30)
    with pytest.raises(UserError, match="exists and is not empty: name a new folder"):
        write_static(explorer, tmp_path)


def test_a_port_in_use_is_refused(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    from seqvae.explore.serve import bind

    with bind(0) as taken, pytest.raises(SystemExit) as end:
        main(["explore", str(tiny_run(tmp_path_factory)), "--port", str(taken.getsockname()[1])])
    assert end.value.code == 2
    assert "cannot be used" in capsys.readouterr().err


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from seqvae.explore import requirements

    monkeypatch.setattr(requirements, "PACKAGES", ("no_such_package", "uvicorn"))
    with pytest.raises(
        UserError, match=r"seqvae explore needs no_such_package: `pip install \"seqvae\[explore\]"
    ):
        requirements.require_packages()
