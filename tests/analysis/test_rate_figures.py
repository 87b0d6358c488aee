"""One run at many rates: the chosen default, sweeps, minimum rates, figures and tables."""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from run_cli import run_cli
from tiny import SENTENCES, Listener, card, config, language_model, tiny_run, trained
from tiny_text import text_batch, tiny_vae

from seqvae.analysis.figures import draw_figure
from seqvae.analysis.measurements import PlotInputs
from seqvae.analysis.minimum_rate import (
    ReconstructionTarget,
    find_minimum_rates,
    image_minimum_rates,
    measure_distortions,
)
from seqvae.analysis.rate_figures import table
from seqvae.analysis.rate_ladder import reconstruct_at_rates, reconstruct_images_at_rates
from seqvae.config.loading import parse_config
from seqvae.errors import UserError
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.rate_sweep import (
    describe_choice,
    evaluate_at_rates,
    find_best_rate,
    rate_grid,
    resolve_rates,
    trained_range,
)
from seqvae.experiments.compare import Comparison, compare
from seqvae.inference import TextVAE, load
from seqvae.inference.default_rate import choose_rate
from seqvae.inference.inputs import Inputs, load_inputs
from seqvae.models.latents.exact_rate import ExactRate
from seqvae.models.sampling import with_rate
from seqvae.runs.run_folder import load_run
from seqvae.training.loop import train

DIAL = "latent={name: exact_rate, dim: 4, nats: [1, 16]}"
RATES = [1.0, 2.0, 4.0, 8.0, 16.0]
NO_DIAL = "this run is not variable-rate: a rate can be chosen"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.getbasetemp(), "tiny-dial", DIAL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model(tmp_path_factory)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Any:
    values = {
        "modality": "image",
        "data": {"name": "blob"},
        "encoder": {"name": "mlp", "hidden": [32]},
        "latent": {"name": "exact_rate", "dim": 4, "nats": [1, 16]},
        "decoder": {"name": "mlp", "hidden": [32]},
        "train": {"steps": 60, "batch_size": 32, "lr": 1e-2, "device": "cpu", "valid_examples": 50},
    }
    path = tmp_path_factory.getbasetemp() / "tiny-picture-dial"
    return load(train(parse_config(values), path), "cpu")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.mark.parametrize(
    ("low", "high", "steps", "rates"),
    [
        (2, 64, 1, [2, 4, 8, 16, 32, 64]),
        (0.5, 4, 1, [0.5, 1, 2, 4]),
        (2, 8, 2, [2, 2.82843, 4, 5.65685, 8]),
        (3, 3, 1, [3]),
        (4, 5, 1, [4, 5]),
    ],
)
def test_a_ladder_doubles_from_end_to_end(low: float, high: float, steps: int, rates: list[float]) -> None:
    assert rate_grid(low, high, steps) == rates
    odd = rate_grid(2, 50)
    assert (odd[0], odd[-1]) == (2, 50)
    ratios = [b / a for a, b in pairwise(odd)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-4)
    assert 1.5 < ratios[0] < 2.5


def test_rates_of_a_variable_rate_run() -> None:
    latent = ExactRate(4, nats=(2.0, 64.0))
    assert trained_range(latent) == (2, 64)
    assert resolve_rates(latent, [32, 4]) == [4, 32]
    with pytest.raises(UserError, match="rate got 65 nats: this run was trained for 2 to 64"):
        resolve_rates(latent, [2, 65])
    with pytest.raises(UserError, match=NO_DIAL):
        resolve_rates(ExactRate(4, nats=6.0))


def test_numbers_at_a_rate_are_those_of_evaluation() -> None:
    vae = tiny_vae(latent={"name": "exact_rate", "dim": 3, "nats": [1, 16]})
    rows = evaluate_at_rates(vae, [text_batch()], [2.0, 16.0], samples=4)
    for row in rows:
        report = evaluate(with_rate(vae, row["nats"]), [text_batch()], samples=4)
        assert {key: report[key] for key in row if key != "nats"} == {
            k: v for k, v in row.items() if k != "nats"
        }
    chosen = find_best_rate(vae, [text_batch()], samples=4)
    assert [row["nats"] for row in chosen["found"]] == RATES
    lowest = min(row["iw_nll"] for row in chosen["found"])
    assert chosen["nats"] == max(row["nats"] for row in chosen["found"] if row["iw_nll"] <= 1.01 * lowest)
    assert (chosen["by"], chosen["samples"], chosen["examples"]) == ("iw_nll", 4, 7)


