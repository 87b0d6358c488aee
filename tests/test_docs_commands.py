"""README's commands run as they stand and in its order; only the trainings are cut short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from seqvae import TextVAE
from seqvae.cli import main
from seqvae.synthetic.sentences import iter_sentences

SHORT = ("train.steps=12", "train.validate_every=6", "train.precision=fp32")
NARROW = ("encoder.hidden=16", "decoder.hidden=16")


def blocks(root: Path, language: str) -> list[str]:
    """README's code blocks in one language."""
    return re.findall(
        rf"```{language}\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )


def commands(root: Path) -> list[list[str]]:
    """The words of every line that starts with `seqvae`, but those of trainings that take an hour."""
    short = [b for b in blocks(root, "bash") if "runs/ptb" not in b and "runs/mnist" not in b]
    lines = [line for block in short for line in block.replace("\\\n", " ").splitlines()]
    typed = [line.partition(" > ")[0] for line in lines if line.startswith("seqvae ")]
    return [shlex.split(line, comments=True)[1:] for line in typed]


def shortened(words: list[str]) -> list[str]:
    """A training that takes a second."""
    if words[0] != "train" or "--resume" in words:
        return words
    sets = SHORT if words[1].startswith("image/") else SHORT + NARROW
    return [*words, *(part for value in sets for part in ("--set", value))]


def test_every_command_runs(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sentences = [text for text, _ in iter_sentences(300, seed=1)]
    Path("my-sentences.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    for name, kind in (("questions", 1), ("statements", 0)):
        chosen = [text for text, labels in iter_sentences(30, seed=2) if labels[0] == kind]
        Path(f"{name}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    found = commands(root)
    assert {words[0] for words in found} >= {"train", "evaluate", "sample", "score", "edit", "interpolate"}
    ran_python = False
    for words in found:
        if words == ["show", "text/default"]:  # the config that the next lines change
            main_ok(["cp", "text/default", "mine.yaml"])
            text = Path("mine.yaml").read_text(encoding="utf-8")
            Path("mine.yaml").write_text(text + "data: {train: my-sentences.txt}\n", encoding="utf-8")
        if words[0] in ("bench", "compare", "selftest", "lesson"):  # long; they have tests of their own
            continue
        if "--resume" in words:
            with pytest.raises(SystemExit, match="2"):  # it has finished, and says so
                main(words)
            continue
        main_ok(shortened(words))
        if words[0] == "evaluate" and not ran_python:
            python_block(root, monkeypatch)
            ran_python = True


def main_ok(words: list[str]) -> None:
    """Run a command to exit code 0."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code in (0, None), words


def python_block(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """README's Python lines, without a Hub to push to."""
    monkeypatch.setattr(TextVAE, "push_to_hub", lambda self, name: None)
    code = blocks(root, "python")[0]
    assert "from_pretrained" in code
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert Path("somewhere/model.safetensors").is_file()


def test_the_toy_remedy_is_what_it_says(root: Path) -> None:
    import torch

    names: dict[str, object] = {}
    exec(compile(blocks(root, "python")[1], "README.md", "exec"), names)
    remedy = names["Gentle"]()  # type: ignore[operator]
    assert torch.equal(remedy.shape_kl(torch.ones(2, 3), None, 0), torch.full((2, 3), 0.5))


@pytest.mark.parametrize("kind", ["remedies", "latents", "priors", "objectives"])
def test_the_catalogue_is_what_seqvae_list_prints(
    kind: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main_ok(["list", kind, "--markdown"])
    assert capsys.readouterr().out in (root / "README.md").read_text(encoding="utf-8")
