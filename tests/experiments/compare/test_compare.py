"""A comparison trains missing runs, evaluates all alike, and averages seeds correctly."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import DEVICE

from seqvae.analysis.sample_perplexity import SmallLM
from seqvae.cli import main
from seqvae.errors import UserError
from seqvae.experiments.compare import (
    Comparison,
    Table,
    available_slots,
    compare,
    load_comparison,
    run_specs,
    running,
    summarise,
)
from seqvae.experiments.compare.measuring import measurements
from seqvae.experiments.compare.table import as_markdown, draw_pictures, make_caption, write_table
from seqvae.utils.jobs.scheduler import Slot
from seqvae.utils.reporter import Silent
from seqvae.utils.signals import Interrupted

SMALL = {"hidden": 8, "embed": 8}
BASE: dict[str, Any] = {
    "data": {"name": "sentences", "examples": 64, "max_tokens": 12},
    "encoder": {"name": "gru", **SMALL},
    "latent": {"name": "gaussian", "dim": 2},
    "decoder": {"name": "gru", **SMALL},
    "remedies": [{"name": "word_dropout", "rate": 0.2}],
    "train": {"steps": 2, "batch_size": 16, "precision": "fp32", "device": DEVICE, "valid_examples": 16},
}
LM: dict[str, Any] = {"latent": {"name": "none"}, "remedies": []}
# found when the model is built, not when its names are read
BAD: dict[str, Any] = {"remedies": [{"name": "capacity", "nats": 3}, {"name": "target_rate", "nats": 3}]}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    file = tmp_path / "base.yaml"
    file.write_text(yaml.safe_dump(BASE), encoding="utf-8")
    return file


def comparison(base: Path, seeds: tuple[int, ...] = (0, 1), **variants: dict[str, Any]) -> Comparison:
    return Comparison(base=str(base), seeds=list(seeds), samples=2, test_examples=8, variants=variants)


class Heard(Silent):
    """Remembers which runs began."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        """One line."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """One loud line."""
        self.warnings.append(text)

    @property
    def began(self) -> list[str]:
        """`variant, seed N` in the order in which they began."""
        return [note.partition("] ")[2] for note in self.notes if note.startswith("[")]


def test_variants_are_laid_over_the_base(base: Path, tmp_path: Path) -> None:
    made = run_specs(comparison(base, wide={"latent": {"dim": 5}}, lm=LM), tmp_path / "out")
    assert [(e.variant, e.config.train.seed) for e in made] == [
        ("wide", 0),
        ("lm", 0),
        ("wide", 1),
        ("lm", 1),
    ]
    assert made[0].path == tmp_path / "out" / "wide" / "seed-0"
    assert made[0].config.latent.arguments == {"dim": 5}
    assert made[0].config.remedies[0].name == "word_dropout"
    assert (made[1].config.latent.name, made[1].config.latent.arguments) == ("none", {})
    assert made[1].config.remedies == []


def test_a_variant_may_have_seeds_of_its_own(base: Path, tmp_path: Path) -> None:
    made = run_specs(comparison(base, (0,), a={}, b={"seeds": [0, 7]}, c={"seeds": [7]}), tmp_path)
    assert [(e.variant, e.seed) for e in made] == [("a", 0), ("b", 0), ("b", 7), ("c", 7)]
    assert [e.config.train.seed for e in made] == [0, 0, 7, 7]


def test_init_may_name_a_variant(base: Path, tmp_path: Path) -> None:
    made = run_specs(comparison(base, later={"init": {"from": "ae", "parts": ["encoder"]}}, ae={}), tmp_path)
    assert [e.config.init.run for e in made if e.config.init] == [
        str(tmp_path / "ae" / "seed-0"),
        str(tmp_path / "ae" / "seed-1"),
    ]
    assert [sorted(e.depends_on) for e in made] == [["ae, seed 0"], [], ["ae, seed 1"], []]


def test_all_runs_need_the_one_judge_of_samples(base: Path, tmp_path: Path) -> None:
    made = comparison(base, a={}, lm={**LM, "seeds": [3, 1]})
    made = made.model_copy(update={"quality": made.model_validate(
        {"base": "x", "variants": {"a": {}}, "quality": {"scorer": "lm"}}).quality})  # fmt: skip
    needs = {e.name: sorted(e.depends_on) for e in run_specs(made, tmp_path)}
    assert needs == {
        "a, seed 0": ["lm, seed 3"],
        "a, seed 1": ["lm, seed 3"],
        "lm, seed 1": ["lm, seed 3"],
        "lm, seed 3": [],
    }


def test_samples_may_be_judged_of_some_seeds_alone(base: Path) -> None:
    judged = {"quality": {"scorer": "lm", "samples": 10}, "fit_prior": "mixture", "sample_seeds": [0]}
    variants = {"a": {}, "b": {"sample_seeds": []}, "c": {"sample_seeds": [1]}, "lm": LM}
    made = Comparison.model_validate({"base": str(base), "variants": variants, **judged})
    whole = ["evaluation-20", "quality-10-lm", "evaluation-20-mixture", "quality-10-lm-mixture"]
    found = {v + str(s): [m.name for m in measurements(made, v, s)] for v in "abc" for s in (0, 1)}
    assert [run for run, names in found.items() if names == whole] == ["a0", "c1"]
    assert [run for run, names in found.items() if names == whole[:1]] == ["a1", "b0", "b1", "c0"]


def test_samples_are_judged_with_and_without_a_fitted_prior(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "seqvae.analysis.sample_perplexity.SmallLM", partial(SmallLM, embed=8, hidden=8, steps=3)
    )
    judged = {"quality": {"scorer": "lm", "samples": 20}, "fit_prior": "mixture", "sample_seeds": [0]}
    made = {"base": str(base), "samples": 2, "test_examples": 8, "seeds": [0, 1], **judged}
    columns = ["forward_ppl", "forward_ppl_fitted", "iw_nll", "iw_nll_fitted"]
    variants = {"plain": {}, "lm": {**LM, "seeds": [0]}}
    found = Comparison.model_validate({**made, "columns": columns, "variants": variants})
    plain, lm = compare(found, tmp_path / "out").rows
    assert plain["seeds"] == 2
    for column in ("forward_ppl", "forward_ppl_fitted", "iw_nll_fitted"):
        assert plain[column][0] > 0
        assert plain[column][1] is None  # of one seed
    assert lm["forward_ppl"][0] > 0
    assert lm["forward_ppl_fitted"] is None


def test_it_trains_seed_by_seed_and_shows_what_is_not_done(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, out, report = comparison(base, plain={}, lm=LM), tmp_path / "out", Heard()
    tables: list[str] = []

    def written(table: Table, out: Path) -> None:
        tables.append(table.markdown())
        write_table(table, out)

    monkeypatch.setattr("seqvae.experiments.compare.write_table", written)
    table = compare(made, out, report)
    assert report.began == ["plain, seed 0", "lm, seed 0", "plain, seed 1", "lm, seed 1"]
    assert "| plain | 1 of 2 |" in tables[0]
    assert "| lm | 0 of 2 | - | - |" in tables[0]
    assert "| lm | 1 of 2 |" in tables[1]
    assert [(row["variant"], row["seeds"]) for row in table.rows] == [("plain", 2), ("lm", 2)]
    assert "| lm | 2 |" in (out / "table.md").read_text()
    results = json.loads((out / "table.json").read_text())
    assert [(r["variant"], r["seed"], r["n"]) for r in results] == [
        ("plain", 0, 8), ("plain", 1, 8), ("lm", 0, 8), ("lm", 1, 8)]  # fmt: skip
    assert results[0]["train_steps"] == 2
    for name in ("rate-distortion.png", "curves.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")

    def never(*_: Any) -> None:
        raise AssertionError("trained twice")

    for name in ("train", "resume", "load"):
        monkeypatch.setattr(running, name, never)
    assert compare(made, out).rows == table.rows


def test_factors_are_measured_where_there_is_a_code(base: Path, tmp_path: Path) -> None:
    made, columns = comparison(base, (0,), plain={}, lm=LM), ["rate", "mig", "dci_disentanglement"]
    made = made.model_copy(update={"factors": True, "test_examples": 110, "columns": columns})
    names = [m.name for m in measurements(made, "plain", 0)]
    assert names == ["evaluation-2-first-110", "factors-first-110"]
    plain, lm = compare(made, tmp_path).rows
    assert 0 <= plain["mig"][0] <= 1
    assert 0 <= plain["dci_disentanglement"][0] <= 1
    assert lm["mig"] is lm["dci_disentanglement"] is None
    kept = json.loads((tmp_path / "plain" / "seed-0" / "report" / "factors-first-110.json").read_text())
    assert len(kept["nats_per_factor"]) == 11
    assert "n" not in kept  # that of the evaluation stays


def test_a_failure_is_listed_and_tried_again(base: Path, tmp_path: Path) -> None:
    later = {"init": {"from": "bad", "parts": ["encoder"]}}
    made, report = comparison(base, (0,), bad=BAD, after=later, plain={}), Heard()
    table = compare(made, tmp_path / "out", report)
    assert table.failures() == "2 of 3 runs failed"
    shown = (tmp_path / "out" / "table.md").read_text()
    assert shown == table.markdown()
    assert shown.rstrip().endswith(
        "- bad, seed 0: objective 'elbo': Capacity and TargetRate both reshape the whole KL: "
        "keep one of them\n- after, seed 0: it needs bad, seed 0, which failed"
    )
    assert "| plain | 1 |" in shown
    assert "| bad | 0 of 1 | -" in shown
    assert compare(made, tmp_path / "out", again := Heard()).failed.keys() == table.failed.keys()
    assert again.began == ["bad, seed 0"]


def test_a_stopped_comparison_goes_on(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = comparison(base, (0,), first={}, second={"train": {"steps": 6, "save_every": 1}})
    out = tmp_path / "out"

    class Stops(Heard):
        def note(self, text: str) -> None:
            """Ctrl-C at the end of the second run's first validation."""
            super().note(text)
            if text.startswith("step 4 "):
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped with 1 of 2 runs done: the same command goes on") as told:
        compare(made, out, Stops())
    assert told.value.signal == signal.SIGINT
    assert "| first | 1 |" in (out / "table.md").read_text()
    assert compare(made, out, report := Heard()).failed == {}
    assert report.began == ["second, seed 0"]
    assert any(note.startswith("resuming from") for note in report.notes)


