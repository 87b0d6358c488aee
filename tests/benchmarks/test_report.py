"""The benchmark counts the products of known layers rightly, and prints what it promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from seqvae.benchmarks import FIGURES, bench, format_table
from seqvae.benchmarks.presets import (
    LONGEST,
    MEAN_LENGTH,
    bench_config,
    bench_data,
    bench_trainer,
    generate_sentences,
)
from seqvae.benchmarks.roofline import count_flops, record_products, replay_products
from seqvae.benchmarks.workloads import make_workload
from seqvae.cli import app
from seqvae.errors import UserError
from seqvae.training.trainer import Trainer

ROWS, INPUTS, OUTPUTS = 5, 3, 7
CPU = torch.device("cpu")
SMALL = (
    "tokenizer.vocab_size=60",
    "encoder.embed=6",
    "encoder.hidden=8",
    "decoder.embed=6",
    "decoder.hidden=8",
    "train.batch_size=4",
    "train.precision=fp32",
    "train.device=cpu",
)


def test_a_linear_layer_is_three_products() -> None:
    layer, x = nn.Linear(INPUTS, OUTPUTS), torch.randn(ROWS, INPUTS, requires_grad=True)
    assert count_flops(record_products(lambda: layer(x))) == 2 * ROWS * INPUTS * OUTPUTS
    assert count_flops(record_products(lambda: layer(x).sum().backward())) == 3 * 2 * ROWS * INPUTS * OUTPUTS


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_a_recurrence_is_counted_step_by_step(name: str) -> None:
    steps, gates = 4, {"gru": 3, "lstm": 4}[name]
    with torch.no_grad():
        rnn = {"gru": nn.GRU, "lstm": nn.LSTM}[name](INPUTS, OUTPUTS, batch_first=True)
        found = count_flops(record_products(lambda: rnn(torch.randn(ROWS, steps, INPUTS))))
    assert found == 2 * ROWS * steps * (INPUTS + OUTPUTS) * gates * OUTPUTS


def test_attention_is_two_products() -> None:
    heads, queries, keys, width = 2, 3, 5, 4
    q, k = torch.randn(ROWS, heads, queries, width), torch.randn(ROWS, heads, keys, width)
    found = record_products(lambda: nn.functional.scaled_dot_product_attention(q, k, k))
    assert count_flops(found) == 2 * 2 * ROWS * heads * queries * keys * width


def test_an_update_is_its_products(tmp_path: Path) -> None:
    """The reference model, counted by hand: an output layer, two GRUs, z in and out."""
    config = bench_config("reference", SMALL)
    made = make_workload(bench_trainer(config, bench_data(config), tmp_path / "run"))
    (rows, steps), hidden, embed, words, dim = made.batch.targets.shape, 8, 6, 60, 16
    cells = rows * steps
    output = cells * words * (3 * hidden + 1)  # and the gradient of the bias
    layers = 2 * 3 * cells * (embed + hidden) * 3 * hidden
    codes = 3 * rows * hidden * 2 * dim + 3 * rows * dim * hidden
    assert count_flops(record_products(made.update)) == 2 * (output + layers + codes)


def _losses(trainer: Trainer, windows: int, steps: int) -> list[float]:
    """Means of the loss in nats a sentence over `windows` times `steps` updates."""
    means = []
    for _ in range(windows):
        for _ in range(steps):
            trainer.update()
        means.append(trainer.meter.means(trainer.names, trainer.unit)["total"])
    return means


@pytest.mark.long
def test_losses_in_bf16_follow_those_in_fp32(tmp_path: Path) -> None:
    """At the reference setting, means of 100 steps stay within 0.3 % over the first 1,000."""
    data, means = bench_data(bench_config("reference")), {}
    for precision in ("fp32", "bf16"):
        config = bench_config("reference", [f"train.precision={precision}", "train.device=cpu"])
        means[precision] = _losses(bench_trainer(config, data, tmp_path / precision), 10, 100)
    assert means["bf16"] == pytest.approx(means["fp32"], rel=3e-3)
    assert means["bf16"] != means["fp32"]


def test_products_run_alone() -> None:
    x = torch.randn(ROWS, INPUTS)
    replay_products(record_products(lambda: x @ x.T), CPU)()


def test_made_up_sentences_are_as_long_as_the_treebanks() -> None:
    data = generate_sentences(500, 4000)
    assert float(data.train.lengths.mean()) == pytest.approx(MEAN_LENGTH, rel=0.03)
    assert 1 <= data.train.lengths.min() <= data.train.lengths.max() <= LONGEST
    assert 4 <= data.train.flat.min() <= data.train.flat.max() < 500
    assert data.tokenizer.vocab_size == 500


def test_figures_are_all_there() -> None:
    found = bench("reference", SMALL, budget=0.01, cold=False)
    assert set(FIGURES) <= found.keys()
    assert all(found[name] > 0 for name in FIGURES if name not in ("precision", "device"))
    assert (found["precision"], found["device"]) == ("fp32", "cpu")
    assert {"data", "encoder", "decoder", "output", "optimizer", "whole"} <= found["step_ms"].keys()
    assert found["beam_cost"] == pytest.approx(
        found["decode_tokens_per_s"] / found["beam5_tokens_per_s"], abs=0.01
    )
    speeds = found["iw_token_samples_per_s"], found["iw_loop_token_samples_per_s"]
    assert found["iw_speedup"] == pytest.approx(speeds[0] / speeds[1], abs=0.01)
    rows = {name: cells for name, *cells in format_table(found)}
    assert rows["train_tokens_per_s"][1].endswith("%")
    assert rows["beam_cost"] == [str(found["beam_cost"]), ""]


def test_the_command_prints_json() -> None:
    sets = [word for override in SMALL for word in ("--set", override)]
    result = CliRunner().invoke(app, ["bench", "--json", "--no-cold", "--seconds", "0.01", *sets])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert set(FIGURES) <= found.keys()


@pytest.mark.parametrize(
    ("preset", "override", "message"),
    [
        ("referrence", "train.lr=1", "did you mean 'reference'"),
        ("reference", "modality=image", "bench measures text models"),
        ("reference", "train.batchsize=1", "did you mean 'batch_size'"),
    ],
)
def test_mistakes_are_told(preset: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench_config(preset, [override])