def test_a_training_chooses_the_default_rate(tmp_path: Path) -> None:
    heard = Listener()
    path = train(config(DIAL, "train.steps=20"), tmp_path / "run", heard)
    chosen = card(path)["rate"]
    assert [row["nats"] for row in chosen["found"]] == RATES
    lowest = min(row["iw_nll"] for row in chosen["found"])
    assert chosen["nats"] == max(row["nats"] for row in chosen["found"] if row["iw_nll"] <= 1.01 * lowest)
    assert describe_choice(chosen) in heard.notes
    assert describe_choice(chosen).startswith(
        f"default rate {chosen['nats']:g} nats, the highest with an IW-NLL within"
    )
    vae = TextVAE.from_pretrained(path)
    assert float(vae.vae.latent.rate) == chosen["nats"]
    assert vae.evaluate(samples=1, examples=20)["rate"] == pytest.approx(chosen["nats"], abs=1e-4)


def test_runs_without_a_range_have_no_default_rate_to_choose(plain: Path) -> None:
    assert "rate" not in card(plain)
    with pytest.raises(UserError, match=NO_DIAL):
        choose_rate(load_run(plain))


def test_pictures_choose_one_too(pictures: Any) -> None:
    chosen = card(pictures.run.path)["rate"]["nats"]
    assert chosen in RATES
    assert pictures.evaluate(samples=1, examples=20)["rate"] == pytest.approx(chosen, abs=1e-4)


