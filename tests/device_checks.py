"""Checks of a run on another device, for every row of every table: on a GPU, and on a pretended one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from device_rows import HEARING, Row, row_config
from safetensors.torch import load_file
from tiny import Listener, assert_same_runs, card, metrics

from seqvae.config.schema import RunConfig
from seqvae.inference import load
from seqvae.remedies import REMEDIES
from seqvae.training.loop import resume, train
from seqvae.utils.signals import Interrupted

# those that take turns of their own, in which a rounding error may choose another way, and second players
UNSTABLE = ("aggressive_encoder", "factor_vae", "learned_similarity")
SAMPLED = {"text": {"tense": "past"}, "image": {"shape": 1}}


def on(row: Row, device: str, *sets: str) -> RunConfig:
    """The row's run on a device, in fp32 unless `sets` say otherwise."""
    return row_config(row, f"train.device={device}", *sets)


def condition_of(row: Row) -> dict[str, Any] | None:
    """The labels that samples of the row's run are drawn for."""
    return SAMPLED[row[0]] if row[2] in (*HEARING, "told") else None


def interrupted(config: RunConfig, run: Path, step: int = 2) -> None:
    """Train until a signal comes at the log of a step."""
    with pytest.raises(Interrupted):
        train(config, run, Listener(stop_at_log=step))


def check_that_it_lives(row: Row, device: str, precision: str, folder: Path) -> None:
    """It trains, saves, resumes bit for bit, evaluates and samples; and its run opens on the CPU."""
    config = on(row, device, f"train.precision={precision}")
    straight = train(config, folder / "straight")
    interrupted(config, folder / "broken")
    resume(folder / "broken")
    assert_same_runs(straight, folder / "broken")
    for where in (device, "cpu"):
        vae = load(straight, where)
        found = vae.evaluate(examples=24, samples=2, precision=precision)
        assert math.isfinite(found["distortion"])
        if vae.vae.latent.dim == 0 or vae.vae.latent.has_density:
            assert len(vae.sample(2, condition=condition_of(row))) == 2


def check_that_losses_are_the_cpus(row: Row, device: str, folder: Path, steps: int = 50) -> float:
    """Within 1e-5 at the first update, and within 1e-4 over `steps` where nothing amplifies a rounding error.

    The largest relative difference comes out: that of the others is for a list.
    """
    sets = (f"train.steps={steps}", f"train.validate_every={steps}", "train.log_every=1")
    found = [
        [line["total"] for line in metrics(train(on(row, where, *sets), folder / where), "train")]
        for where in ("cpu", device)
    ]
    apart = [abs(a - b) / max(1.0, abs(a)) for a, b in zip(*found, strict=True)]
    assert len(apart) == steps
    assert apart[0] <= 1e-5
    assert row[2] in UNSTABLE or max(apart) <= 1e-4, apart
    return max(apart)


def check_that_it_goes_on_elsewhere(row: Row, device: str, folder: Path) -> None:
    """A run that was begun on a device ends on another, and where it computes is no part of its weights."""
    for first, second in ((device, "cpu"), ("cpu", device)):
        run = folder / f"from-{first}"
        interrupted(on(row, first), run)
        resume(run, device=second)
        assert card(run)["progress"]["finished"]
        assert [line["step"] for line in metrics(run, "train")] == [1, 2, 3, 4]
        assert all(bool(torch.isfinite(x).all()) for x in load_file(run / "model.safetensors").values())


def assert_unstable_are_remedies() -> None:
    """The list names rows that there are."""
    assert set(UNSTABLE) <= set(REMEDIES)
