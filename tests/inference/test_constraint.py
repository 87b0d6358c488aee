"""Constraints and the defaults of writing, through Python and the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SENTENCES, trained

from seqvae import TextVAE
from seqvae.cli import main
from seqvae.data.text.token_automaton import token_moves
from seqvae.errors import UserError
from seqvae.inference.constraint import Constraint
from seqvae.inference.posthoc_priors import best_posthoc_prior
from seqvae.models.text.decoding import TOP_P, UNTRUNCATED, GenerationConfig
from seqvae.utils.notices import forget

RULE = "(the|two|did|do|does) ([a-z]+ ){0,4}[a-z]+( [.?])?"
TOKENIZERS = ("word", "bpe", "char", "unigram")
A, B = SENTENCES[0], SENTENCES[3]


def has_no_e(text: str) -> bool:
    """For `python:`, which finds it by the name of this module."""
    return "e" not in text


def fails(text: str) -> bool:
    raise ValueError("two\nlines")


def command(words: list[str], code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code in ((0, None) if code == 0 else (code,))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_whatever_is_written_matches(tokenizer: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    size = {"word": "null", "char": "null", "bpe": "300", "unigram": "null"}[tokenizer]
    sets = (f"tokenizer={{name: {tokenizer}, vocab_size: {size}}}", "train.steps=20", "data.max_tokens=40")
    made = TextVAE.from_pretrained(trained(tmp_path_factory.getbasetemp(), f"tiny-{tokenizer}", *sets))
    known, z = re.compile(RULE), made.encode(SENTENCES)
    step = made.direction([A], [B])
    for how in (None, GenerationConfig(beam=2, max_length=40)):
        texts = [
            *made.sample(6, how, constraint=RULE),
            *made.decode(z, how, constraint=RULE),
            *(point.text for point in made.interpolate(A, B, 3, how=how, constraint=RULE)),
            *(pair.reconstruction for pair in made.reconstruct(SENTENCES, how, constraint=RULE)),
            *made.shift(SENTENCES, step, how, constraint=RULE),
            *made.edit(SENTENCES, [A], [B], how=how, constraint=RULE),
        ]
        assert len(texts) == 6 + 4 + 3 + 4 + 4 + 4
        assert [text for text in texts if not known.fullmatch(text)] == []


def test_a_filter_draws_until_texts_are_valid(vae: TextVAE) -> None:
    rule = Constraint(has_no_e, tries=200)
    texts = vae.sample(8, constraint=rule)
    assert len(texts) == 8
    assert all("e" not in text for text in texts)
    assert rule.kept == 8 < rule.tried
    assert rule.share == rule.kept / rule.tried
    again = vae.sample(8, constraint=Constraint(has_no_e, tries=200))
    assert texts == again, "the same seed draws the same sentences"
    unfiltered = vae.sample(8)
    assert [t for t in unfiltered if "e" not in t] == [t for t in texts if t in unfiltered]


def test_a_filter_keeps_rows(vae: TextVAE) -> None:
    z = vae.encode(SENTENCES)
    never = Constraint(lambda text: False, tries=3)
    assert vae.decode(z, constraint=never) == [""] * 4
    assert (never.tried, never.kept) == (12, 0)
    assert vae.sample(5, constraint=Constraint(lambda text: False, tries=2)) == []
    greedy = vae.decode(z)
    valid = set(greedy[:2])
    some = Constraint(lambda text: text in valid, tries=1)
    assert vae.decode(z, constraint=some) == [text if text in valid else "" for text in greedy]


def test_a_regular_expression_as_a_filter(vae: TextVAE) -> None:
    rule = Constraint(".*[.]", filter_only=True, tries=300)
    assert all(text.endswith(".") for text in vae.sample(5, constraint=rule))
    assert rule.tried > rule.kept == 5


def test_a_grammar(vae: TextVAE, tmp_path: Path) -> None:
    pytest.importorskip("lark")
    file = tmp_path / "pairs.lark"
    file.write_text('start: "(" start ")" | "a"\n')
    rule = Constraint(f"grammar:{file}")
    assert [rule.check(text) for text in ("a", "((a))", "((a)", "")] == [True, True, False, False]
    words = tmp_path / "words.lark"
    words.write_text('start: WORD (" " WORD)* " " "."\nWORD: /[a-z]+/\n')
    texts = vae.sample(4, constraint=Constraint(f"grammar:{words}", tries=300))
    assert len(texts) == 4
    assert all(re.fullmatch("([a-z]+ )+[.]", text) for text in texts)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("(", "is not a regular expression"),
        (r"(a)\1", "not regular"),
        ("python:nothing", "names no function: write python:module.function"),
        ("python:no_such_module.f", "cannot be loaded .ModuleNotFoundError"),
        ("python:json.no_such_name", "cannot be loaded .AttributeError"),
        ("python:json.__name__", "is no function but str"),
        ("grammar:no-such-file.lark", "cannot be read .No such file"),
        ("[0-9]+", "no text of this run's tokens matches"),
    ],
)
def test_mistakes_are_one_line(run: Path, rule: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    if rule.startswith("grammar"):
        pytest.importorskip("lark")
    command(["sample", str(run), "-n", "2", "--constraint", rule], code=2)
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert re.search(words, error[0])


def test_more_mistakes(vae: TextVAE, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"fails failed for .*\(ValueError: two\): return False"):
        vae.sample(1, constraint=fails)
    with pytest.raises(UserError, match="tries got 0"):
        Constraint("a", tries=0)
    with pytest.raises(UserError, match="repeats got -1"):
        GenerationConfig(repeats=-1)
    with pytest.raises(UserError, match="needs at least 9 tokens, a sentence has at most 3"):
        vae.sample(1, GenerationConfig(max_length=3), constraint="the( dog){8}")
    for option in (["--filter"], ["--tries", "3"]):
        command(["sample", str(run), *option], code=2)
        assert "is about a constraint: give --constraint too" in capsys.readouterr().err
    pytest.importorskip("lark")
    bad = tmp_path / "bad.lark"
    bad.write_text("start: (")
    with pytest.raises(UserError, match="is not a grammar that lark reads") as stop:
        Constraint(f"grammar:{bad}")
    assert "\n" not in str(stop.value)


def test_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> tuple[Any, str]:
        capsys.readouterr()
        command([*words, "--constraint", RULE, "--json"])
        out = capsys.readouterr()
        found = json.loads(out.out)
        assert found["constraint"]["share"] == 1
        assert found["constraint"]["applied"] == "while decoding"
        return found["results"], out.err

    texts, err = said("sample", str(run), "-n", "4")
    assert "constrained while decoding: 4 of 4 drawn sentences match (100.0%)" in err
    pairs, _ = said("reconstruct", str(run), A, B)
    path, _ = said("interpolate", str(run), A, B, "--steps", "3")
    group = tmp_path / "group.txt"
    group.write_text(f"{A}\n")
    (tmp_path / "other.txt").write_text(f"{B}\n")
    groups = ("--towards", str(group), "--away", str(tmp_path / "other.txt"))
    edited, _ = said("edit", str(run), B, *groups, "--strength", "1")
    codes = str(tmp_path / "z.npy")
    command(["encode", str(run), "--input", str(group), "--output", codes])
    decoded, _ = said("decode", str(run), "--input", codes)
    written = [row["text"] for row in (*texts, *path["points"], *decoded)]
    written += [pair["reconstruction"] for pair in pairs] + [*edited[0]["edited"].values()]
    assert len(written) == 4 + 3 + 1 + 2 + 1
    assert all(re.fullmatch(RULE, text) for text in written)
    for more in (["--constraint", RULE], ["--unknown"], ["--repeats", "0"]):
        command(["edit", str(run), B, *groups, *more], code=2)  # the smallest edit has no such options
        assert "give --strength too" in capsys.readouterr().err


def test_the_command_line_with_a_function(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = ["--constraint", f"python:{__name__}.has_no_e"]
    command(["sample", str(run), "-n", "3", *rule, "--tries", "200", "--json"])
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert found["constraint"]["applied"] == "filter"
    assert found["constraint"]["kept"] == 3 < found["constraint"]["tried"]
    assert "filtered: 3 of " in out.err
    command(["reconstruct", str(run), A, *rule, "--tries", "1", "--json"])
    out = capsys.readouterr()
    found = json.loads(out.out)
    if found["constraint"]["kept"] == 0:
        assert found["results"][0]["reconstruction"] is None
        assert "1 of 1 sentences had no valid draw in 1" in out.err


def test_automata_are_made_once(vae: TextVAE) -> None:
    before = token_moves.cache_info().misses
    for seed in range(3):
        vae.sample(2, seed=seed, constraint="(the|two) [a-z ]*")
    assert token_moves.cache_info().misses <= before + 1


def test_the_defaults_of_sampling(vae: TextVAE, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longest = vae.config.data.max_tokens
    default = vae.sample(20)
    assert default == vae.sample(20, GenerationConfig(top_p=TOP_P, max_length=longest))
    assert default != vae.sample(20, GenerationConfig(top_p=1, max_length=longest))
    capsys.readouterr()
    command(["sample", str(run), "-n", "20"])
    assert capsys.readouterr().out.splitlines() == default
    command(["sample", str(run), "-n", "20", "--top-p", "1", "--unknown", "--repeats", "0"])
    whole = vae.sample(20, GenerationConfig(top_p=1, unknown=True, repeats=0, max_length=longest))
    assert capsys.readouterr().out.splitlines() == whole


def test_measures_are_of_the_model_as_it_is(vae: TextVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[GenerationConfig] = []
    write, writer = vae.writer.generate, vae.writer
    monkeypatch.setattr(
        writer, "generate", lambda z, how, *a, **k: seen.append(how) or write(z, how, *a, **k)
    )
    vae.evaluate(samples=1, examples=20)
    assert seen
    for how in seen:
        assert (how.greedy, how.unknown, how.repeats, how.top_p) == (True, True, 0, UNTRUNCATED.top_p)


def test_what_training_text_repeats_is_kept_with_the_run(vae: TextVAE, run: Path) -> None:
    assert vae.tokenizer.repeats == 2, "no sentence of the embedded corpus repeats four words"
    assert json.loads((run / "tokenizer_config.json").read_text())["seqvae_repeats"] == 2


def test_a_fitted_prior_is_the_default(
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = trained(tmp_path_factory.getbasetemp(), "tiny-run-with-priors", "train.steps=20")
    vae = TextVAE.from_pretrained(path)
    trained_prior = vae.sample(6)
    for name, components in (("mixture", "4"), ("second", "2")):
        command(["fit-prior", str(path), "--name", name, "--components", components, "--examples", "100"])
    best = best_posthoc_prior(path, vae.vae.latent)
    cards = {n: json.loads((path / "priors" / f"{n}.json").read_text()) for n in ("mixture", "second")}
    assert best == max(cards, key=lambda n: cards[n]["log_density"]["fitted"])
    forget()
    assert vae.sample(6) == vae.with_prior(best).sample(6) != trained_prior
    assert f"fitted prior {best!r}" in caplog.text
    assert vae.with_prior("trained").sample(6) == trained_prior
    assert vae.with_prior(best).with_prior("trained").sample(6) == trained_prior
    assert torch.equal(vae.encode(SENTENCES), vae.with_prior(best).encode(SENTENCES))
    capsys.readouterr()
    command(["sample", str(path), "-n", "6", "--prior", "trained"])
    assert capsys.readouterr().out.splitlines() == trained_prior
