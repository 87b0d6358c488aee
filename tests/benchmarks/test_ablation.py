"""Training without each optimisation has the same losses, and the table has the gain of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import seqvae.benchmarks
from seqvae.benchmarks import ablation, run_ablation
from seqvae.benchmarks.ablation import (
    NONE,
    OPTIMISATIONS,
    OTHER_WAYS,
    UPDATES,
    Optimisation,
    PlainGRU,
    PlainHead,
    Unsorted,
    run_first_updates,
)
from seqvae.benchmarks.presets import preset_trainer
from seqvae.cli import app
from seqvae.training.trainer import Trainer

GRU = [
    "tokenizer.vocab_size=60",
    *(f"{part}.{size}" for part in ("encoder", "decoder") for size in ("embed=6", "hidden=8")),
    "train.batch_size=4",
    "train.precision=fp32",
    "train.device=cpu",
]


def losses(trick: Optimisation | None, updates: int = 5) -> list[float]:
    with preset_trainer("reference", GRU) as trainer:
        if trick is not None:
            trick.undo(trainer)
        found = []
        for _ in range(updates):
            trainer.update()
            found.append(trainer.meter.means(trainer.names, trainer.unit)["total"])
    return found


@pytest.mark.parametrize("trick", [*OPTIMISATIONS[2:], *OTHER_WAYS], ids=lambda trick: trick.instead)
def test_without_a_trick_the_losses_are_the_same(trick: Optimisation) -> None:
    assert losses(trick) == pytest.approx(losses(None), rel=1e-6)


def test_optimisations_are_removed() -> None:
    with preset_trainer("reference", [*GRU, "train.precision=bf16"]) as trainer:
        for trick in OPTIMISATIONS:
            trick.undo(trainer)
        assert trainer.step.precision == "fp32"
        assert isinstance(trainer.batch_source, Unsorted)
        assert isinstance(trainer.vae.encoder.get_submodule("rnn"), PlainGRU)
        assert isinstance(trainer.vae.decoder.get_submodule("rnn"), PlainGRU)
        assert isinstance(trainer.vae.decoder.get_submodule("head"), PlainHead)
        assert not any(group["fused"] for group in trainer.optimizers["model"].param_groups)
        assert isinstance(trainer.vae.decoder.get_submodule("rnn.rnn"), nn.GRU)
        run_first_updates(trainer)


def padding(trainer: Trainer, updates: int = 200) -> float:
    batches = [batch for step in range(updates) for batch in trainer.batch_source.update(step)]
    return float(
        np.mean([1 - batch.num_targets / (batch.size * batch.decoder_positions) for batch in batches])
    )


def test_unsorted_batches_hold_everyone_once_and_more_padding() -> None:
    with preset_trainer("reference", GRU) as trainer:
        before = padding(trainer)
        OPTIMISATIONS[1].undo(trainer)
        assert padding(trainer) > before + 0.1
        rows = [
            trainer.batch_source.update(step)[0].index for step in range(trainer.batch_source.steps_per_epoch)
        ]
    assert torch.equal(torch.cat(rows).sort().values, torch.arange(trainer.batch_source.examples))


def test_the_first_updates_are_always_the_same() -> None:
    with preset_trainer("reference", GRU) as trainer:
        assert run_first_updates(trainer) == run_first_updates(trainer)
        assert trainer.progress.step == UPDATES


def test_every_row_is_a_share_of_all_tricks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "UPDATES", 1)
    rounds = iter([[4.0, 2.0, 3.0], *[[8.0, 8.0, 3.0]] * 8, [2.0]])

    def timed(works: dict[str, Any], *_: Any) -> dict[str, list[float]]:
        return {name: next(rounds) for name in works}

    monkeypatch.setattr(ablation, "time_rounds", timed)
    rows = run_ablation("reference", GRU, budget=0.0)
    names = [trick.name for trick in (*OPTIMISATIONS, *OTHER_WAYS)]
    assert [row["without"] for row in rows] == ["", *names, NONE, "freed memory kept"]
    assert rows[0]["share"] == 1
    assert all(row["update_mb"] > 0 for row in rows)
    like = [row for row in rows[1:-1] if row["without"] not in ("batches of like lengths", NONE)]
    assert {row["share"] for row in like} == {0.5}, "the median of 4/8, 2/8 and 3/3"
    assert rows[-1]["share"] == 1.0
    assert rows[1]["tokens_per_s"] == pytest.approx(rows[0]["tokens_per_s"] * 2 / 3, abs=1)


def test_the_command_prints_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"without": "", "instead": "", "tokens_per_s": 2000, "share": 1.0, "update_mb": 1234.5}]
    monkeypatch.setattr(seqvae.benchmarks, "run_ablation", lambda *_: rows)
    assert CliRunner().invoke(app, ["bench", "--ablation"]).stdout.splitlines()[-1].split() == [
        "-",
        "-",
        "2,000",
        "100",
        "%",
        "1,234",
    ]