def test_only_works_on_some_and_keeps_the_rest(base: Path, tmp_path: Path) -> None:
    later = {"init": {"from": "plain", "parts": ["encoder"]}}
    made, out = comparison(base, (0,), plain={}, lm=LM, later=later), tmp_path / "out"
    with pytest.raises(UserError, match="later, seed 0 needs plain, seed 0, which is not trained yet"):
        compare(made, out, only=["later"])
    compare(made, out, report := Heard(), only=["plain"])
    assert report.began == ["plain, seed 0"]
    table = compare(made, out, report := Heard(), only=["later"])
    assert report.began == ["later, seed 0"]
    assert [row["seeds"] for row in table.rows] == [1, 0, 1]
    with pytest.raises(
        UserError, match=r"--only got 'lamb', which is not a variant: .*known: later, lm, plain"
    ):
        compare(made, out, only=["lamb"])


def test_two_processes_train_alike(base: Path, tmp_path: Path) -> None:
    later = {"init": {"from": "plain", "parts": ["encoder"]}}
    made = comparison(base, (0,), plain={}, later=later)
    here = compare(made, tmp_path / "here")
    there = compare(made, tmp_path / "there", where=[Slot(DEVICE, 1), Slot(DEVICE, 1)])
    assert there.failed == {}
    for row, other in zip(here.rows, there.rows, strict=True):
        assert row["neg_elbo"] == other["neg_elbo"]
    assert compare(made, tmp_path / "there", report := Heard()).rows == there.rows  # the device is no config
    assert report.began == []


