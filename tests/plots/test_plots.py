"""Every figure names its axes, draws all its input, and refuses what it cannot draw."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqvae import plots
from seqvae.errors import UserError
from seqvae.plots.style import colour, dashes, marker

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.random((7, 1, 8, 8))
LINES = [
    {"kind": "train", "step": step, "rate": 9.0 - step / 20, "distortion": 500.0 / step, "beta": step / 100}
    for step in range(10, 101, 10)
] + [{"kind": "valid", "step": step, "rate": 3.0, "distortion": 6.0, "active_units": 4} for step in (50, 100)]
STRIPS = RANDOM.random((3, 5, 1, 8, 8))
# name: what draws it, its horizontal axis and its vertical one
FIGURES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "reconstructions": (lambda: plots.reconstructions(PICTURES, 1 - PICTURES, 4), "", ""),
    "samples": (lambda: plots.samples(torch.rand(7, 3, 6, 4, requires_grad=True), 3), "", ""),
    "interpolation": (lambda: plots.interpolation(STRIPS), "t, fraction of the way", ""),
    "codes": (
        lambda: plots.codes(RANDOM.normal(size=(50, 2)), np.arange(50) % 3, "digit"),
        "$z_{0}$",
        "$z_{1}$",
    ),
    "manifold": (
        lambda: plots.manifold(RANDOM.random((3, 3, 8, 8)), plots.manifold_axis(3)),
        "$z_{0}$",
        "$z_{1}$",
    ),
    "tsne": (
        lambda: plots.tsne(RANDOM.normal(size=(50, 2)), ["a", "b"] * 25),
        "t-SNE, first coordinate (no unit)",
        "t-SNE, second coordinate (no unit)",
    ),
    "traversals": (
        lambda: plots.traversals(STRIPS, [0.1, 2.0, 1.0], np.linspace(-3, 3, 5)),
        "value of the coordinate",
        "",
    ),
    "posterior": (
        lambda: plots.posterior(RANDOM.normal(size=(100, 6)), np.ones(6)),
        "value of the coordinate",
        "density",
    ),
    "kl-per-dim": (lambda: plots.kl_per_dim([0.5, 2.0, 0.001]), "latent dim, sorted by KL", "KL (nats)"),
    "gain-by-position": (
        lambda: plots.gain_by_position({"gru": [2.0, 1.0], "transformer": [1.0]}),
        "position of the token",
        "gain from the own code (nats)",
    ),
    "curves": (lambda: plots.curves({"a": LINES, "b": LINES[:12]}), "step", "rate (nats)"),
    "rate-distortion": (
        lambda: plots.rate_distortion({"a": [(1, 9), (2, 8)], "b": [(0, 10)]}, {"dial": [(1, 9), (4, 7)]}),
        "rate (nats)",
        "distortion (nats)",
    ),
    "against-rate": (
        lambda: plots.against_rate({"PPL": {"run": [(2, 9), (64, 8)]}}, {"PPL": {"real": 7.0}}),
        "rate (nats)",
        "PPL",
    ),
    "needs": (
        lambda: plots.minimum_rates([2.0, 3.5, 9.0, None], 64, "sentences"),
        "rate needed for reconstruction (nats)",
        "sentences",
    ),
    "ladder": (lambda: plots.rate_ladder(PICTURES[:3], STRIPS, [2, 4, 8, 16, 32]), "rate (nats)", ""),
}


def words(figure: Any) -> list[str]:
    """All that is written in a figure."""
    from matplotlib.text import Text

    return [text for t in figure.findobj(Text) if (text := t.get_text())]


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def wall(figure: Any) -> Any:
    """The one image of a figure made of pictures."""
    return figure.axes[0].images[0].get_array()


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_is_drawn_and_says_what_its_axes_are(name: str, tmp_path: Path) -> None:
    made, x, y = FIGURES[name]
    figure = made()
    assert not {x, y} - {""} - set(words(figure))
    file = plots.save(figure, tmp_path / f"{name}.png")
    assert file.read_bytes().startswith(b"\x89PNG")
    from matplotlib.image import imread

    pixels = imread(file)[..., :3]
    assert pixels.std() > 0.02  # not one colour
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edge.min() == 1.0  # nothing is cut off


def test_pdf_is_the_same_file_every_time(tmp_path: Path) -> None:
    made = FIGURES["kl-per-dim"][0]
    first, second = (plots.save(made(), tmp_path / f"{n}.pdf").read_bytes() for n in "ab")
    assert first.startswith(b"%PDF")
    assert first == second


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("a.jpg", r"a picture's file got a.jpg: end it with .png or .pdf"),
        ("a", "end it with .png or .pdf"),
        ("nowhere/a.png", "cannot write .*nowhere.* give a file in a folder that exists"),
    ],
)
def test_a_file_that_cannot_be_written(file: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message.replace("got a.jpg", "got 'a.jpg'")):
        plots.save(FIGURES["kl-per-dim"][0](), tmp_path / file)
    assert list(tmp_path.iterdir()) == []


def test_pairs_are_drawn_below_each_other() -> None:
    figure = plots.reconstructions(PICTURES, 1 - PICTURES, columns=4)
    shown = wall(figure)
    assert shown.shape == (4 * 9 + 1, 4 * 9 + 1, 3)  # two blocks of two rows, a line of one pixel between
    assert np.allclose(shown[1:9, 10:18, 0], PICTURES[1, 0])
    assert np.allclose(shown[10:18, 10:18, 0], 1 - PICTURES[1, 0])
    assert np.allclose(shown[19:27, 1:9, 0], PICTURES[4, 0])
    assert (shown[19:27, 29:36] == 1).all()  # seven pairs leave one place empty
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["original", "returned"] * 2


def test_colours_are_kept_and_clipped() -> None:
    picture = np.zeros((1, 3, 8, 8))
    picture[:, 1] = 7.0
    assert (wall(plots.samples(picture))[1:9, 1:9] == [0, 1, 0]).all()


def test_manifold_grows_upwards_and_holds_the_same_mass() -> None:
    grid = np.zeros((3, 3, 8, 8))
    grid[0, 2] = 1.0  # the lowest z₁, the highest z₀
    shown = wall(plots.manifold(grid, plots.manifold_axis(3)))
    assert (shown[-9:-1, -9:-1] == 1).all()
    assert (shown[1:9, -9:-1] == 0).all()
    from statistics import NormalDist

    mass = [NormalDist().cdf(z) for z in plots.manifold_axis(4)]
    assert np.diff(mass) == pytest.approx([0.25] * 3)


def test_traversals_are_sorted_by_kl() -> None:
    strips = np.stack([np.full((2, 8, 8), v) for v in (0.0, 0.5, 1.0)])
    figure = plots.traversals(strips, [0.1, 2.0, 1.25], [-3, 3], rows=2)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        "$z_{1}$  2.00 nats",
        "$z_{2}$  1.25 nats",
    ]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["-3", "3"]
    assert wall(figure)[[1, 10], 1, 0].tolist() == [0.5, 1.0]


def test_traversals_of_two_models_are_drawn_side_by_side() -> None:
    strips = np.stack([np.full((2, 8, 8), v) for v in (0.0, 0.5, 1.0)])
    figure = plots.traversals_beside({"a": (strips, [3, 2, 1]), "b": (strips[:2], [1, 4])}, [-3, 3])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    assert [len(axes.get_yticklabels()) for axes in figure.axes] == [3, 2]
    assert figure.axes[1].get_yticklabels()[0].get_text() == "$z_{1}$  4.00 nats"
    with pytest.raises(UserError, match="2 x 2 pictures for 3 dims"):
        plots.traversals_beside({"a": (strips, [3, 2, 1]), "b": (strips[:2], [1, 4, 1])}, [-3, 3])


def test_few_whole_numbers_are_classes_and_others_a_scale() -> None:
    points = RANDOM.normal(size=(60, 2))
    assert legend(plots.codes(points, np.arange(60) % 3, "digit")) == ["0", "1", "2"]
    assert legend(plots.codes(points, torch.arange(60) % 2, "digit")) == ["0", "1"]
    with_missing = np.where(np.arange(60) < 9, np.nan, np.arange(60) % 2)
    assert legend(plots.codes(points, with_missing)) == ["0", "1"]
    assert legend(plots.codes(points, ["yes", "no"] * 30)) == ["no", "yes"]
    assert legend(plots.codes(points, np.arange(60) % 2 == 0)) == ["False", "True"]
    scaled = plots.codes(points, np.arange(60.0), "length (words)")
    assert not scaled.legends
    assert "length (words)" in words(scaled)


def test_kinds_keep_their_own_look() -> None:
    assert len({(colour(i), marker(i)) for i in range(70)}) == 70
    assert len({(colour(i), str(dashes(i))) for i in range(40)}) == 40


def test_tsne_keeps_neighbours_and_follows_its_seed() -> None:
    groups = np.repeat(np.eye(3) * 50, 10, axis=0)
    codes = torch.tensor(groups + RANDOM.normal(size=groups.shape))
    laid = plots.tsne_embedding(codes, seed=1)
    assert laid.shape == (30, 2)
    near = np.linalg.norm(laid[:, None] - laid[None], axis=-1) + np.eye(30) * 1e9
    assert (near.argmin(1) // 10 == np.arange(30) // 10).all()
    assert np.array_equal(laid, plots.tsne_embedding(codes, seed=1))


def test_posterior_is_a_density_beside_its_prior() -> None:
    z = RANDOM.normal(size=(4000, 3))
    figure = plots.posterior(z, [0.5, 3.0, 1.0], panels=2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "$z_{1}$  3.00 nats",
        "$z_{2}$  1.00 nats",
    ]
    bars = figure.axes[0].patches
    assert sum(b.get_height() * b.get_width() for b in bars) == pytest.approx(1.0)
    assert max(figure.axes[0].lines[0].get_ydata()) == pytest.approx(1 / np.sqrt(2 * np.pi))
    learned = plots.posterior(z, prior=z * 0.1)
    assert max(learned.axes[0].lines[0].get_ydata()) > 2
    assert legend(learned) == ["codes of the data", "prior"]


def test_bars_are_sorted_and_summed() -> None:
    axes = plots.kl_per_dim(torch.tensor([0.5, 2.0, 0.001])).axes[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([2.0, 0.5, 0.001])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "0", "2"]
    assert axes.get_title(loc="left") == "rate 2.50 nats, 2 of 3 dims above 0.01 nats"


def test_curves_draw_training_and_validation() -> None:
    rate, distortion, beta, units = plots.curves({"run": LINES}).axes
    assert [list(line.get_xdata()) for line in rate.lines[:2]] == [list(range(10, 101, 10)), [50, 100]]
    assert list(distortion.lines[1].get_ydata()) == [6.0, 6.0]
    assert list(beta.lines[0].get_ydata()) == [step / 100 for step in range(10, 101, 10)]
    assert list(units.lines[1].get_ydata()) == [4, 4]
    assert distortion.get_ylim()[1] < 30  # 50 at step 10 would press the rest flat
    names = legend(plots.curves({"a": LINES, "b": LINES}))
    assert names == ["a", "b", "validation", "training batches"]


def test_rate_distortion_marks_means_and_seeds() -> None:
    figure = plots.rate_distortion(
        {"a": [(1, 9), (3, 7)], "b": [(0, 10)], "ae": []}, {"dial": [(4, 7), (1, 9)]}, {"lm": 10.0}
    )
    assert legend(figure) == ["dial", "a", "b", "equal -ELBO (nats)", "lm (10.00)"]
    marks = [c.get_offsets().tolist() for c in figure.axes[0].collections]
    assert marks == [[[1, 9], [3, 7]], [[2, 8]], [[0, 10]]]
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(drawn["dial"].get_xdata()) == [1, 4]  # in the order of the rates
    for line in drawn.values():
        if str(line.get_label()).startswith(("_", "lm")):
            assert len(set(np.round(line.get_xdata() + line.get_ydata(), 6))) == 1


def report(variant: str, rate: float, **more: Any) -> dict[str, Any]:
    return {"variant": variant, "rate": rate, "distortion": 10 - rate, "neg_elbo": 10.0, **more}


def test_reports_of_a_variable_rate_run_are_joined_and_a_language_model_is_a_level() -> None:
    dials = [report(f"d at {n}", n, dial="d", nats=n, seed=s) for n in (1.0, 4.0) for s in (0, 1)]
    dials[3]["distortion"] = 8.0  # the second seed at 4 nats
    others = [report("lm", 0.0), report("ae", 0.0) | {"rate": None}, report("a", 2.0), report("a", 3.0)]
    figure = plots.rate_distortion_of([*dials, *others], ["lm"])
    assert legend(figure) == ["d", "lm", "a", "equal -ELBO (nats)", "-ELBO of lm (10.00)"]
    line = next(line for line in figure.axes[0].lines if line.get_label() == "d")
    assert line.get_xydata().tolist() == [[1, 9], [4, 7]], "the mean over seeds at each rate"
    assert len(figure.axes) == 1


def test_metrics_are_drawn_next_to_the_plane_if_they_were_measured() -> None:
    dials = [report("d", n, dial="d", nats=n, token_accuracy=n / 10, mi_low=None) for n in (1.0, 4.0)]
    figure = plots.rate_distortion_of([*dials, report("lm", 0.0)], ["lm"], beside=True)
    assert [axes.get_ylabel() for axes in figure.axes[:-1]] == ["-ELBO (nats)", "token accuracy (share)"]
    elbo, accuracy = figure.axes[:2]
    assert [list(line.get_ydata()) for line in elbo.lines] == [
        [10, 10],
        [10, 10],
    ]  # of the variable-rate run, and a level
    assert [list(line.get_ydata()) for line in accuracy.lines] == [[0.1, 0.4]]
    assert [tick.get_text() for tick in accuracy.get_xticklabels()] == ["1", "2", "4"]


def test_minimum_rates_count_examples_that_are_not_reconstructed() -> None:
    axes = plots.minimum_rates([2.0, 2.0, 4.0, 4.0, 8.0, None], 16).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 6
    assert axes.patches[-1].get_height() == 1
    assert axes.patches[-1].get_x() > 16
    assert axes.get_title(loc="left") == "median 4.0 nats, 1 of 6 are not reconstructed at 16"
    assert (
        plots.minimum_rates([None, None], 16).axes[0].get_title(loc="left")
        == "2 of 2 are not reconstructed at 16"
    )


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: plots.minimum_rates([], 16), "minimum_rates got no example"),
        (lambda: plots.against_rate({}), "against_rate got no numbers"),
        (lambda: plots.rate_ladder(PICTURES, STRIPS, [1, 2]), "3 x 5 pictures for 7 originals and 2 rates"),
        (lambda: plots.samples(np.zeros((0, 1, 8, 8))), r"shape \(0, 1, 8, 8\): give \(N, C, H, W\)"),
        (lambda: plots.samples(np.zeros((2, 4, 8, 8))), "C 1 or 3"),
        (lambda: plots.reconstructions(PICTURES, PICTURES[:3]), "give pairs"),
        (lambda: plots.interpolation(STRIPS, ["one"]), "1 names for 3 rows"),
        (lambda: plots.manifold(STRIPS, plots.manifold_axis(3)), "3 x 5 pictures and an axis of 3"),
        (lambda: plots.traversals(STRIPS, [1, 2], range(5)), "3 x 5 pictures for 2 dims and 5 values"),
        (lambda: plots.codes(np.zeros((9, 3))), r"shape \(9, 3\): give \(N, 2\), or embed codes by t-SNE"),
        (lambda: plots.codes(np.zeros((9, 2)), [1, 2]), r"labels of shape \(2,\) for 9 points"),
        (lambda: plots.tsne_embedding(np.zeros((3, 8))), "at least 5 of them"),
        (lambda: plots.posterior(np.zeros(5)), r"posterior got codes of shape \(5,\)"),
        (lambda: plots.posterior(np.zeros((5, 2)), [1.0]), r"kl of shape \(1,\) for codes of 2 dims"),
        (lambda: plots.kl_per_dim([]), r"give one per dim"),
        (lambda: plots.curves({"a": []}), "no line of metrics.jsonl"),
        (lambda: plots.rate_distortion({"ae": []}), "no point"),
        (lambda: plots.gain_by_position({}), "no numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made()


def test_a_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"need the package matplotlib: `pip install 'seqvae\[plots\]'`"):
        plots.kl_per_dim([1.0])


def test_importing_the_plots_loads_nothing_heavy() -> None:
    code = (
        "import sys, seqvae.plots; print([m for m in ('matplotlib', 'torch', 'sklearn') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_pyplot_is_left_alone() -> None:
    FIGURES["curves"][0]()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
