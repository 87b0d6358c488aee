"""A run on images from the config to the API, the command line and every figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import assert_same_runs, metrics
from tiny_pictures import BASE
from typer.testing import CliRunner

from seqvae import ImageVAE, TextVAE
from seqvae.analysis.figures import FIGURES, draw_figure
from seqvae.analysis.measurements import PlotInputs
from seqvae.analysis.traversal import Traversal, traverse
from seqvae.cli import app
from seqvae.cli.plot import NAMES
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.errors import UserError
from seqvae.inference import load
from seqvae.inference.arithmetic import combine_codes
from seqvae.inference.latent_files import read_codes
from seqvae.inference.neighbors import build_index, find_neighbors
from seqvae.inference.projector import export_codes
from seqvae.training.loop import resume, train


def config(*sets: str) -> RunConfig:
    return parse_config(BASE, sets)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(), tmp_path_factory.mktemp("image") / "blob")


@pytest.fixture(scope="module")
def vae(run: Path) -> ImageVAE:
    return ImageVAE.from_pretrained(run)


@pytest.fixture(scope="module")
def pictures(vae: ImageVAE) -> torch.Tensor:
    return PlotInputs(vae, examples=12).originals(12)


def test_codes_and_back(vae: ImageVAE, pictures: torch.Tensor) -> None:
    z = vae.encode(pictures)
    assert z.shape == (12, 3)
    assert torch.equal(z, vae.encode(pictures.numpy()))
    assert torch.allclose(z[:2], vae.encode(list(pictures[:2])))
    assert not torch.equal(z, vae.encode(pictures, sample=True))
    back = vae.decode(z)
    assert back.shape == pictures.shape
    assert 0 <= float(back.min()) <= float(back.max()) <= 1
    assert torch.equal(back, vae.reconstruct(pictures))
    path = vae.interpolate(pictures[0], pictures[1], 5)
    assert torch.allclose(path[0], back[0], atol=1e-5)
    assert torch.allclose(path[-1], back[1], atol=1e-5)


def test_samples_do_not_depend_on_their_number(vae: ImageVAE) -> None:
    assert torch.allclose(vae.sample(2), vae.sample(5)[:2], atol=1e-6)
    drawn = vae.sample(3, draw=True)
    assert set(drawn.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(drawn[:1], vae.sample(1, draw=True))


def test_files_are_pictures_too(vae: ImageVAE, pictures: torch.Tensor, tmp_path: Path) -> None:
    levels = np.uint8(pictures[0, 0].numpy() * 255)
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert torch.equal(vae.encode([tmp_path / "a.png"]), vae.encode(levels[None, None]))


def test_the_command_line_encodes_pictures(
    vae: ImageVAE, run: Path, pictures: torch.Tensor, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.uint8(pictures.numpy() * 255))
    for ending in ("npy", "parquet"):
        told = ["--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / f"z.{ending}")]
        assert CliRunner().invoke(app, ["encode", str(run), *told], catch_exceptions=False).exit_code == 0
        assert torch.allclose(read_codes(tmp_path / f"z.{ending}"), vae.encode(pictures), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("sample",), "plot RUN samples"),
        (("reconstruct", "a"), "plot RUN reconstructions"),
        (("interpolate", "a", "b"), "plot RUN interpolation"),
        (("decode", "--input", "z.npy"), "ImageVAE.decode"),
    ],
)
def test_verbs_of_sentences_say_what_draws_pictures(run: Path, words: tuple[str, ...], instead: str) -> None:
    with pytest.raises(UserError, match=f"is a model of images, which has no sentences: .*{instead}"):
        CliRunner().invoke(app, [words[0], str(run), *words[1:]], catch_exceptions=False)


def test_tools_on_the_codes_of_pictures(vae: ImageVAE, pictures: torch.Tensor, tmp_path: Path) -> None:
    index = build_index(vae, pictures, "kl")
    assert [row[0].place for row in find_neighbors(vae, pictures[3:5], index, 2)] == [3, 4]
    total = combine_codes(vae, [(1, pictures[0]), (-1, pictures[1]), (0.5, pictures[2])])
    z = vae.encode(pictures[:3])
    assert torch.allclose(total, z[0] - z[1] + z[2] / 2, atol=1e-5)
    files = export_codes(vae, tmp_path / "projector", "test", 9)
    assert {file.name for file in files} >= {"tensors.tsv", "metadata.tsv", "sprite.png"}
    with Image.open(tmp_path / "projector" / "sprite.png") as sprite:
        assert sprite.size == (3 * vae.codec.shape[2], 3 * vae.codec.shape[1])
    lines = (tmp_path / "projector" / "metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t") == list(vae.embedded_factors)
    assert len(lines) == 10


def test_what_is_no_picture_is_refused(vae: ImageVAE, run: Path) -> None:
    with pytest.raises(UserError, match=r"pictures have shape \(2, 3, 4, 4\): this model reads \(N, 1, "):
        vae.encode(torch.zeros(2, 3, 4, 4))
    with pytest.raises(UserError, match=r"codes have shape \(2, 7\): this model reads \(N, 3\)"):
        vae.decode(torch.zeros(2, 7))
    with pytest.raises(UserError, match="holds a model of image, not of text"):
        TextVAE.from_pretrained(run)


def test_evaluation_has_no_words(vae: ImageVAE) -> None:
    report = vae.evaluate(samples=4, examples=30)
    assert report["n"] == report["pictures"] == 30
    assert report["ppl"] is report["bleu"] is report["tokens"] is None
    assert report["neg_elbo"] == pytest.approx(report["rate"] + report["distortion"])
    assert 0 < report["squared_error"] < 1
    bits = report["iw_nll"] / np.log(2) / vae.codec.shape[1] / vae.codec.shape[2]
    assert report["bits_per_dim"] == pytest.approx(bits)


def test_factors_are_the_runs_labels(vae: ImageVAE) -> None:
    report = vae.evaluate(samples=2, examples=120, factors=True)
    assert report["n"] == 120
    assert report["factors"] == ["x", "y"]
    assert set(report["nats_per_factor"]) == set(report["dim_by_factor"]) == {"x", "y"}
    spent = sum(report["nats_per_factor"].values()) + report["nats_unassigned"]
    assert spent == pytest.approx(sum(report["kl_per_dim"]), rel=1e-5)
    for score in ("mig", "sap", "dci_disentanglement", "beta_vae", "factor_vae"):
        assert 0 <= report[score] <= 1
    assert "mig" not in vae.evaluate(samples=2, examples=120)
    with pytest.raises(UserError, match="got 30 examples to measure disentanglement on: give 100 or more"):
        vae.evaluate(samples=2, examples=30, factors=True)


def test_files_have_no_factors(vae: ImageVAE, pictures: torch.Tensor, tmp_path: Path) -> None:
    np.save(tmp_path / "some.npy", np.uint8(pictures.numpy() * 255))
    with pytest.raises(UserError, match="no example has a label: factors need x, y of each of them"):
        vae.factor_scores(str(tmp_path / "some.npy"))


def test_a_saved_folder_is_the_same_model(vae: ImageVAE, pictures: torch.Tensor, tmp_path: Path) -> None:
    vae.save_pretrained(tmp_path / "copy")
    assert torch.equal(ImageVAE.from_pretrained(tmp_path / "copy").encode(pictures), vae.encode(pictures))


def test_resumes_bit_for_bit(run: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    class Stopping:
        def note(self, text: str) -> None:
            if text.startswith("step 15 "):
                raise StoppedError

        def warn(self, text: str) -> None: ...
        def advance(self, done: int, total: int, what: str) -> None: ...
        def close(self) -> None: ...

    with pytest.raises(StoppedError):
        train(config("train.save_every=10"), tmp_path / "half", Stopping())
    resume(tmp_path / "half")
    whole = train(config("train.save_every=10"), tmp_path / "whole")
    assert_same_runs(tmp_path / "half", whole)
    assert "pictures_per_s" in (run / "metrics.jsonl").read_text()
    assert metrics(run)


ELSEWHERE = ("gain-by-position", "needs", "sample-quality")  # of sentences, or of a variable-rate run


def test_the_command_names_every_plot() -> None:
    assert NAMES.replace(" or ", ", ").split(", ") == list(FIGURES)


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ELSEWHERE])
def test_every_picture_is_drawn(vae: ImageVAE, name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.png"
    arguments = ["plot", str(vae.run.path), name, "--output", str(file), "--examples", "20"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.stdout.strip() == str(file)
    with Image.open(file) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 5  # not one flat colour


def test_another_run_is_drawn_next_to_it(vae: ImageVAE, run: Path, tmp_path: Path) -> None:
    vae.save_pretrained(tmp_path / "other")
    other = ImageVAE.from_pretrained(tmp_path / "other")
    titles = [
        axes.get_title()
        for axes in draw_figure(PlotInputs(vae, examples=20, beside=other), "traversals").axes
    ]
    assert [Path(title).name for title in titles] == [run.name, "other"]
    with pytest.raises(UserError, match="which is shown already: name another run"):
        draw_figure(PlotInputs(vae, examples=20, beside=vae), "traversals")
    with pytest.raises(UserError, match="plot 'samples' shows one run: --beside is for traversals"):
        draw_figure(PlotInputs(vae, examples=20, beside=other), "samples")


def test_what_cannot_be_drawn_says_why(vae: ImageVAE, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match="its examples have no words"):
        draw_figure(PlotInputs(vae, examples=20), "gain-by-position")
    with pytest.raises(UserError, match="unknown plot 'sampels': did you mean 'samples'"):
        draw_figure(PlotInputs(vae), "sampels")
    with pytest.raises(UserError, match="unknown label 'z'"):
        draw_figure(PlotInputs(vae, label="z", examples=20), "codes")


def test_text_runs_draw_what_applies(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tiny import language_model, tiny_run

    text = load(tiny_run(tmp_path_factory), "cpu")
    for name in ("codes", "tsne", "posterior", "kl-per-dim", "gain-by-position", "curves"):
        assert draw_figure(PlotInputs(text, examples=30), name).axes
    with pytest.raises(UserError, match=r"this plot shows pictures, .* is a run of text"):
        draw_figure(PlotInputs(text), "samples")
    with pytest.raises(UserError, match=r"shows codes, .* has none"):
        draw_figure(PlotInputs(load(language_model(tmp_path_factory), "cpu")), "codes")


def test_image_runs_have_a_variable_rate_too(pictures: torch.Tensor, tmp_path: Path) -> None:
    dial = train(config("latent={name: exact_rate, dim: 3, nats: [1, 8]}", "remedies=[]"), tmp_path / "dial")
    vae = ImageVAE.from_pretrained(dial)
    for rate in (1.0, 8.0):
        assert vae.evaluate(samples=1, examples=20, rate=rate)["rate"] == pytest.approx(rate, abs=1e-4)
        assert torch.equal(vae.reconstruct(pictures, rate=rate), vae.with_rate(rate).reconstruct(pictures))
        assert vae.interpolate(pictures[0], pictures[1], 3, rate=rate).shape == (3, *pictures.shape[1:])
    assert not torch.allclose(vae.reconstruct(pictures, rate=1.0), vae.reconstruct(pictures, rate=8.0))
    with pytest.raises(UserError, match="9"):
        vae.reconstruct(pictures, rate=9.0)


def test_one_dim_of_a_picture_moves(vae: ImageVAE, tmp_path: Path) -> None:
    run, file = str(vae.run.path), tmp_path / "strip.png"
    done = CliRunner().invoke(app, ["traverse", run, "--dim", "1", "--output", str(file)])
    assert done.exit_code == 0
    with Image.open(file) as strip:
        assert strip.width > 2 * strip.height
    with pytest.raises(UserError, match="say where to with --output"):
        CliRunner().invoke(app, ["traverse", run, "--dim", "1"], catch_exceptions=False)


def test_one_thing_of_a_code_moves(vae: ImageVAE, pictures: torch.Tensor) -> None:
    z = vae.encode(pictures[:1])[0]
    codes = traverse(vae, pictures[0], Traversal(dim=2, low=-1, high=1, steps=3))
    assert codes[:, 2].tolist() == [-1, 0, 1]
    assert torch.equal(codes[:, :2], z[:2].expand(3, 2))
    x = traverse(vae, pictures[0], Traversal(attribute="x", low=0, high=2, steps=3), examples=100)
    assert torch.allclose(x[0], z, atol=1e-6)
    assert torch.allclose(x[1] - x[0], x[2] - x[1], atol=1e-5)
    for move in (Traversal(), Traversal(dim=1, attribute="x")):
        with pytest.raises(UserError, match="give --dim N or --attribute NAME, exactly one of the two"):
            traverse(vae, None, move)
    with pytest.raises(UserError, match="unknown label 'colour'"):
        traverse(vae, None, Traversal(attribute="colour"))


def test_sentences_have_a_length_to_move(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tiny import tiny_run

    run = tiny_run(tmp_path_factory)
    arguments = ["traverse", str(run), "the old dog sees a ball .", "--attribute", "length", "--steps", "3"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["-3.00", "+0.00", "+3.00"]
