"""How many nats a text holds, from counts; and the size of the code that follows from it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from seqvae.config.loading import load_config
from seqvae.config.schema import TextRunConfig
from seqvae.config.shipped import find_config
from seqvae.data.text.fit_config import fit_code, fit_to_corpus
from seqvae.data.text.information import SequenceCounts, code_nats, nats_per_text

RANDOM = np.random.default_rng(0)


def test_probabilities_add_up_to_one() -> None:
    counts = SequenceCounts(vocab_size=3)
    for row in RANDOM.integers(0, 3, (50, 4)).tolist():
        counts.add(row)
    for context in ([], [0], [2, 1], [1, 1, 1], [0, 1, 2, 0]):
        before = counts._padded(context)[:-1][-3:]
        found = np.array([counts.probabilities((*before, token)) for token in (0, 1, 2, -1)])
        assert found.sum(0) == pytest.approx(np.ones(4))
        assert (found > 0).all()


def test_it_is_near_the_entropy_where_that_is_known() -> None:
    uniform = RANDOM.integers(0, 8, (4000, 5)).tolist()
    held = RANDOM.integers(0, 8, (500, 5)).tolist()
    ends = 5 * math.log(6 / 5) + math.log(6)  # of who cannot count to five
    assert 5 * math.log(8) < nats_per_text(uniform, held, 8) < 5 * math.log(8) + ends
    same = [[1, 2, 3]] * 1000
    assert nats_per_text(same, same, 8) < 0.1
    assert nats_per_text([], [], 8) == 0


def test_longer_texts_get_a_larger_code() -> None:
    short, long = code_nats(15), code_nats(140)
    assert long > 5 * short
    assert code_nats(1) == 2


def fitted(tmp_path: Path, length: int, recipe: str, *sets: str) -> tuple[TextRunConfig, list[str]]:
    file = tmp_path / "corpus.txt"
    rows = RANDOM.integers(0, 30, (1500, length))
    file.write_text("".join(" ".join(f"w{i}" for i in row) + "\n" for row in rows))
    config = load_config(find_config(f"text/{recipe}"), [f"data.train={file}", *sets])
    assert isinstance(config, TextRunConfig)
    return fit_to_corpus(config, sets)


def size_of(config: TextRunConfig) -> float:
    return next(r.arguments["nats"] for r in config.remedies if r.name == "free_bits") * 32


def test_rates_of_the_default_recipe_end_at_what_a_text_holds(tmp_path: Path) -> None:
    short, lines = fitted(tmp_path, 4, "default")
    low, high = short.latent.arguments["nats"]
    assert (low, high) == (2, pytest.approx(5 * math.log(30), rel=0.25))
    assert lines[-1] == f"rates from 2 to {high} nats: a text holds about {lines[-1].split()[-2]} nats"
    long, _ = fitted(tmp_path, 40, "default")
    assert long.latent.arguments["nats"] == [2, 64]
    wide, _ = fitted(tmp_path, 40, "default", "latent.dim=64")
    assert wide.latent.arguments["nats"][1] == 128


def test_free_bits_follow_the_length_of_texts(tmp_path: Path) -> None:
    short, lines = fitted(tmp_path, 4, "free-bits")
    long, _ = fitted(tmp_path, 40, "free-bits")
    assert size_of(short) == pytest.approx(5 * math.log(30) / 6, rel=0.25)
    assert size_of(long) == pytest.approx(40 * math.log(30) / 6, rel=0.15)
    assert lines[-1].startswith("free bits 0.0")
    assert "a text holds about" in lines[-1]


def test_a_code_that_somebody_chose_stays(tmp_path: Path) -> None:
    config, lines = fitted(tmp_path, 4, "free-bits", "remedies=[{name: free_bits, nats: 0.5}]")
    assert size_of(config) == 16
    assert len(lines) == 2
    bare = config.model_copy(update={"remedies": []})
    assert fit_code(bare, 100.0) == (bare, "")
    ranged, lines = fitted(tmp_path, 4, "default", "latent={name: exact_rate, nats: [3, 30]}")
    assert ranged.latent.arguments["nats"] == [3, 30]
    assert len(lines) == 2
