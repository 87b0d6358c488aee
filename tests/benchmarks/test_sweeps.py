"""Cost curves and profile: real models at every point, and figures of the numbers."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from seqvae import plots
from seqvae.benchmarks import draw_curves, draw_profile, fit_slopes, measure_curves, profile
from seqvae.benchmarks import presets as setting
from seqvae.benchmarks.ablation import run_first_updates
from seqvae.benchmarks.clock import clock_name, time_work
from seqvae.benchmarks.corpora import corpora
from seqvae.benchmarks.presets import generate_sentences, overrides_by_preset, preset_trainer
from seqvae.benchmarks.roofline import record
from seqvae.benchmarks.sweeps import LINES, SWEEPS, parse_sweeps, workload_at
from seqvae.benchmarks.workloads import make_workload
from seqvae.cli import app
from seqvae.cli.bench import PRESETS
from seqvae.errors import UserError

TINY = (
    "tokenizer.vocab_size=60",
    *(f"{part}.{size}" for part in ("encoder", "decoder") for size in ("embed=6", "hidden=8")),
    *(f"{part}.{size}" for part in ("encoder", "decoder") for size in ("width=8", "layers=1", "heads=2")),
    "train.batch_size=4",
    "train.precision=fp32",
    "train.device=cpu",
)
GRU = overrides_by_preset(["reference", "transformer"], TINY)["reference"]
BLOCKS = overrides_by_preset(["reference", "transformer"], TINY)["transformer"]
ROWS = [
    {"sweep": "vocabulary", "line": "GRU", "at": at, "cost": 0.01 * at**2 / 1000} for at in (1000, 2000, 8000)
]


def sets(overrides: tuple[str, ...] = TINY) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


# curves


def test_sweeps_are_named_with_sizes_or_without() -> None:
    assert parse_sweeps([]) == {name: sweep.values for name, sweep in SWEEPS.items()}
    assert parse_sweeps(["length=32,4", "batch"]) == {"length": (4, 32), "batch": SWEEPS["batch"].values}


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("lenght", "did you mean 'length'"),
        ("length=4,x", "sweep length got '4,x': give whole numbers above 0, as length=16,64,256"),
        ("batch=0", "give whole numbers above 0"),
    ],
)
def test_sweeps_that_are_none(sweep: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_sweeps([sweep])


def test_every_sweep_is_measured_at_every_size() -> None:
    asked = {"length": (3,), "samples": (2,), "decoding": (2, 4), "corpus": (30,), "start": (30,)}
    texts = [f"{name}={','.join(map(str, sizes))}" for name, sizes in asked.items()]
    found = measure_curves(texts, TINY, budget=0.0)
    points = [(row["sweep"], row["line"], row["at"]) for row in found]
    assert points == [(n, line, at) for n, sizes in asked.items() for line in SWEEPS[n].lines for at in sizes]
    assert all(row["cost"] > 0 for row in found)


def test_sizes_reach_the_model_and_its_data() -> None:
    assert set(generate_sentences(60, 40, length=7).train.lengths) == {7}
    presets = {"reference": GRU, "transformer": BLOCKS}
    for name, sweep in SWEEPS.items():
        with corpora() as corpus, workload_at(sweep, "GRU", 24, presets, corpus) as made:
            trainer = made.trainer
            recurrence = trainer.vae.decoder.get_submodule("rnn")
            reached = {
                "vocabulary": trainer.data.codec.sizes["vocab_size"],
                "length": made.batch.decoder_positions - 1,
                "hidden": recurrence.hidden_size,
                "batch": made.batch.size,
                "corpus": sum(map(len, trainer.data.splits.values())),
                "start": sum(map(len, trainer.data.splits.values())),
            }
            assert reached.get(name, 24) == 24
            work, units = sweep.timed(made, 3)
            known = {"samples": 3 * made.batch.num_targets, "decoding": 8 * 3, "start": 1000}
            known["corpus"] = run_first_updates(trainer)
            assert units == known.get(name, made.batch.num_targets)
            work()


def test_corpora_stay_as_long_as_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and caches are there again at the next point, and no other cache is changed."""
    monkeypatch.setenv("SEQVAE_CACHE", "elsewhere")
    with corpora() as corpus:
        with corpus(7) as file:
            assert len(set(file.read_text().splitlines())) == 7
            own = os.environ["SEQVAE_CACHE"]
            written = file.stat().st_mtime_ns
        assert os.environ["SEQVAE_CACHE"] == "elsewhere"
        with corpus(7) as again:
            assert (again, os.environ["SEQVAE_CACHE"]) == (file, own)
            assert again.stat().st_mtime_ns == written
    assert not file.exists()


def test_so_many_words_are_written() -> None:
    for preset, own in (("reference", GRU), ("transformer", BLOCKS)):
        with preset_trainer(preset, own) as trainer:
            written = make_workload(trainer).write(3, words=11)
        assert [len(words) for words in written] == [11] * 3


