"""Default tokenizer and longest length of a corpus, and warnings about others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import Listener, config
from typer.testing import CliRunner

from seqvae.cli import app
from seqvae.config.loading import load_config, parse_config
from seqvae.config.schema import TextRunConfig
from seqvae.data.text.choosing import choose_tokenizer, look_at, percentile
from seqvae.data.text.fit_config import fit_to_corpus
from seqvae.errors import UserError
from seqvae.training.loop import train

RANDOM = np.random.default_rng(0)


def strings(n: int, alphabet: str, low: int, high: int) -> list[str]:
    """Random strings of an alphabet."""
    rows = RANDOM.integers(0, len(alphabet), (n, high))
    ends = RANDOM.integers(low, high + 1, n)
    return ["".join(alphabet[i] for i in row[:end]) for row, end in zip(rows, ends, strict=True)]


NAMES = strings(600, "abcdefghijklmnopqrstuvwxyz", 4, 9)
MOLECULES = strings(600, "CNOc1(=)23", 10, 40)
POEMS = strings(600, "".join(chr(0x4E00 + i) for i in range(900)), 20, 24)
SENTENCES = [f"the {a} dog sees {b} cats ." for a in ("old", "young", "red") for b in range(200)]
REVIEWS = [" ".join(strings(8, "abcdefgh", 5, 8)) for _ in range(300)]


@pytest.mark.parametrize(
    ("texts", "name"),
    [(NAMES, "char"), (MOLECULES, "char"), (POEMS, "bpe"), (SENTENCES, "word"), (REVIEWS, "bpe")],
)
def test_a_corpus_gets_a_tokenizer_that_fits(texts: list[str], name: str) -> None:
    order = RANDOM.permutation(len(texts)).tolist()
    mixed = [texts[i] for i in order]
    spec, why = choose_tokenizer(look_at(mixed[50:], mixed[:50]))
    assert spec.name == name
    assert why.startswith(f"tokenizer {name}")
    assert "% of the held-out words" in why


def test_figures_of_a_sample() -> None:
    seen = look_at(["a b", "a c", "a <unk>"], ["a b d", "<unk> a"])
    assert seen.unknown == pytest.approx(1 / 5), "what the text itself calls unknown is a word"
    assert (seen.words, seen.longest, seen.characters) == (2, 7, 13)
    assert look_at([], []).unknown == 0


def test_the_percentile_is_covered() -> None:
    assert percentile(list(range(1, 101))) == 100
    assert percentile([5] * 999 + [900]) == 5
    assert percentile([]) == 1


def corpus(tmp_path: Path, texts: list[str]) -> str:
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return str(path)


def fitted(tmp_path: Path, texts: list[str], *sets: str) -> tuple[TextRunConfig, list[str]]:
    given: Any = parse_config({"data": {"train": corpus(tmp_path, texts)}}, sets)
    return fit_to_corpus(given, sets)


def test_a_config_is_fitted_and_says_why(tmp_path: Path) -> None:
    found, lines = fitted(tmp_path, NAMES)
    assert found.tokenizer.name == "char"
    assert found.data.max_tokens == 9
    assert len(lines) == 2
    assert lines[1] == "max_tokens 9: 99 % of the texts have no more tokens"


def test_what_the_user_chose_stays(tmp_path: Path) -> None:
    found, lines = fitted(tmp_path, NAMES, "tokenizer.name=bpe", "data.max_tokens=33")
    assert (found.tokenizer.name, found.data.max_tokens, lines) == ("bpe", 33, [])
    found, lines = fitted(tmp_path, NAMES, "tokenizer={name: word, force: true}")
    assert (found.tokenizer.name, found.data.max_tokens) == ("word", 1)


def test_the_number_of_pieces_is_whole() -> None:
    texts = [f"some{i} words{i * 7} of{i * 3} few{i}" for i in range(5000)]
    chosen, why = choose_tokenizer(look_at(texts[:4000], texts[4000:]))
    assert isinstance(chosen.arguments["vocab_size"], int)
    assert re.match(r"tokenizer bpe of [\d,]+ pieces:", why)


def test_few_pieces_are_taken_as_there_are(tmp_path: Path) -> None:
    found, _ = fitted(tmp_path, ["ab" * 10 + f" {chr(0x4E00 + i)}{chr(0x4E00 + i + 1)}" for i in range(60)])
    assert found.tokenizer.name == "bpe"
    assert not found.tokenizer.arguments.get("vocab_size")


def test_the_command_line_says_its_choice(tmp_path: Path) -> None:
    small = ("encoder.hidden=8", "encoder.embed=8", "decoder.hidden=8", "decoder.embed=8", "latent.dim=2")
    sets = [word for s in (*small, "train.steps=2", "train.device=cpu") for word in ("--set", s)]
    file, out = corpus(tmp_path, NAMES), tmp_path / "run"
    done = CliRunner().invoke(app, ["train", "--corpus", file, "--out", str(out), *sets])
    assert done.exit_code == 0, done.output
    assert "tokenizer char: short strings of 26 different characters" in " ".join(done.stderr.split())
    kept: Any = load_config(out / "config.yaml")
    assert (kept.tokenizer.name, kept.data.max_tokens) == ("char", 9)


def run(tmp_path: Path, texts: list[str], *sets: str) -> Listener:
    report = Listener()
    data = f"data={{train: {corpus(tmp_path, texts)}, max_tokens: 20}}"
    train(config(data, "train.steps=2", *sets), tmp_path / "run", report)
    return report


def test_words_that_are_mostly_unknown_are_refused(tmp_path: Path) -> None:
    message = (
        r"% of the validation tokens are unknown to the tokenizer: take tokenizer=\{name: char\}, or add "
    )
    with pytest.raises(UserError, match=message + r"tokenizer\.force=true to train all the same"):
        run(tmp_path, NAMES)
    assert not (tmp_path / "run").exists()
    warned = run(tmp_path, NAMES, "tokenizer={name: word, force: true}").warnings
    assert "which makes metrics misleading: take tokenizer={name: char}" in warned[0]


def test_words_that_are_often_unknown_are_warned_of(tmp_path: Path) -> None:
    texts = [f"the dog {name} sees a ball" for name in NAMES]
    warned = run(tmp_path, texts).warnings
    assert "16.7% of the validation tokens are unknown" in warned[0]
    assert "take tokenizer={name: bpe" in warned[0]
    assert not any("unknown to the tokenizer" in w for w in run(tmp_path / "b", SENTENCES).warnings)