class Paced(Heard):
    """Begins its first run, says so in a file, and goes on when the other one has begun one too."""

    def __init__(self, ours: Path, theirs: Path) -> None:
        super().__init__()
        self.ours, self.theirs = ours, theirs

    def note(self, text: str) -> None:
        """One line."""
        super().note(text)
        if text.startswith("["):
            self.ours.touch()
            while not self.theirs.exists():
                time.sleep(0.01)


def another(made: Comparison, out: Path) -> None:
    """The second of two programs that work on the same comparison."""
    report = Paced(out.parent / "second", out.parent / "first")
    table = compare(made, out, report)
    (out.parent / "began.json").write_text(json.dumps(report.began))
    assert table.failed == {}


def test_two_programs_share_a_comparison(base: Path, tmp_path: Path) -> None:
    later = {"init": {"from": "plain", "parts": ["encoder"]}}
    made, out = comparison(base, (0, 1), plain={}, later=later), tmp_path / "out"
    second = multiprocessing.get_context("spawn").Process(target=another, args=(made, out))
    second.start()
    while not (tmp_path / "second").exists() and second.is_alive():
        time.sleep(0.01)
    table = compare(made, out, report := Paced(tmp_path / "first", tmp_path / "second"))
    second.join()
    assert second.exitcode == 0
    assert table.failed == {}
    began = json.loads((tmp_path / "began.json").read_text())
    assert began[0] == "plain, seed 0"
    assert report.began[0] == "plain, seed 1"
    assert sorted([*began, *report.began]) == sorted(entry.name for entry in run_specs(made, out))
    shown = (out / "table.md").read_text()  # of whichever ended last
    assert "| plain | 2 |" in shown
    assert "| later | 2 |" in shown
    assert not list(out.rglob(".*.claim"))  # the file of the lock may stay


