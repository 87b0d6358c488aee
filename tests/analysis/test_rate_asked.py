"""The line at the end of a training: how many nats the corpus asks its code for."""

from __future__ import annotations

import re

import pytest
from tiny import metrics, tiny_run, trained

from seqvae.analysis.rate_asked import describe_code, describe_rate_asked
from seqvae.inference import load


def test_the_code_follows_the_length_of_texts() -> None:
    assert "a code of about 2.5 nats" in str(describe_code({"neg_elbo": 15.0, "rate": 2.0}, 32))
    long = str(describe_code({"neg_elbo": 150.0, "rate": 8.0}, 32))
    assert "a code of about 25 nats" in long
    assert "this one carries 8:" in long
    assert "free_bits {nats: 0.78}" in long
    assert "nats: [2, 150] gives all sizes" in long


def test_a_code_of_about_that_size_is_only_said() -> None:
    assert str(describe_code({"neg_elbo": 60.0, "rate": 9.0}, 32)).endswith("this one carries 9")


@pytest.mark.parametrize("validation", [{"distortion": 3.0}, {"neg_elbo": 3.0, "rate": 0.0}])
def test_no_code_no_line(validation: dict[str, float]) -> None:
    assert describe_code(validation, 32) is None
    assert describe_code({"neg_elbo": 3.0, "rate": 1.0}, 0) is None


def test_a_run_with_one_rate(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tiny_run(tmp_path_factory)
    line = describe_rate_asked(load(path, "cpu"))
    assert line is not None
    assert f"of the {metrics(path, 'valid')[-1]['neg_elbo']:.3g} that a text holds" in line


def test_a_run_with_a_range_is_asked_itself(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("ranged")
    path = trained(base, "run", "latent={name: exact_rate, dim: 2, nats: [1, 8]}")
    line = str(describe_rate_asked(load(path, "cpu")))
    found = re.match(r"the corpus asks for (over 8|[\d.]+) nats: half of \d+ validation sentences", line)
    assert found
    own = float(load(path, "cpu").vae.latent.rate)
    assert f"the default rate of this run is {own:.3g}" in line
