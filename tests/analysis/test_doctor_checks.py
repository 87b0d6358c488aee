"""Each check of the doctor: silent on a healthy run, and found as soon as its own numbers are sick."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from seqvae.analysis.doctor.finding import Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.measures.curve import Curve
from seqvae.analysis.doctor.measures.holes import HoleTest
from seqvae.analysis.doctor.measures.language import LanguageTest, SampleScores
from seqvae.analysis.doctor.measures.length import LengthTest
from seqvae.analysis.doctor.measures.overlap import Overlap
from seqvae.analysis.doctor.measures.rates import RateRangeTest
from seqvae.analysis.doctor.measures.tokens import TokenFacts
from seqvae.analysis.doctor.measures.width import WidthTest
from seqvae.analysis.doctor.mend import mend
from seqvae.analysis.doctor.table import CHECKS, judge
from seqvae.build import check_config
from seqvae.config.loading import parse_config
from seqvae.config.schema import Component, RunConfig
from seqvae.errors import UserError

DIM = 8


def config(*sets: str) -> RunConfig:
    return parse_config({"latent": {"name": "gaussian", "dim": DIM}, "train": {"steps": 1000}}, sets)


REPORT = {
    "n": 400, "spectrum": [0.6] * DIM, "rate": 6.5, "distortion": 14.0, "neg_elbo": 20.5, "iw_nll": 19.2,
    "iw_samples": 20, "mi_low": 4.7, "mi_high": 5.8, "mi_n": 400, "active_units": DIM,
    "kl_per_dim": [0.8] * DIM,
    "consistent_units": DIM, "shuffle_gap": 19.9, "shuffle_gap_se": 0.4, "ess": 5.4, "heavy_weights": 0.13,
    "token_accuracy": 0.57,
}  # fmt: skip
HEALTHY = Measurements(
    config=config(),
    split="test",
    steps=1000,
    epochs=8.0,
    report=REPORT,
    train_cost=1.65,
    held_cost=1.66,
    leaked_cost=None,
    fresh_cost=1.66,
    overlap=Overlap({"valid": 0.0, "test": 0.0}, 0.0, 8000),
    curve=Curve((500, 750, 1000), (20.8, 20.65, 20.6), 31.0, 20.8, 20.65, 0.03),
    tokens=TokenFacts(0.01, 0.0, 11.4, 4.8, 0.0, 64, 20, Component(name="word"), "words are known"),
    language=LanguageTest(
        "5-grams",
        True,
        22.8,
        1.85,
        50.0,
        SampleScores(2.07, 2.23),
        SampleScores(1.97, 2.18),
        SampleScores(1.92, 2.22),
        2.06,
        2.1,
    ),
    holes=HoleTest(0.14, 3.0, torch.zeros(1, DIM), torch.zeros(1, DIM)),
    width=WidthTest((1.0, 1.5, 2.0, 3.0), (6.4, 4.2, 5.5, 16.0), (14.0, 17.1, 21.4, 34.1)),
    length=LengthTest((0.15,) * DIM, 20.0, 17.0),
)


def sick(report: dict[str, Any] | None = None, **changes: Any) -> Measurements:
    return replace(HEALTHY, report={**REPORT, **(report or {})}, **changes)


def test_a_healthy_run_has_no_finding() -> None:
    assert judge(HEALTHY) == []


LANGUAGE, CURVE, TOKENS = HEALTHY.language, HEALTHY.curve, HEALTHY.tokens
assert LANGUAGE is not None
assert CURVE is not None
assert TOKENS is not None
RISES = Curve((500, 750, 1000), (20.0, 20.5, 21.0), 31.0, 20.0, 20.5, 0.04)
NARROW = WidthTest((1.0, 1.5, 2.0, 3.0), (12.0, 9.0, 7.0, 6.0), (8.0, 8.5, 9.4, 12.0))
SICK: dict[str, Measurements] = {
    "unknown tokens": sick(tokens=replace(TOKENS, unknown=0.2)),
    "one token": sick(tokens=replace(TOKENS, single=0.9, characters=12.0)),
    "cut sentences": sick(tokens=replace(TOKENS, cut=0.3)),
    "leak": sick(overlap=Overlap({"test": 0.12}, 0.0, 8000), leaked_cost=0.9),
    "repeated": sick(overlap=Overlap({"test": 0.0}, 0.4, 8000)),
    "undertrained": sick({"iw_nll": 26.0}, curve=replace(CURVE, late=21.5)),
    "as bad as frequencies": sick({"distortion": 60.0}),
    "overtrained": sick(train_cost=1.0, curve=RISES),
    "learned by heart": sick(train_cost=1.0, curve=replace(CURVE, middle=20.7, learned=0.1)),
    "few passes": sick({"distortion": 25.0, "iw_nll": 29.0}, epochs=0.5),
    "unread": sick({"shuffle_gap": 0.2}),
    "unread without density": sick(
        {"mi_low": None, "rate": None, "shuffle_gap": 0.1, "shuffle_gap_se": 0.05}
    ),
    "empty": sick({"rate": 0.1, "mi_low": 0.02, "shuffle_gap": 0.0, "active_units": 0}),
    "empty with an effect": sick({"rate": 0.2, "mi_low": 0.2, "shuffle_gap": 20.0}),
    "empty at a cost": sick({"rate": 10.0, "mi_low": 0.02, "shuffle_gap": 0.0}),
    "length": sick(length=LengthTest((0.9,) * DIM, 3.0, 0.3)),
    "rate too large": sick({"rate": 50.0, "neg_elbo": 54.0}),
    "range too large": sick(rates=RateRangeTest(2.0, 100.0, 0.05, 15.0)),
    "rate too small": sick(
        {"rate": 2.0, "shuffle_gap": 3.0, "token_accuracy": 0.3},
        config=config("latent={name: exact_rate, dim: 8, nats: 2}"),
    ),
    "weight too large": sick(
        {"rate": 2.0, "shuffle_gap": 3.0, "token_accuracy": 0.3},
        config=config("remedies=[{name: constant_beta, beta: 4}]"),
    ),
    "range too small": sick(rates=RateRangeTest(1.0, 3.0, 0.95, None)),
    "narrow by weights": sick({"heavy_weights": 0.8, "ess": 1.6}, width=NARROW),
    "narrow by prior": sick({"consistent_units": 1}, width=NARROW),
    "holes by text": sick(
        holes=replace(HEALTHY.holes, share=0.7), language=replace(LANGUAGE, prior_text=2.6)  # type: ignore[type-var]
    ),
    "holes by rate": sick(
        {"rate": 9.0, "mi_high": 4.9, "consistent_units": 2},
        holes=replace(HEALTHY.holes, share=0.7),  # type: ignore[type-var]
        language=None,
    ),
    "poor samples": sick(language=replace(LANGUAGE, samples=SampleScores(3.1, 2.7))),
}  # fmt: skip
NAMES = {
    "unknown tokens": "tokenizer", "one token": "tokenizer", "cut sentences": "tokenizer",
    "leak": "duplicates", "repeated": "duplicates", "undertrained": "undertrained",
    "as bad as frequencies": "undertrained", "few passes": "undertrained",
    "overtrained": "overtrained", "learned by heart": "overtrained", "unread": "unread_code",
    "unread without density": "unread_code", "empty": "empty_code", "empty at a cost": "empty_code",
    "empty with an effect": "empty_code", "length": "length_only", "rate too large": "rate_too_large",
    "range too large": "rate_too_large", "rate too small": "rate_too_small",
    "weight too large": "rate_too_small", "range too small": "rate_too_small",
    "narrow by weights": "narrow_posterior", "narrow by prior": "narrow_posterior",
    "holes by text": "holes", "holes by rate": "holes", "poor samples": "poor_samples",
}  # fmt: skip


def test_every_check_has_a_sick_run() -> None:
    assert set(NAMES.values()) == {check.name for check in CHECKS}


@pytest.mark.parametrize("case", SICK)
def test_a_sick_run_has_one_finding(case: str) -> None:
    (finding,) = judge(SICK[case])
    assert finding.name == NAMES[case]
    assert finding.cause == ""
    assert len(finding.evidence) >= 2
    assert finding.effect
    assert finding.prescription or finding.advice
    assert finding.as_dict()["line"] == finding.line


@pytest.mark.parametrize("case", SICK)
def test_a_prescription_is_a_config_that_can_be_built(case: str) -> None:
    found = judge(SICK[case])
    if not found[0].prescription:
        with pytest.raises(UserError, match="no finding has config lines"):
            mend(SICK[case].config, found)
        return
    mended = mend(SICK[case].config, found)
    assert mended.config != SICK[case].config
    check_config(mended.config)


SINGLE = {
    "mutual information alone": sick({"mi_low": 0.1}),
    "gap alone": sick({"mi_low": 0.8, "shuffle_gap": 0.1}),
    "curve alone": sick(curve=replace(CURVE, late=21.5)),
    "generalisation alone": sick(train_cost=1.0),
    "batches that got cheaper alone": sick(curve=replace(CURVE, middle=20.7, learned=0.1)),
    "generalisation while validation falls": sick(
        train_cost=1.0, curve=replace(CURVE, middle=21.5, learned=0.1)
    ),
    "few passes alone": sick(epochs=0.5),
    "distortion alone": sick({"distortion": 25.0, "iw_nll": 22.0}),
    "rise alone": sick(curve=RISES),
    "heavy weights alone": sick({"heavy_weights": 0.9}),
    "width alone": sick(width=NARROW),
    "prior draws alone": sick(holes=replace(HEALTHY.holes, share=0.7)),  # type: ignore[type-var]
    "length alone": sick(length=LengthTest((0.9,) * DIM, 3.0, 2.5)),
    "small rate alone": sick({"rate": 2.0, "shuffle_gap": 3.0, "token_accuracy": 0.3}),
    "large rate alone": sick({"rate": 50.0}),
    "forward alone": sick(language=replace(LANGUAGE, samples=SampleScores(3.1, 2.2))),
}


@pytest.mark.parametrize("case", SINGLE)
def test_one_number_is_no_finding(case: str) -> None:
    assert judge(SINGLE[case]) == []


def test_what_follows_names_its_cause() -> None:
    found = judge(sick({"rate": 50.0, "neg_elbo": 54.0, "heavy_weights": 0.9}, width=NARROW))
    assert [(one.name, one.cause) for one in found] == [
        ("rate_too_large", ""),
        ("narrow_posterior", "rate_too_large"),
    ]


def test_later_lines_give_way_to_earlier_ones() -> None:
    def finding(name: str, *lines: str) -> Finding:
        return Finding(name, name, (), lines, "", compare=(name,))

    found = [
        finding("a", "latent.dim=4"),
        finding("b", "latent={name: gaussian}"),
        finding("c", "train.lr=0.01"),
    ]
    mended = mend(config(), found)
    assert mended.lines == ("latent.dim=4", "train.lr=0.01")
    assert mended.compare == ("a", "c")
    assert mended.config.latent.arguments["dim"] == 4