def test_torchrun_is_not_for_comparisons(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="compare distributes its runs itself: start it without torchrun"):
        compare(comparison(base, plain={}), tmp_path / "out")


def test_places_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    assert available_slots([], 1) == []
    assert available_slots([], 3) == [Slot(None, 2)] * 3
    assert available_slots(["cpu", "cpu"], 1) == [Slot("cpu", 4)] * 2
    with pytest.raises(UserError, match="got --devices cpu and --workers 2: give one of them"):
        available_slots(["cpu"], 2)
    with pytest.raises(UserError, match="device got 'tpu'"):
        available_slots(["tpu"], 1)


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert len(available_slots(["cuda", "cuda:1"], 1)) == 2
    with pytest.raises(UserError, match="device got 'cuda:2', but only 2 are seen here"):
        available_slots(["cuda:2"], 1)


def test_a_run_of_another_config_is_not_overwritten(base: Path, tmp_path: Path) -> None:
    compare(comparison(base, (0,), plain={}), tmp_path)
    with pytest.raises(UserError, match="holds a run of another config"):
        compare(comparison(base, (0,), first={}, plain={"latent": {"dim": 3}}), tmp_path)
    assert not (tmp_path / "first").exists()


def test_a_run_whose_config_has_numbers_as_keys_is_the_same_run(base: Path, tmp_path: Path) -> None:
    kept = {"remedies": [{"name": "attribute_regularization", "attributes": {0: "length"}}]}
    made = comparison(base, (0,), a=kept)
    compare(made, tmp_path / "out")
    (entry,) = run_specs(made, tmp_path / "out")
    running.require_same_config(entry)


def test_seeds_become_mean_and_deviation() -> None:
    results = [{"variant": "a", "rate": r, "mi_low": None} for r in (1.0, 2.0, 3.0)]
    (row,) = summarise(results)
    assert row["rate"] == pytest.approx((2.0, 1.0))
    assert row["mi_low"] is None
    assert summarise(results[:1], ["rate", "forward_ppl"])[0] == {
        "variant": "a", "seeds": 1, "rate": (1.0, None), "forward_ppl": None}  # fmt: skip


def test_numbers_in_the_table() -> None:
    row = {"rate": (2.0, 0.5), "ppl": (1234.5, None), "active_units": (32.0, None), "mi_low": (-0.001, None)}
    shown = as_markdown([{"variant": "a", "seeds": 1, "bleu": None, **row}], ["bleu", *row])
    assert shown.splitlines() == [
        "| variant | seeds | bleu | rate | ppl | active_units | mi_low |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| a | 1 | - | 2.00 ± 0.50 | 1,234 | 32 | 0.00 |",
    ]


