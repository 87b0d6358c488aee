"""The benchmark counts the products of known layers correctly, and prints all its figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_text import SPECIAL
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

from seqvae.benchmarks import FIGURES, bench, format_table
from seqvae.benchmarks.clock import Work, run_directly, runner_of
from seqvae.benchmarks.operations import run_alone
from seqvae.benchmarks.presets import (
    LONGEST,
    MEAN_LENGTH,
    bench_config,
    bench_data,
    bench_trainer,
    generate_sentences,
)
from seqvae.benchmarks.recurrences import Recurrence, library_layers
from seqvae.benchmarks.roofline import Limit, LimitTimes, record
from seqvae.benchmarks.workloads import make_workload
from seqvae.cli import app
from seqvae.errors import UserError
from seqvae.models.text.recurrent import GRUDecoder, GRUEncoder, LSTMEncoder
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
    assert record(lambda: layer(x)).flops == 2 * ROWS * INPUTS * OUTPUTS
    assert record(lambda: layer(x).sum().backward()).flops == 3 * 2 * ROWS * INPUTS * OUTPUTS


def test_attention_is_two_products() -> None:
    heads, queries, keys, width = 2, 3, 5, 4
    q, k = torch.randn(ROWS, heads, queries, width), torch.randn(ROWS, heads, keys, width)
    found = record(lambda: nn.functional.scaled_dot_product_attention(q, k, k))
    assert found.flops == 2 * 2 * ROWS * heads * queries * keys * width


@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_counts_its_gradients(transposed: bool) -> None:
    """Each place of the smaller side meets each number of the weight once, for each of the three results."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(INPUTS, OUTPUTS, 4, stride=2, padding=1)
    x = torch.randn(ROWS, INPUTS, 6, 8, requires_grad=True)
    places = 6 * 8 if transposed else 3 * 4
    once = 2 * ROWS * places * INPUTS * OUTPUTS * 16
    assert record(lambda: layer(x)).flops == once
    found = record(lambda: layer(x).sum().backward())
    assert found.flops == 3 * once
    assert [operation.flops for operation in found.operations] == [once, 2 * once]
    first = record(lambda: layer(x.detach()).sum().backward())  # the gradient of its input is not asked for
    assert first.flops == 2 * once
    run_alone(found.operations, CPU)()


def test_an_update_is_its_products(tmp_path: Path) -> None:
    """The reference model, counted by hand: an output layer, two GRUs, z in and out."""
    config = bench_config("reference", SMALL)
    made = make_workload(bench_trainer(config, bench_data(config), tmp_path / "run"))
    (rows, steps), hidden, embed, words, dim = made.batch.targets.shape, 8, 6, 60, 16
    cells = rows * steps
    output = cells * words * (3 * hidden + 1)  # and the gradient of the bias
    layers = 2 * 3 * cells * (embed + hidden) * 3 * hidden
    codes = 3 * rows * hidden * 2 * dim + 3 * rows * dim * hidden
    assert record(made.plain_update).flops == 2 * (output + layers + codes)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_recurrence_is_counted_with_its_steps(kind: str) -> None:
    """Two layers: products of inputs at once, those of states step by step, forward and backward."""
    steps, gates = 4, {"gru": 3, "lstm": 4}[kind] * OUTPUTS
    encoder = {"gru": GRUEncoder, "lstm": LSTMEncoder}[kind](9, embed=INPUTS, hidden=OUTPUTS, layers=2)
    x, mask = torch.randn(ROWS, steps, INPUTS, requires_grad=True), torch.ones(ROWS, steps, dtype=torch.bool)
    widths = (INPUTS + OUTPUTS) + 2 * OUTPUTS
    once = 2 * ROWS * steps * widths * gates
    forward = record(lambda: encoder.pool_states(x, mask))
    assert (forward.operations, forward.flops) == ([], once)
    both = record(lambda: encoder.pool_states(x, mask).sum().backward())
    assert both.flops == 3 * once
    (first, back) = both.recurrences
    assert (first.backward, back.backward) == (False, True)
    for one in both.recurrences:
        assert len(one.step_products()) == 2 * steps
        assert all(part.factors[0].size[0] == ROWS for part in one.step_products())
    library_layers(both.recurrences, CPU)()


def test_samples_share_the_products_of_their_words() -> None:
    """K states of a sentence read the same words: their inputs meet the weights once."""
    samples, steps, dim = 6, 4, 2
    decoder = GRUDecoder(9, SPECIAL, dim, embed=INPUTS, hidden=OUTPUTS, z_to=("steps",)).eval()
    with torch.no_grad():
        state = decoder.start(torch.randn(samples * ROWS, dim))
        inputs = torch.zeros(ROWS, steps, dtype=torch.long)
        found = record(lambda: decoder.read(inputs, state))
    states = samples * ROWS * (steps * OUTPUTS + dim)
    assert found.flops == 2 * (ROWS * steps * INPUTS + states) * 3 * OUTPUTS


