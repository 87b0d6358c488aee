"""README, docs/ and the package: links, names, commands, counts, plain words, generated parts."""

from __future__ import annotations

import ast
import io
import os
import pydoc
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
import yaml
from doc_pages import FENCE, GENERATED, Page, pages, slug

from seqvae.build import catalogue, check_config
from seqvae.cli import app, main
from seqvae.config.loading import load_config
from seqvae.config.shipped import find_config, shipped_configs
from seqvae.experiments.lessons import LESSONS
from seqvae.interfaces import Remedy
from seqvae.modalities import MODALITIES

ROOT = Path(__file__).resolve().parent.parent
PAGES = pages(ROOT)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
TREE = re.compile(r"(?:seqvae|scripts|tests|configs|docs)/[\w./-]+")
CONFIG = re.compile(r"(?:text|image|compare)/[a-z0-9-]+")
NUMBERS = {"N": "4", "R": "6"}  # placeholders of numbers in commands
each_page = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])

# words of an old dialect; docs/CONTRIBUTING.md says what to write in their place
DIALECT = re.compile(
    r"\b(?:tell|tells|told|bring|brings|brought|stands? (?:for|in|on|at)|stood|of nothing|as it is(?! now)|"
    r"walks?|walked|wings?|cures?|sockets?|rungs?|ladders?|rivals?|dials?|hears?|deaf|nobody|somebody|"
    r"so many|comes? back|came back|came of|faults? of|of ours|of our own|"
    r"(?:nats|bits|steps|rows?|dims?|tokens|times|lines|numbers|examples) an? "
    r"(?:example|token|word|dim|unit|row|step|batch|second|minute|class|run|layer|update|sentence|image|line|"
    r"file|epoch|group|label|pixel|head|corpus|model))\b",
    re.IGNORECASE,
)
# keys of saved files and old names of options, which keep their names
KEPT = re.compile(
    r"`dial` \(a key|^dial: \{|\btold, inner and says are keys|`told` is a key|--ladder is deprecated"
)


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """Numbered lines of docstrings, comments and messages; a string without a space is a key or a name."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line


def load_generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/generate_docs.py, imported."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return import_module("generate_docs")


def anchors(text: str) -> set[str]:
    return {slug(title) for title in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)}


def test_readme_is_short() -> None:
    assert len(PAGES[0].text.splitlines()) <= 220


@each_page
def test_generated_parts_are_up_to_date(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    if not GENERATED.search(page.text):
        pytest.skip("nothing is generated here")
    assert load_generator(monkeypatch).fill_blocks(page.text) == page.text, (
        "run `python scripts/generate_docs.py`"
    )


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    here = ROOT / page.name
    for found in LINK.findall(FENCE.sub("", page.text)):
        target, _, anchor = (found[0] or found[1]).partition("#")
        if target.startswith("http"):
            continue
        file = here if not target else here.parent / target
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{page.name}: #{anchor}"


@each_page
def test_names_exist(page: Page) -> None:
    for code in page.inline:
        for dotted in re.findall(r"(?<![\w/.])seqvae(?:\.\w+)+", code):
            assert pydoc.locate(dotted) is not None, dotted
        for path in TREE.findall(code):
            if "NAME" not in path:
                assert (ROOT / path).exists(), path
        if CONFIG.fullmatch(code):
            assert code in shipped_configs(), code


@each_page
def test_commands_parse(page: Page) -> None:
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for words in page.commands:
        if not words or words[0].startswith("-") or words[0].isupper():  # `seqvae --help`, `seqvae VERB`
            continue
        assert words[0] in verbs, words
        if len(words) > 1:
            given = [NUMBERS.get(word, word) for word in words[1:]]
            parsed = verbs[words[0]].make_context(words[0], given).params
            check_settings(words, parsed)


def check_settings(words: list[str], parsed: dict[str, object]) -> None:
    """The shipped config that a command names exists, and its settings hold."""
    for name in (parsed.get("config"), parsed.get("comparison"), parsed.get("source")):
        if isinstance(name, str) and CONFIG.fullmatch(name):
            assert name in shipped_configs(), name
    if words[0] != "train":
        return
    name, sets = parsed.get("config"), list(parsed.get("sets") or [])  # type: ignore[call-overload]
    if parsed.get("corpus"):
        check_config(load_config(find_config("text/default"), sets))
    elif isinstance(name, str) and name in shipped_configs():
        check_config(load_config(find_config(name), sets))


@each_page
def test_scripts_exist(page: Page) -> None:
    for words in page.typed:
        for word in words:
            if word.startswith(("scripts/", "tests/")):
                assert (ROOT / word).exists(), words


@each_page
def test_yaml_blocks_are_configs(page: Page, tmp_path: Path) -> None:
    for block in page.blocks("yaml"):
        assert yaml.safe_load(block)
        (tmp_path / "config.yaml").write_text(block, encoding="utf-8")
        check_config(load_config(tmp_path / "config.yaml"))


@each_page
def test_words_are_plain(page: Page) -> None:
    lines = page.prose.splitlines()
    if page.name.endswith("CONTRIBUTING.md"):  # its table lists the words to avoid
        lines = [line for line in lines if not line.startswith("|")]
    assert [line for line in lines if DIALECT.search(line)] == []


def test_words_of_the_package_are_plain() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r} in {line.strip()!r}"
        for path in sorted((ROOT / "seqvae").rglob("*.py"))
        for number, line in prose_of(path.read_text(encoding="utf-8"))
        if (match := DIALECT.search(line)) and not KEPT.search(line)
    ]
    assert found == [], "docs/CONTRIBUTING.md lists what to write instead"


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("# what stands for a number", True),
        ('"""Nats a token."""', True),
        ('f"{x}: nobody reads it"', True),
        ('("told", "dial")', False),  # keys
        ("told = os.walk(dial)", False),  # names
        ("# as it is now", False),
    ],
)
def test_prose_is_searched_and_code_is_not(line: str, refused: bool) -> None:
    assert any(DIALECT.search(text) for _, text in prose_of(line)) is refused


@pytest.mark.parametrize("kind", ["remedies", "latents", "priors", "objectives", "tokenizers", "configs"])
def test_the_catalogue_is_what_seqvae_list_prints(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["list", kind, "--markdown"])
    assert not stop.value.code
    assert capsys.readouterr().out in (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")


def test_list_prints_all_tables_under_anchors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["list", "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    assert {"## Remedies", "## Latents", "## Configs"} <= set(lines)
    assert lines[lines.index("## Priors") + 1] == ""


def test_readme_counts_what_there_is() -> None:
    rows, text = catalogue(), PAGES[0].text
    counted = re.search(r"(\d+) remedies, (\d+) latents, (\d+) priors and (\d+) objectives", text)
    assert counted is not None
    kinds = ("remedies", "latents", "priors", "objectives")
    assert [int(number) for number in counted.groups()] == [len(rows[kind]) for kind in kinds]
    models = re.search(r"(\d+) text encoders and decoders .*, (\d+) for images .*, (\d+) tokenizers", text)
    assert models is not None
    encoders = [len(MODALITIES[name].encoders) for name in ("text", "image")]
    assert [int(number) for number in models.groups()] == [*encoders, len(rows["tokenizers"])]
    assert f"{len(LESSONS)} [lessons]" in text


def test_readme_tree_names_every_package() -> None:
    tree = next(block for block in PAGES[0].blocks("text") if block.startswith("seqvae/"))
    named = set(re.findall(r"^  (\w+)/", tree, re.MULTILINE))
    assert named == {path.parent.name for path in (ROOT / "seqvae").glob("*/__init__.py")}
    for module in re.findall(r"\b(\w+\.py)\b", tree):
        assert list((ROOT / "seqvae").rglob(module)), module


def test_readme_shows_every_hook() -> None:
    loop = next(block for block in PAGES[0].blocks("text") if block.startswith("remedy.attach"))
    hooks = {name for name, value in vars(Remedy).items() if callable(value) and not name.startswith("_")}
    assert set(re.findall(r"remedy\.(\w+)\(", loop)) == hooks


def test_the_index_links_every_page() -> None:
    (index,) = (page for page in PAGES if page.name == "docs/README.md")
    linked = {a.partition("#")[0] for a, _ in LINK.findall(index.text)}
    pages_of = {page.name.removeprefix("docs/") for page in PAGES[1:]}
    assert {name for name in pages_of - linked if not name.startswith("reference/")} == {"README.md"}


def test_every_picture_is_shown() -> None:
    shown = {Path(a or b).name for page in PAGES for a, b in LINK.findall(page.text)}
    assert {path.name for path in (ROOT / "docs" / "images").iterdir()} <= shown


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-f", "scripts/mkdocs.yml"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(
        [*command, "-d", str(tmp_path / "site")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "word_dropout" in (tmp_path / "site" / "catalogue" / "index.html").read_text(encoding="utf-8")