def test_the_caption_states_the_protocol(base: Path, tmp_path: Path) -> None:
    made = comparison(base, (0,), plain={"seeds": [0, 11, 2]}, longer={"train": {"steps": None, "epochs": 5}})
    runs = run_specs(made, tmp_path)
    assert make_caption(made, runs, [{"variant": "plain", "data": "test", "n": 3761}]) == (
        "sentences: the first 3,761 examples of the test split; IW-NLL with K = 2; seeds 0, 2, 11; "
        "2 steps, 5 epochs per run. Nats per example, mean ± s.d. over seeds."
    )
    assert "not measured yet" in make_caption(made, runs, [])


def test_pictures_need_no_result_and_say_so(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = Table("", ["rate"], [], {"a": 1}, {})
    assert draw_pictures(nothing, [], tmp_path) == [
        "rate-distortion.png is left out: rate_distortion got no point: give runs with a rate (an "
        "autoencoder has none)",
        "curves.png is left out: curves got no line of metrics.jsonl: give a run that has trained some steps",
    ]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    some = Table("", ["rate"], [{"variant": "a", "run": "x", "rate": 1.0, "distortion": 2.0}], {"a": 1}, {})
    assert "left out: pictures need the package matplotlib" in draw_pictures(some, [], tmp_path)[0]
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: x\nvariants: {}", "variants"),
        ("bas: x\nvariants: {a: {}}", "did you mean 'base'"),
        ("base: nowhere.yaml\nvariants: {a: {}}", "no config file nowhere.yaml"),
        ("base: text/default\nvariants: {a: {latnt: {dim: 1}}}", "variant 'a': unknown key 'latnt'"),
        ("base: text/default\nvariants: {a: {seeds: []}}", "variants.a.seeds"),
        (
            "base: text/default\ncolumns: [rate, iw_nl]\nvariants: {a: {}}",
            "columns: unknown column 'iw_nl': did you mean 'iw_nll'?",
        ),
        ("base: text/default\nquality: {samples: 10}\nvariants: {a: {}}", "quality.scorer: Field required"),
        (
            "base: text/default\ncolumns: [rate, mig]\nvariants: {a: {}}",
            "the file: column 'mig' is measured only with `factors: true`: add it",
        ),
        ("base: x\nfit_prior: spline\nvariants: {a: {}}", "fit_prior: Input should be 'mixture' or 'flow'"),
        (
            "base: text/default\nvariants: {a: {}, b: {seeds: [1], init: {from: a, parts: [encoder]}}}",
            "variant 'b' starts from 'a' of the same seed, which has seeds [0]: give 'a' seed 1 too",
        ),
        (
            "base: text/default\nvariants:\n  a: {init: {from: b, parts: [encoder]}}\n"
            "  b: {init: {from: a, parts: [encoder]}}",
            "these runs depend on one another: a, seed 0; b, seed 0",
        ),
    ],
)  # fmt: skip
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


def test_the_command_prints_the_table_and_fails_with_a_run(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "compare.yaml"
    values = {"base": str(base), "samples": 2, "test_examples": 8, "columns": ["rate", "reverse_ppl"]}
    file.write_text(
        yaml.safe_dump({**values, "variants": {"lm": LM, "bad": BAD, "left": {}}}, sort_keys=False)
    )
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(file), "--out", str(tmp_path / "out"), "--only", "lm,bad"])
    told = capsys.readouterr()
    assert "| lm | 1 | 0 | - |\n| bad | 0 of 1 | - | - |\n| left | 0 of 1 | - | - |\n" in told.out
    assert told.err.splitlines()[-1].startswith("seqvae: 1 of 3 runs failed: the end of the table says why")
    main_again = ["compare", str(file), "--out", str(tmp_path / "out"), "--only", "lm"]
    with pytest.raises(SystemExit, match="0"):
        main(main_again)
    assert "Failed" not in capsys.readouterr().out


def test_the_shipped_comparisons_hold(root: Path, tmp_path: Path) -> None:
    for file in sorted((root / "configs" / "compare").glob("*.yaml")):
        assert run_specs(load_comparison(file), tmp_path)
