"""Without any of its tricks a training makes the same losses, and the table says what each brings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import seqvae.bench
from seqvae.bench import ablation, tricks
from seqvae.bench.setting import on_the_bench
from seqvae.bench.tricks import (
    NONE,
    OTHER_WAYS,
    TRICKS,
    UPDATES,
    PlainGRU,
    PlainHead,
    Trick,
    Unsorted,
    first_updates,
)
from seqvae.cli import app
from seqvae.trainer import Trainer

GRU = [
    "tokenizer.vocab_size=60",
    *(f"{part}.{size}" for part in ("encoder", "decoder") for size in ("embed=6", "hidden=8")),
    "train.batch_size=4",
    "train.precision=fp32",
    "train.device=cpu",
]


def losses(trick: Trick | None, updates: int = 5) -> list[float]:
    with on_the_bench("reference", GRU) as trainer:
        if trick is not None:
            trick.undo(trainer)
        found = []
        for _ in range(updates):
            trainer.update()
            found.append(trainer.meter.means(trainer.names, trainer.unit)["total"])
    return found


@pytest.mark.parametrize("trick", [*TRICKS[2:], *OTHER_WAYS], ids=lambda trick: trick.instead)
def test_without_a_trick_the_losses_are_the_same(trick: Trick) -> None:
    assert losses(trick) == pytest.approx(losses(None), rel=1e-6)


def test_tricks_are_taken_away() -> None:
    with on_the_bench("reference", [*GRU, "train.precision=bf16"]) as trainer:
        for trick in TRICKS:
            trick.undo(trainer)
        assert trainer.step.precision == "fp32"
        assert isinstance(trainer.feed, Unsorted)
        assert isinstance(trainer.vae.encoder.get_submodule("rnn"), PlainGRU)
        assert isinstance(trainer.vae.decoder.get_submodule("rnn"), PlainGRU)
        assert isinstance(trainer.vae.decoder.get_submodule("head"), PlainHead)
        assert not any(group["fused"] for group in trainer.optimizers["model"].param_groups)
        assert isinstance(trainer.vae.decoder.get_submodule("rnn.rnn"), nn.GRU)
        first_updates(trainer)


def padding(trainer: Trainer, updates: int = 200) -> float:
    batches = [batch for step in range(updates) for batch in trainer.feed.update(step)]
    return float(np.mean([1 - batch.units / (batch.size * batch.cells) for batch in batches]))


def test_unsorted_batches_hold_everyone_once_and_more_padding() -> None:
    with on_the_bench("reference", GRU) as trainer:
        before = padding(trainer)
        TRICKS[1].undo(trainer)
        assert padding(trainer) > before + 0.1
        rows = [trainer.feed.update(step)[0].index for step in range(trainer.feed.steps_per_epoch)]
    assert torch.equal(torch.cat(rows).sort().values, torch.arange(trainer.feed.examples))


def test_the_first_updates_are_always_the_same() -> None:
    with on_the_bench("reference", GRU) as trainer:
        assert first_updates(trainer) == first_updates(trainer)
        assert trainer.progress.step == UPDATES


def test_every_row_is_a_share_of_all_tricks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tricks, "UPDATES", 1)
    rows = ablation("reference", GRU, budget=0.0)
    names = [trick.name for trick in (*TRICKS, *OTHER_WAYS)]
    assert [row["without"] for row in rows] == ["", *names, NONE, "freed memory kept"]
    assert rows[0]["share"] == 1
    assert all(row["update_mb"] > 0 for row in rows)
    for row in rows:
        assert row["share"] == pytest.approx(row["tokens_per_s"] / rows[0]["tokens_per_s"], abs=0.01)


def test_the_command_prints_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"without": "", "instead": "", "tokens_per_s": 2000, "share": 1.0, "update_mb": 1234.5}]
    monkeypatch.setattr(seqvae.bench, "ablation", lambda *_: rows)
    assert CliRunner().invoke(app, ["bench", "--ablation"]).stdout.splitlines()[-1].split() == [
        "-",
        "-",
        "2,000",
        "100",
        "%",
        "1,234",
    ]
