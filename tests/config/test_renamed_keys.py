"""Old keys, values and names of configs load, with a warning that has the new name."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from tiny import config

from seqvae.config import parse_config
from seqvae.config.renamed_keys import CONFIGS
from seqvae.config.shipped import find_config, shipped_configs
from seqvae.errors import UserError
from seqvae.models.latents.exact_rate import ExactRate
from seqvae.runs.run_folder import load_run
from seqvae.training.loop import train

OLD: dict[str, tuple[dict[str, Any], str]] = {
    "num_labeled": ({"data": {"labels": ["tense"], "labelled": 7}}, "data.labelled is deprecated"),
    "on_bad_image": ({"modality": "image", "data": {"broken": "skip"}}, "data.broken is deprecated"),
    "condition_on": (
        {"latent": {"name": "exact_rate", "nats": [2, 64], "tells": "encoder"}},
        "latent.tells is deprecated: use latent.condition_on",
    ),
    "conditioning": (
        {"latent": {"name": "exact_rate", "nats": [2, 64], "by": "coordinate"}},
        "latent.by is deprecated",
    ),
    "rate_sampling": (
        {"latent": {"name": "exact_rate", "nats": [2, 64], "draw": "uniform"}},
        "latent.draw is deprecated",
    ),
    "max_inner_steps": (
        {"remedies": [{"name": "free_bits"}, {"name": "aggressive_encoder", "most": 3}]},
        "remedies.1.most is deprecated",
    ),
}


@pytest.mark.parametrize("new", OLD)
def test_old_keys_load_and_warn(new: str) -> None:
    values, message = OLD[new]
    with pytest.warns(FutureWarning, match=message):
        loaded = parse_config(values)
    blocks: list[Any] = [loaded.data.model_dump(), loaded.latent.arguments]
    blocks += [remedy.arguments for remedy in loaded.remedies]
    value = next(block[new] for block in blocks if new in block)
    assert value in (7, "skip", "encoder", "concat", "uniform", 3)


def test_old_key_in_an_override() -> None:
    with pytest.warns(FutureWarning, match=r"data\.labelled is deprecated: use data\.num_labeled"):
        assert parse_config({}, ["data.labels=[tense]", "data.labelled=5"]).data.num_labeled == 5


@pytest.mark.parametrize("new", OLD)
def test_saved_configs_load_in_silence(new: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = parse_config(OLD[new][0], saved=True)
    assert new in str(loaded.model_dump())


def test_a_run_that_an_older_version_saved(tmp_path: Path) -> None:
    run = train(
        config("latent={name: exact_rate, dim: 4, nats: [2, 64], condition_on: encoder}"), tmp_path / "run"
    )
    file = run / "config.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    card["run"]["data"]["labelled"] = card["run"]["data"].pop("num_labeled")
    card["run"]["latent"]["tells"] = card["run"]["latent"].pop("condition_on")
    file.write_text(json.dumps(card), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        latent = load_run(run).vae.latent
    assert isinstance(latent, ExactRate)
    assert latent.condition_on == "encoder"


def test_both_names_are_an_error() -> None:
    with pytest.raises(UserError, match=r"data\.labelled is the old name of data\.num_labeled: keep"):
        parse_config({"data": {"labelled": 5, "num_labeled": 6}})


def test_other_components_keep_their_arguments() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = parse_config({"latent": {"name": "gaussian", "draw": 1}})
    assert loaded.latent.arguments == {"draw": 1}


@pytest.mark.parametrize("old", CONFIGS)
def test_shipped_configs_by_their_old_names(old: str) -> None:
    with pytest.warns(FutureWarning, match=f"config {old} is deprecated: use {CONFIGS[old]}"):
        assert find_config(old) == str(shipped_configs()[CONFIGS[old]])


def test_nothing_shipped_uses_an_old_name() -> None:
    assert not set(CONFIGS) & set(shipped_configs())
