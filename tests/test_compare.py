"""A comparison trains what is missing, measures all alike, and sums seeds up rightly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqvae import compare as module
from seqvae.cli import main
from seqvae.compare import Comparison, compare, entries, load_comparison, summarise
from seqvae.registry import UserError

SMALL = {"hidden": 8, "embed": 8}
BASE: dict[str, Any] = {
    "data": {"name": "sentences", "examples": 64},
    "encoder": {"name": "gru", **SMALL},
    "latent": {"name": "gaussian", "dim": 2},
    "decoder": {"name": "gru", **SMALL},
    "remedies": [{"name": "word_dropout", "rate": 0.2}],
    "train": {"steps": 2, "batch_size": 16, "precision": "fp32", "device": "cpu", "valid_examples": 16},
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    file = tmp_path / "base.yaml"
    file.write_text(yaml.safe_dump(BASE), encoding="utf-8")
    return file


def comparison(base: Path, **variants: dict[str, Any]) -> Comparison:
    return Comparison(base=str(base), seeds=[0, 1], samples=2, variants=variants)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations of a few sentences: the protocol is the same."""
    from seqvae.text.store import TokenStore

    real = module.load

    def load(path: Path, device: str) -> Any:
        vae = real(path, device)
        evaluated = vae._evaluated

        def few(data: str | None) -> tuple[str, TokenStore]:

            where, store = evaluated(data)
            return where, replace(
                store, offsets=store.offsets[:9], chars=store.chars[:8], labels=store.labels[:8]
            )

        vae._evaluated = few
        vae._prior_sampled = lambda n, seed: [[5], [6]]
        return vae

    monkeypatch.setattr(module, "load", load)


def test_variants_are_laid_over_the_base(base: Path, tmp_path: Path) -> None:
    made = entries(
        comparison(base, wide={"latent": {"dim": 5}}, lm={"latent": {"name": "none"}, "remedies": []}),
        tmp_path / "out",
    )
    assert [(e.variant, e.seed, e.config.train.seed) for e in made][:2] == [("wide", 0, 0), ("wide", 1, 1)]
    assert made[0].config.latent.arguments == {"dim": 5}
    assert made[0].config.remedies[0].name == "word_dropout"
    assert (made[2].config.latent.name, made[2].config.latent.arguments) == ("none", {})
    assert made[2].config.remedies == []


def test_init_may_name_a_variant(base: Path, tmp_path: Path) -> None:
    made = entries(comparison(base, ae={}, later={"init": {"from": "ae", "parts": ["encoder"]}}), tmp_path)
    assert [e.config.init.run for e in made if e.config.init] == [
        str(tmp_path / "ae" / "seed-0"),
        str(tmp_path / "ae" / "seed-1"),
    ]


@pytest.mark.usefixtures("_quick")
def test_it_trains_what_is_missing_and_writes_one_table(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = comparison(base, plain={}, lm={"latent": {"name": "none"}, "remedies": []})
    rows = compare(made, tmp_path / "out")
    assert [row["variant"] for row in rows] == ["plain", "lm"]
    assert rows[0]["seeds"] == 2
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| lm | 2 |" in table
    assert len(json.loads((tmp_path / "out" / "table.json").read_text())) == 4

    def never(*_: Any) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(module, "train", never)
    assert compare(made, tmp_path / "out") == rows


def test_seeds_become_mean_and_deviation() -> None:
    results = [{"variant": "a", "rate": r, "mi_low": None} for r in (1.0, 2.0, 3.0)]
    (row,) = summarise(results)
    assert row["rate"] == pytest.approx((2.0, 1.0))
    assert row["mi_low"] is None
    assert summarise(results[:1])[0]["rate"] == (1.0, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: x\nvariants: {}", "variants"),
        ("bas: x\nvariants: {a: {}}", "did you mean 'base'"),
        ("base: nowhere.yaml\nvariants: {a: {}}", "no config file nowhere.yaml"),
        ("base: text/default\nvariants: {a: {latnt: {dim: 1}}}", "variant 'a': unknown key 'latnt'"),
    ],
)
def test_mistakes_are_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "compare.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(file), "--out", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.usefixtures("_quick")
def test_a_run_of_another_config_is_not_overwritten(base: Path, tmp_path: Path) -> None:
    compare(comparison(base, plain={}), tmp_path)
    with pytest.raises(UserError, match="holds a run of another config"):
        compare(comparison(base, plain={"latent": {"dim": 3}}), tmp_path)


def test_the_shipped_comparisons_hold(root: Path, tmp_path: Path) -> None:
    for file in sorted((root / "configs" / "compare").glob("*.yaml")):
        assert entries(load_comparison(file), tmp_path)