# the limit


def test_pieces_of_a_limit_run_by_a_runner_and_are_summed() -> None:
    """What is timed is what the runner made; without a recurrence there are products alone."""
    x = torch.randn(ROWS, INPUTS)
    made: list[Work] = []

    def runner(work: Work) -> Work:
        made.append(work)
        return lambda: "ran"

    limit = Limit(record(lambda: x @ x.T), CPU, runner)
    assert list(limit.works) == ["products"]
    assert limit.works["products"]() == "ran"
    made[0]()
    assert limit.of({"products": 0.5, "work": 1.0}).limit == 0.5
    assert limit.of({"products": 0.5, "work": 1.0}).floor == 0.5


def test_a_recurrence_adds_its_steps() -> None:
    encoder = GRUEncoder(9, embed=INPUTS, hidden=OUTPUTS)
    x, mask = torch.randn(ROWS, 3, INPUTS, requires_grad=True), torch.ones(ROWS, 3, dtype=torch.bool)
    limit = Limit(record(lambda: encoder.pool_states(x, mask).sum().backward()), CPU)
    assert list(limit.works) == ["recurrences", "chain"]
    for work in limit.works.values():
        work()
    assert runner_of(CPU) is run_directly


def test_the_limit_takes_the_faster_of_plain_steps_and_a_library() -> None:
    """A ratio could pass 1 if a fused layer beat what is called its limit."""
    assert LimitTimes(1.0, 0.5, 0.75).limit == 1.5
    assert LimitTimes(1.0, 0.5, 0.75).floor == 1.75
    assert LimitTimes(1.0, 0.5, 0.75, 0.6).limit == 1.5
    assert LimitTimes(1.0, 0.5, 0.75, 0.6).floor == 1.6
    assert LimitTimes(1.0, 0.5, 0.75, 0.25).limit == LimitTimes(1.0, 0.5, 0.75, 0.25).floor == 1.25
    assert LimitTimes(0.001, 0.0005).milliseconds() == {"products": 1.0, "recurrences": 0.5}


@pytest.mark.parametrize("backward", [False, True])
def test_steps_of_a_chain_wait_for_each_other(backward: bool) -> None:
    """Numbers stay of one size, so that no step is slow for what it computes."""
    one = Recurrence("GRU", 1, 50, ROWS, ROWS, INPUTS, 0, 16, torch.float32, backward)
    seen: list[float] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            seen.append(float(out.abs().max()))
            return out

    chain = one.chain(CPU)
    with Watch():
        chain()
    assert len([value for value in seen if value > 0]) >= 2 * 50
    assert 1e-4 < min(seen[-2:]) <= max(seen[-2:]) < 10


def test_ratios_cannot_pass_one_on_an_update() -> None:
    """On one thread process time is counted: the products alone are less than the update that has them."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        found = bench("reference", [*SMALL, "tokenizer.vocab_size=2000"], budget=0.2, cold=False, use=False)
    finally:
        torch.set_num_threads(threads)
    assert 0 < found["train_limit_ratio"] <= found["train_floor_ratio"] < 1
    assert set(found["train_limit_ms"]) == {"products", "recurrences", "chain"}
    assert "decode_tokens_per_s" not in found


def test_pictures_are_measured_beside_their_limit() -> None:
    small = ["encoder.channels=2", "encoder.hidden=4", "decoder.channels=2", "decoder.hidden=4"]
    sets = [*small, "train.batch_size=4", "train.precision=fp32", "train.device=cpu"]
    found = bench("conv", sets, budget=0.01)
    assert found["train_pictures_per_s"] > 0
    assert found["train_limit_ratio"] > 0
    assert found["train_limit_ms"].keys() == {"products"}
    assert found["cold_start_s"] is None
    assert {"data", "encoder", "decoder", "optimizer", "rest", "whole"} <= found["step_ms"].keys()
    assert "train_pictures_per_s" in [name for name, *_ in format_table(found)]


def _losses(trainer: Trainer, windows: int, steps: int) -> list[float]:
    """Means of the loss in nats per sentence over `windows` times `steps` updates."""
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
        ("reference", "modality=image", "preset reference is of modality text"),
        ("conv", "modality=text", "preset conv is of modality image"),
        ("reference", "train.batchsize=1", "did you mean 'batch_size'"),
    ],
)
def test_mistakes_are_refused(preset: str, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench_config(preset, [override])