def test_a_transformer_decodes_with_its_cache() -> None:
    """Products of n tokens: a n + b n^2 with the attention's small b; without a cache all would be b n^2."""
    with preset_trainer("transformer", BLOCKS) as trainer:
        made = make_workload(trainer)
        work = [record(lambda n=n: made.write(2, words=n)).flops for n in (10, 20, 30)]  # type: ignore[misc]
    b = (work[2] - 2 * work[1] + work[0]) / 200
    assert b * 20**2 < 0.2 * work[1]
    assert work[1] < 2.5 * work[0]


def test_overrides_go_where_they_belong() -> None:
    assert "encoder.hidden=8" in GRU
    assert "encoder.hidden=8" not in BLOCKS
    assert "encoder.width=8" not in GRU
    assert "train.batch_size=4" in GRU
    assert "train.batch_size=4" in BLOCKS
    with pytest.raises(UserError, match="hiden"):
        measure_curves(["batch=2"], ["encoder.hiden=8"])
    with pytest.raises(UserError, match="did you mean 'reference'"):
        overrides_by_preset(["referrence"], [])


def test_slopes_are_those_of_the_largest_sizes() -> None:
    assert list(fit_slopes(ROWS)) == [("vocabulary", "GRU", "2,000 to 8,000", "+2.00")]
    assert list(fit_slopes(ROWS[:1])) == []


def test_the_picture_has_a_panel_a_sweep_and_straight_lines() -> None:
    other = [{"sweep": "decoding", "line": line, "at": at, "cost": 5.0} for line in LINES for at in (16, 32)]
    figure = draw_curves([*ROWS, *other])
    assert [axes.get_xlabel() for axes in figure.axes] == ["vocabulary (words)", "words written"]
    assert figure.axes[0].get_ylabel() == "training, µs per token"
    assert {axes.get_xscale() + axes.get_yscale() for axes in figure.axes} == {"loglog"}
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["GRU", "Transformer", "slope in theory"]
    measured, guide = figure.axes[0].lines[:2]
    assert list(measured.get_xdata()) == [1000, 2000, 8000]
    (x0, x1), (y0, y1) = guide.get_xdata(), guide.get_ydata()
    assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(1)  # the slope of the vocabulary
    assert y1 == pytest.approx(ROWS[-1]["cost"])


# profile


def test_parts_of_an_update_are_measured_for_every_preset() -> None:
    found = profile(["reference", "transformer"], TINY, budget=0.0)
    assert list(found) == ["reference", "transformer"]
    for figures in found.values():
        step = figures["step_ms"]
        parts = ("data", "encoder", "decoder", "output", "optimizer")
        assert {*parts, "rest", "whole"} <= step.keys()
        assert step["rest"] == pytest.approx(max(0, step["whole"] - sum(step[p] for p in parts)), abs=0.01)
        assert figures["train_tokens_per_s"] > 0


def test_bars_are_shares_of_all_parts() -> None:
    step = {"data": 1, "encoder": 2, "decoder": 3, "output": 10, "optimizer": 3, "rest": 1, "whole": 20.0}
    figure = draw_profile({"a": {"step_ms": step}, "b": {"step_ms": step | {"output": 30.0, "whole": 40.0}}})
    axes = figure.axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths[:6] == pytest.approx([5, 10, 15, 50, 15, 5])
    assert sum(widths[6:]) == pytest.approx(100)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["a\n20 ms", "b\n40 ms"]
    assert "50" in [text.get_text() for text in axes.texts]


# the clock and the commands


def test_one_thread_counts_its_own_time_alone() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert time_work(lambda: time.sleep(0.2), torch.device("cpu")) < 0.1
        assert clock_name(torch.device("cpu")) == "process"
    finally:
        torch.set_num_threads(threads)


def test_the_command_knows_every_preset() -> None:
    assert set(PRESETS) == setting.PRESETS.keys()


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", "--seconds", "0.01", *arguments])


def test_the_commands_draw_and_print(tmp_path: Path) -> None:
    for name, extra in (("--curves", ["--sweep", "batch=2"]), ("--profile", ["--preset", "reference"])):
        file = tmp_path / f"{name[2:]}.png"
        result = run(name, str(file), *extra, "--json", *sets(tuple(GRU)))
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["picture"] == str(file)
        assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ablation", "--curves", "a.png"], "give one of --curves, --profile, --ablation"),
        (["--sweep", "batch"], "--sweep with --curves alone"),
        (["--curves", "a.jpg"], "end it with .png or .pdf"),
        (["--profile", "nowhere/a.png"], "give a file in a folder that exists"),
    ],
)
def test_mistakes_are_refused_before_any_measurement(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_what_cannot_be_drawn_is_refused() -> None:
    for made, message in (
        (lambda: plots.cost_curves([]), "cost_curves got no numbers"),
        (lambda: plots.cost_curves([plots.Costs("a", "b", {"c": []})]), "cost_curves got no numbers"),
        (lambda: plots.profile({}), "profile got no times"),
        (lambda: plots.profile({"a": {"whole": 3.0}}), "profile got no times"),
    ):
        with pytest.raises(UserError, match=message):
            made()
