"""What the doctor measures, on cases whose answers are known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import trained

from seqvae.analysis.doctor.measures.curve import read_curve
from seqvae.analysis.doctor.measures.holes import find_holes
from seqvae.analysis.doctor.measures.length import explained_share
from seqvae.analysis.doctor.measures.overlap import find_overlap, leaked_rows
from seqvae.analysis.doctor.measures.rates import measure_range, requested_rate
from seqvae.analysis.doctor.measures.width import WidthTest, measure_width
from seqvae.analysis.doctor.ngram import END, START, NGramModel
from seqvae.config.loading import parse_config
from seqvae.data.image.image_store import ImageStore
from seqvae.evaluation.evaluate import validate
from seqvae.inference import TextVAE, load
from seqvae.models.latents.gaussian import DiagonalNormal


def test_ngram_probabilities_sum_to_one() -> None:
    model = NGramModel([[0, 1, 2], [0, 1, 0], [2, 2]], vocab_size=4, order=3)
    for history in ((START,), (START, 0), (0, 1), (2, 1), (3, 3), ()):
        assert sum(model.probability(token, history) for token in (0, 1, 2, END)) == pytest.approx(1.0)


def test_ngram_of_one_sentence_many_times_knows_it() -> None:
    model = NGramModel([[0, 1, 2]] * 1000, vocab_size=4, order=3)
    assert model.nll([0, 1, 2]) < 0.02
    assert model.nll([2, 1, 0]) > 10
    assert model.sample(200, longest=9).count([0, 1, 2]) > 190
    assert model.nll_per_token([[0, 1, 2]]) == pytest.approx(model.nll([0, 1, 2]) / 4)


def test_ngram_of_nothing_is_uniform() -> None:
    assert NGramModel([], vocab_size=10).nll([1, 2]) == pytest.approx(3 * math.log(10))


def test_length_explains_a_dim_that_is_the_length() -> None:
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(3, 20, (600,), generator=draw).double()
    noise = torch.randn(600, 1, generator=draw, dtype=torch.double)
    means = torch.cat([lengths[:, None], -(lengths[:, None] ** 2), noise, lengths[:, None] + 8 * noise], 1)
    shares = explained_share(means, lengths)
    assert shares[0] > 0.95
    assert shares[1] > 0.9
    assert shares[2] < 0.03
    assert 0.1 < shares[3] < 0.5  # the variance of the length is 24, that of the noise 64


def test_draws_of_the_aggregate_find_no_holes() -> None:
    draw = torch.Generator().manual_seed(0)

    def normals(n: int, shift: float = 0.0) -> torch.Tensor:
        return torch.randn(n, 3, generator=draw) * 0.8 + shift

    q = DiagonalNormal(normals(500), torch.full((500, 3), 2 * math.log(0.6)))
    codes = torch.randn(300, 3, generator=draw)  # variance .64 + .36
    assert find_holes([q], codes, torch.randn(1000, 3, generator=draw)).share < 0.05
    assert find_holes([q], codes, torch.randn(1000, 3, generator=draw) + 4).share > 0.9
    assert find_holes([q], codes, torch.randn(1000, 3, generator=draw), density=False).share < 0.2
    assert find_holes([q], codes, torch.randn(1000, 3, generator=draw) + 4, density=False).share > 0.9


def test_overlap_counts_exact_copies() -> None:
    def store(*levels: int) -> ImageStore:
        pixels = np.array(levels, np.uint8)[:, None, None, None]
        return ImageStore(pixels, np.zeros((len(levels), 0), np.float32), (), np.arange(len(levels)))

    data = SimpleNamespace(splits={"train": store(1, 2, 2, 3), "test": store(2, 9, 3, 8)})
    found = find_overlap(data)
    assert found.leaked == {"test": 0.5}
    assert found.repeated == 0.25
    assert leaked_rows(data, "test").tolist() == [True, False, True, False]


def test_examples_that_cannot_be_compared_all_differ() -> None:
    found = find_overlap(SimpleNamespace(splits={"train": range(4), "test": range(4)}))
    assert (found.leaked, found.repeated) == ({"test": 0.0}, 0.0)


def _log(path: Path, betas: list[float], values: list[float]) -> Path:
    lines = [
        line
        for i, (beta, value) in enumerate(zip(betas, values, strict=True), 1)
        for line in (
            {"kind": "train", "step": 100 * i, "beta": beta},
            {"kind": "valid", "step": 100 * i, "neg_elbo": value},
        )
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_curve_begins_where_beta_stays(tmp_path: Path) -> None:
    curve = read_curve(_log(tmp_path, [0.0, 0.5, 1.0, 1.0, 1.0], [10.0, 20.0, 30.0, 25.0, 26.0]))
    assert curve is not None
    assert curve.steps == (300, 400, 500)  # beta had not settled at 200
    assert (curve.best, curve.best_step) == (25.0, 400)
    assert curve.rise == pytest.approx(0.04)
    assert curve.late_gain == pytest.approx((30 - 26) / 30)


def test_training_batches_are_compared_between_quarters(tmp_path: Path) -> None:
    costs = [60.0, 50.0, 40.0, 40.0, 38.0, 38.0, 37.0, 36.0, 34.0, 32.0, 30.0, 28.0]
    lines = [
        {"kind": "train", "step": 100 * i, "beta": 0.5, "rate": 8.0, "distortion": cost - 8.0}
        for i, cost in enumerate(costs, 1)
    ] + [{"kind": "valid", "step": 100 * i, "neg_elbo": 50.0 - i} for i in (3, 6, 9, 12)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = read_curve(tmp_path)
    assert curve is not None
    assert (curve.middle, curve.late) == (44.0, 41.0)
    assert curve.second_half_gain == pytest.approx(6 / 44)
    assert curve.learned == pytest.approx((116 - 90) / 116)  # 40 + 38 + 38 before, 32 + 30 + 28 at the end


def test_three_validations_make_a_curve(tmp_path: Path) -> None:
    assert read_curve(_log(tmp_path, [1.0, 1.0], [3.0, 2.0])) is None


def test_width_one_is_the_model_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = trained(tmp_path_factory.getbasetemp(), "tiny-run", "remedies=[{name: constant_beta, beta: 0.01}]")
    vae = load(run, "cpu")
    batches = vae.evaluation_inputs(None, 64, 100)[1]
    found = measure_width(vae.vae, batches)
    assert found is not None
    assert found.rate[0] == pytest.approx(validate(vae.vae, batches)["rate"], rel=1e-5)
    assert found.rate[1] < found.rate[0]  # beta .01 made narrow posteriors
    assert found.gain > 0


def test_price_and_gain() -> None:
    test = WidthTest((1.0, 1.5, 2.0, 3.0), (10.0, 8.0, 7.0, 6.5), (5.0, 5.5, 7.0, 9.0))
    assert test.price == pytest.approx(0.25)
    assert test.gain == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("sets", "key", "nats"),
    [
        ("latent={name: exact_rate, nats: 3}", "latent.nats={}", 3.0),
        ("remedies=[{name: align}, {name: capacity, nats: 5}]", "remedies.1.nats={}", 5.0),
        ("remedies=[{name: constant_beta, beta: 4}]", "remedies.0.beta=1", None),
    ],
)
def test_what_holds_the_rate(sets: str, key: str, nats: float | None) -> None:
    found = requested_rate(parse_config({}, [sets]))
    assert found is not None
    assert (found.key, found.nats) == (key, nats)


@pytest.mark.parametrize("sets", ["latent.dim=4", "latent={name: exact_rate, nats: [2, 8]}"])
def test_what_does_not_hold_the_rate(sets: str) -> None:
    assert requested_rate(parse_config({}, [sets])) is None


def test_the_range_of_a_variable_rate_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp()
    vae = load(trained(base, "doctor-range", "latent={name: exact_rate, dim: 4, nats: [1, 4]}"), "cpu")
    assert isinstance(vae, TextVAE)
    found = measure_range(vae, "test")
    assert found is not None
    assert (found.low, found.high) == (1.0, 4.0)
    assert found.lost == 1.0  # nothing is reconstructed after 40 updates
    assert found.median is None
