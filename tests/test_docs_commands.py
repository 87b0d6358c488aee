"""Commands and Python of README and docs/ run as printed, in order; only trainings are shortened."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import INLINE, Page, pages

from seqvae import TextVAE
from seqvae.cli import main
from seqvae.data.synthetic.sentences import iter_sentences

SHORT = ("train.steps=12", "train.validate_every=6", "train.precision=fp32")
NARROW = ("encoder.hidden=16", "decoder.hidden=16")
LONG = re.compile(
    r"runs/(ptb|mnist|captions|default-5k|tools|lm|smiles|peptides)\b|\.\./shared"
)  # trainings of an hour, other corpora, molecules of packages that are no requirement
TESTED_ELSEWHERE = ("bench", "compare", "selftest", "lesson", "explore")  # long; they have tests of their own


def is_run(words: list[str]) -> bool:
    elsewhere = words[0] in TESTED_ELSEWHERE or "--apply" in words
    return not elsewhere and not any(LONG.search(word) for word in words)


def shorten(words: list[str]) -> list[str]:
    """A training that takes a second."""
    if words[0] != "train" or "--resume" in words:
        return words
    sets = SHORT if words[1].startswith("image/") else SHORT + NARROW
    return [*words, *(part for value in sets for part in ("--set", value))]


def succeed(words: list[str]) -> None:
    """Run a command to exit code 0."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code in (0, None), words


def run_python(page: Page, number: int) -> dict[str, object]:
    """Execute a Python block of a page; the names that it leaves."""
    names: dict[str, object] = {}
    exec(compile(page.blocks("python")[number], page.name, "exec"), names)
    return names


def write_inputs(root: Path) -> None:
    """The files that the commands name."""
    sentences = [text for text, _ in iter_sentences(300, seed=1)]
    Path("my-sentences.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    for name, kind in (("questions", 1), ("statements", 0)):
        chosen = [text for text, labels in iter_sentences(30, seed=2) if labels[0] == kind]
        Path(f"{name}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    for name in ("chords", "logs"):
        made = [sys.executable, str(root / "scripts" / "make_sequences.py"), name, "300"]
        Path(f"{name}.txt").write_bytes(subprocess.run(made, check=True, capture_output=True).stdout)


def run(words: list[str]) -> None:
    """One command, prepared as its page expects."""
    if words == ["show", "text/default"]:  # the config that the next lines change
        succeed(["cp", "text/default", "mine.yaml"])
        text = Path("mine.yaml").read_text(encoding="utf-8")
        Path("mine.yaml").write_text(text + "data: {train: my-sentences.txt}\n", encoding="utf-8")
    if "--resume" in words:
        with pytest.raises(SystemExit, match="2"):  # it has finished, and says so
            main(words)
        return
    succeed(shorten(words))


def documented_keys(page: Page) -> set[str]:
    """Every key that a page names in code."""
    return {key for code in INLINE.findall(page.text) for key in re.findall(r"[a-z_0-9]+", code)}


def check_keys_are_documented_keys(metrics: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """The page of metrics lists every key of a report."""
    quickly = ["--samples", "2", "--examples", "120", "--json"]
    for words in (["runs/mine", "--refine", "2"], ["runs/blob", "--factors"]):
        capsys.readouterr()
        succeed(["evaluate", *words, *quickly])
        report = json.loads(capsys.readouterr().out)
        by_factor = {key for key in report if key.endswith("_by_factor")}
        assert report.keys() - documented_keys(metrics) - by_factor <= {"data", "factors"}


def test_every_command_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TextVAE, "push_to_hub", lambda self, name: None)  # there is no Hub to push to
    write_inputs(root)
    ran: list[list[str]] = []
    found = {page.name: page for page in pages(root)}
    for page in found.values():
        for words in page.runnable:
            if words not in ran and is_run(words):
                run(words)
                ran.append(words)
        for number, code in enumerate(page.blocks("python")):
            if "from_pretrained" in code:
                run_python(page, number)
    assert {words[0] for words in ran} >= {"train", "evaluate", "sample", "score", "edit", "interpolate"}
    assert Path("somewhere/model.safetensors").is_file()
    check_keys_are_documented_keys(found["docs/metrics.md"], capsys)


def test_the_example_remedy_is_what_it_says(root: Path) -> None:
    import torch

    remedy = run_python(pages(root)[0], 1)["HalfKL"]()  # type: ignore[operator]
    assert torch.equal(remedy.transform_kl(torch.ones(2, 3), None, 0), torch.full((2, 3), 0.5))