def test_another_default_is_chosen_afterwards(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from seqvae.config.schema import Component
    from seqvae.evaluation.prior_fitting import PriorFitConfig
    from seqvae.inference.posthoc_prior_fit import FitBudget, fit_posthoc_prior
    from seqvae.inference.posthoc_priors import load_posthoc_prior

    spec = Component.model_validate({"name": "mixture", "components": 2})
    fit_posthoc_prior(load_run(copy), spec, "mix", PriorFitConfig(epochs=1), FitBudget(100, 10, 2))
    code, out, err = run_cli(capsys, "rate", copy, "--choose", "--rates", "2,8", "--device", "cpu")
    assert code == 0, err
    assert out.startswith("default rate ")
    assert [row["nats"] for row in card(copy)["rate"]["found"]] == [2, 8]
    run = load_run(copy)
    assert float(run.vae.latent.rate) == card(copy)["rate"]["nats"]
    load_posthoc_prior(copy, "mix", run.vae.latent)  # its codes are the same ones
    assert run_cli(capsys, "show", copy)[1].splitlines()[-1] == f"# {out.strip()}"


def test_a_ladder_is_the_reconstruction_at_each_rate(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vae = TextVAE.from_pretrained(run)
    found = reconstruct_at_rates(vae, Inputs(SENTENCES))
    assert [rung.nats for rung in found] == RATES * len(SENTENCES)
    assert found[3].reconstruction == vae.reconstruct(SENTENCES[:1], rate=8.0)[0].reconstruction
    code, out, err = run_cli(capsys, "rate", run, *SENTENCES, "--sweep", "--rates", "2,16", "--device", "cpu")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[3:5]] == ["2", "16"]
    assert len(out.splitlines()) == 6 * len(SENTENCES)
    code, out, _ = run_cli(capsys, "rate", run, "a cat", "--sweep", "--json", "--device", "cpu")
    assert [row["nats"] for row in json.loads(out)] == RATES
    code, _, err = run_cli(capsys, "rate", run, SENTENCES[0], "--sweep", "--rates", "2,a")
    assert (code, "--rates got '2,a': write numbers with commas, as 2,4,8" in err) == (2, True)


def test_a_ladder_of_pictures(pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = load_inputs(pictures, "valid", 3)
    strips, rates = reconstruct_images_at_rates(pictures, shown)
    assert (strips.shape, rates) == ((3, 5, *pictures.codec.shape), RATES)
    torch.testing.assert_close(strips[:, 2], pictures.reconstruct(shown.x, rate=4.0))
    file, run = tmp_path / "ladder.png", pictures.run.path
    asked = ("rate", run, "--data", "valid", "--examples", 3, "--sweep", "--device", "cpu")
    assert run_cli(capsys, *asked, "--output", file)[:2] == (0, f"{file}\n")
    assert file.read_bytes().startswith(b"\x89PNG")
    code, _, err = run_cli(capsys, *asked)
    assert (code, "holds pictures: say where to with --output FILE.png" in err) == (2, True)
    code, _, err = run_cli(capsys, "rate", run, "--sweep", "--device", "cpu")
    expected = "give pictures as arguments, --input FILE or --data NAME, one of the three"
    assert (code, expected in err) == (2, True)


def test_pictures_are_scored_from_files(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = load_inputs(pictures, "valid", 2)
    names = [tmp_path / f"{place}.png" for place in range(2)]
    for name, pixels in zip(names, shown.x, strict=True):
        Image.fromarray(pixels[0]).save(name)
    asked = ("score", pictures.run.path, *names, "--samples", 2, "--device", "cpu")
    code, out, err = run_cli(capsys, *asked, "--json")
    assert code == 0, err
    found = pictures.score(shown.x, 2)
    assert json.loads(out) == [{"picture": str(i), **vars(score)} for i, score in enumerate(found)]
    assert run_cli(capsys, *asked)[1].split()[-1] == "1"
    assert run_cli(capsys, *asked)[1].split()[5] == "picture"


def test_sentences_are_drawn_into_no_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (("rate", run, "a cat", "--sweep"), ("traverse", run, "a cat", "--dim", 0)):
        code, out, err = run_cli(capsys, *asked, "--device", "cpu", "--output", tmp_path / "a.png")
        assert (code, out) == (2, "")
        assert err.endswith(f"seqvae: {run} writes sentences, which are printed: leave out --output\n")


def test_needs_over_a_corpus(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vae = TextVAE.from_pretrained(run)
    assert len(load_inputs(vae, "train")) == 200
    assert load_inputs(vae, "valid", 3).x == load_inputs(vae, "valid").x[:3]
    file, picture = tmp_path / "some.txt", tmp_path / "needs.png"
    file.write_text("\n".join(SENTENCES) + "\n")
    assert len(load_inputs(vae, str(file))) == len(SENTENCES)
    asked = (
        "rate",
        run,
        "--data",
        "valid",
        "--examples",
        6,
        "--accuracy",
        0.2,
        "--rounds",
        2,
        "--device",
        "cpu",
    )
    code, out, err = run_cli(capsys, *asked, "--json", "--output", picture)
    assert code == 0, err
    order = [math.inf if row["nats"] is None else row["nats"] for row in json.loads(out)]
    assert (len(order), order) == (6, sorted(order))
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, err = run_cli(capsys, "rate", run, "a cat", "--data", "valid")
    assert (code, "--data valid names all examples: leave out the arguments and --input" in err) == (2, True)


def test_needs_by_distortion_are_met_there_and_not_below(pictures: Any) -> None:
    shown = load_inputs(pictures, "valid", 12)
    full, empty = (
        torch.tensor(measure_distortions(pictures, shown, torch.full((12,), r))) for r in (16.0, 1.0)
    )
    limit = float(0.5 * (full.median() + empty.median()))
    found = image_minimum_rates(pictures, shown, ReconstructionTarget(distortion=limit, rounds=10))
    some = [need for need in found if need.nats is not None and 1 < need.nats < 16]
    assert some
    assert all(need.distortion <= limit for need in some)
    rows = [need.picture for need in some]
    below = torch.tensor([need.nats for need in some]).double() * 0.98
    assert all(cost > limit for cost in measure_distortions(pictures, shown.rows(torch.tensor(rows)), below))
    batch = next(iter(pictures._batches(shown.x[:1], 0)))
    with torch.no_grad():
        loud = pictures.with_rate(16.0).vae
        known = -float(loud.likelihood(loud.posterior(batch).mean[None]).log_prob(batch))
    assert float(full[0]) == pytest.approx(known, rel=1e-5)
    with pytest.raises(
        UserError, match="a picture is never exactly reconstructed: give the nats it may cost"
    ):
        find_minimum_rates(pictures, shown, ReconstructionTarget())


def test_needs_of_sentences_by_distortion(run: Path) -> None:
    vae = TextVAE.from_pretrained(run)
    everything = find_minimum_rates(vae, Inputs(SENTENCES), ReconstructionTarget(distortion=1e4, rounds=1))
    assert [need.nats for need in everything] == [1.0] * 4
    none = find_minimum_rates(vae, Inputs(SENTENCES), ReconstructionTarget(distortion=0.0, rounds=1))
    assert [need.nats for need in none] == [None] * 4
    drawn = measure_distortions(vae, Inputs(SENTENCES), torch.full((4,), 4.0), draws=3)
    assert all(math.isfinite(cost) for cost in drawn)
    assert drawn != measure_distortions(vae, Inputs(SENTENCES), torch.full((4,), 4.0))


def test_the_plane_holds_all_rates_and_the_other_runs(run: Path, plain: Path, lm: Path) -> None:
    others = tuple(load(path, "cpu") for path in (plain, lm))
    asked = PlotInputs(load(run, "cpu"), examples=20, samples=2, others=others, rates=(2.0, 8.0))
    rows = table(asked, "rate-distortion")
    assert [row["variant"] for row in rows] == ["tiny-dial", "tiny-dial", "tiny-run", "tiny-lm"]
    assert [row.get("nats") for row in rows] == [2, 8, None, None]
    assert rows[0]["rate"] == pytest.approx(2, abs=1e-4)
    assert rows[1]["iw_nll"] == load(run, "cpu").evaluate(rate=8.0, samples=2, examples=20)["iw_nll"]
    figure = draw_figure(asked, "rate-distortion")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:3] == ["tiny-dial", "tiny-run", "tiny-lm"]
    assert named[-1].startswith("-ELBO of tiny-lm (")
    assert [axes.get_ylabel() for axes in figure.axes[:4]] == [
        "-ELBO (nats)", "IW-NLL (nats)", "MI (nats)", "token accuracy (share)"
    ]  # fmt: skip


def test_a_run_without_a_range_has_validations_and_no_table(plain: Path) -> None:
    asked = PlotInputs(load(plain, "cpu"), examples=20)
    assert draw_figure(asked, "rate-distortion").axes
    for name in ("rate-distortion", "codes"):
        with pytest.raises(UserError, match=f"plot '{name}' has no table here: leave out --json"):
            table(asked, name)
    with pytest.raises(UserError, match=NO_DIAL):
        draw_figure(asked, "needs")


def test_names_that_are_alike_get_their_folders(run: Path, tmp_path: Path) -> None:
    paths = [Path(shutil.copytree(run, tmp_path / name / "seed-0")) for name in ("a", "b")]
    first, second = (load(path, "cpu") for path in paths)
    assert PlotInputs(first, others=(second,)).names() == ["a/seed-0", "b/seed-0"]


def test_plots_print_their_numbers(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rd.png"
    asked = (
        "plot",
        run,
        "rate-distortion",
        "--rates",
        "4",
        "--examples",
        10,
        "--samples",
        2,
        "--device",
        "cpu",
    )
    code, out, err = run_cli(capsys, *asked, "--output", file, "--json")
    assert code == 0, err
    printed = json.loads(out)
    assert printed["picture"] == str(file)
    assert printed["rows"][0]["nats"] == 4
    needs = ("plot", run, "needs", "--examples", 5, "--output", file, "--device", "cpu")
    assert run_cli(capsys, *needs)[:2] == (0, f"{file}\n")


def test_pictures_are_drawn_at_the_rate_asked_for(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("plot", pictures.run.path, "reconstructions", "--examples", 20, "--device", "cpu")
    drawn = []
    for nats in (1, 16):
        file = tmp_path / f"{nats}.png"
        assert run_cli(capsys, *asked, "--rate", nats, "--output", file)[0] == 0
        drawn.append(file.read_bytes())
    assert drawn[0] != drawn[1]


def test_sample_quality_over_rates(run: Path, lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqvae.analysis import measurements as module

    def fake(vae: TextVAE, scorer: TextVAE, draws: int, seed: int) -> dict[str, float]:
        nats = float(vae.vae.latent.rate)
        return {"forward_ppl": 10 + nats, "reverse_ppl": abs(nats - 4) + 20, "self_bleu": 30.0}

    monkeypatch.setattr(module, "sample_quality", fake)
    monkeypatch.setattr(
        module, "real_quality", lambda *_: dict.fromkeys(("forward_ppl", "reverse_ppl", "self_bleu"), 9.0)
    )
    made = PlotInputs(load(run, "cpu"), others=(load(lm, "cpu"),), draws=50)
    rows = table(made, "sample-quality")
    assert [(row["nats"], row["forward_ppl"]) for row in rows] == [*((r, 10 + r) for r in RATES), (None, 9.0)]
    figure = draw_figure(made, "sample-quality")
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["tiny-dial: best reverse PPL at 4 nats", "real sentences"]
    with pytest.raises(
        UserError, match="sample-quality needs a text run and a language model: give its run by --with"
    ):
        draw_figure(PlotInputs(load(run, "cpu")), "sample-quality")


def test_traverse_takes_a_rate(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("traverse", run, "a cat", "--dim", 0, "--device", "cpu", "--json")
    found = [run_cli(capsys, *asked, "--rate", nats)[1] for nats in (1, 16)]
    assert all(len(json.loads(out)) == 7 for out in found)
    code, _, err = run_cli(capsys, *asked, "--rate", 17)
    assert (code, "rate got 17 nats: this run was trained for 1 to 16" in err) == (2, True)


def compared(tmp_path: Path, **variants: dict[str, Any]) -> Any:
    small = {"name": "gru", "embed": 8, "hidden": 8}
    base = {
        "data": {"name": "sentences", "examples": 64, "max_tokens": 12},
        "encoder": small,
        "latent": {"name": "exact_rate", "dim": 3, "nats": [1, 16]},
        "decoder": small,
        "train": {"steps": 2, "batch_size": 16, "device": "cpu", "valid_examples": 16},
    }
    file = tmp_path / "base.yaml"
    file.write_text(json.dumps(base))
    return Comparison(base=str(file), seeds=[0, 1], samples=2, test_examples=8, variants=variants)


def test_a_comparison_has_a_row_for_each_rate_of_a_run(tmp_path: Path) -> None:
    told = compared(tmp_path, dial={"rates": [2, 8]}, only={"latent": {"nats": 8}})
    made = compare(told, tmp_path / "out")
    rows = {row["variant"]: row for row in made.rows}
    assert list(rows) == ["dial at 2", "dial at 8", "only"]
    assert [row["seeds"] for row in rows.values()] == [2, 2, 2]
    assert [row["rate"][0] for row in rows.values()] == pytest.approx([2, 8, 8], abs=1e-4)
    vae = TextVAE.from_pretrained(tmp_path / "out" / "dial" / "seed-1")
    known = vae.evaluate(rate=8.0, samples=2, examples=8)
    found = next(r for r in made.results if (r["variant"], r["seed"]) == ("dial at 8", 1))
    assert (found["neg_elbo"], found["dial"], found["nats"]) == (known["neg_elbo"], "dial", 8)
    assert found["train_steps"] == 2
    assert (tmp_path / "out" / "rate-distortion.png").is_file()
    more = compared(tmp_path, dial={"rates": [2, 8, 16]}, only={"latent": {"nats": 8}})
    trained_at = (tmp_path / "out" / "dial" / "seed-0" / "model.safetensors").stat().st_mtime_ns
    assert len(compare(more, tmp_path / "out").results) == 8, "a rate more is measured, nothing is trained"
    assert (tmp_path / "out" / "dial" / "seed-0" / "model.safetensors").stat().st_mtime_ns == trained_at


def test_rates_of_a_variant_need_a_range(tmp_path: Path) -> None:
    told = compared(tmp_path, only={"latent": {"nats": 8}, "rates": [2]})
    with pytest.raises(UserError, match="variant 'only' has rates, but its latent has no range of rates"):
        compare(told, tmp_path / "out")
