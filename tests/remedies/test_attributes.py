"""`attributes`: chosen dims carry chosen labels, and moving a label moves its dim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import BASE, SENTENCES
from tiny_text import SIZES, tiny_config
from typer.testing import CliRunner

from seqvae.analysis.traversal import Traversal, regularised_dim, traverse
from seqvae.build import attribute_dims, build_objective, build_vae
from seqvae.cli import app
from seqvae.config.loading import parse_config
from seqvae.errors import UserError
from seqvae.inference import TextVAE, load
from seqvae.interfaces import RunContext
from seqvae.remedies.attribute_regularization import AttributeRegularization
from seqvae.training.loop import train

FACTS = RunContext(10, 50, 7, 2, 7, ("mood", "size"))


def test_attributes_become_their_remedy() -> None:
    config = tiny_config(attributes={1: "size", 0: "length"}, remedies=[{"name": "constant_beta", "beta": 2}])
    remedies = build_objective(config, build_vae(config, SIZES), FACTS).remedy_list
    assert [type(remedy).__name__ for remedy in remedies] == ["ConstantBeta", "AttributeRegularization"]
    made, plain = remedies[1], AttributeRegularization({1: "size", 0: "length"})
    assert isinstance(made, AttributeRegularization)
    assert (made.weight, made.delta) == (plain.weight, plain.delta)
    assert made.columns == {1: 1, 0: None}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({2: "size"}, r"got dim 2 for 'size', the code has 2: give dims from 0, or a larger latent.dim"),
        ({0: "siz"}, r"got the label 'siz', which is not in data.labels: did you mean 'size'\?"),
    ],
)
def test_attributes_that_are_not_there(attributes: dict[int, str], message: str) -> None:
    config = tiny_config(attributes=attributes)
    with pytest.raises(UserError, match=message):
        build_objective(config, build_vae(config, SIZES), FACTS)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], {}),
        (["attributes={3: length}"], {"length": 3}),
        (["remedies=[{name: attribute_regularization}]"], {"length": 0}),
        (["remedies=[{name: attribute_regularization, attributes: {2: tense}}]"], {"tense": 2}),
    ],
)
def test_which_dim_carries_a_label(sets: list[str], expected: dict[str, int]) -> None:
    assert attribute_dims(parse_config({}, sets)) == expected
    pictures = {
        "modality": "image",
        "data": {"labels": ["x"]},
        "remedies": [{"name": "attribute_regularization"}],
    }
    assert attribute_dims(parse_config(pictures)) == {"x": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = {**BASE["data"], "labels": ["question"]}
    config = parse_config({**BASE, "data": data, "attributes": {2: "length"}})
    return train(config, tmp_path_factory.mktemp("attributes") / "run")


def test_a_label_moves_by_the_dim_that_carries_it(run: Path) -> None:
    vae = TextVAE.from_pretrained(run)
    z = vae.encode(SENTENCES[:1])
    path = traverse(vae, SENTENCES[0], Traversal(attribute="length", low=-2, high=2, steps=3), examples=50)
    assert regularised_dim(vae, Traversal(attribute="length")) == 2
    assert torch.equal(path[:, [0, 1, 3]], z[:, [0, 1, 3]].expand(3, 3))
    steps = path[:, 2] - z[0, 2]
    assert float(steps[2]) > 0
    torch.testing.assert_close(steps, float(steps[2]) * torch.tensor([-1.0, 0.0, 1.0]))
    other = traverse(vae, SENTENCES[0], Traversal(attribute="question", steps=3), examples=50)
    assert regularised_dim(vae, Traversal(attribute="question")) is None
    assert regularised_dim(vae, Traversal(dim=2)) is None
    assert int((other[2] != z[0]).sum()) > 1, "without a dim of its own a label moves along a direction"


def test_the_command_line_says_which_dim_moves(run: Path) -> None:
    result = CliRunner().invoke(
        app, ["traverse", str(run), SENTENCES[0], "--attribute", "length", "--steps", "3"]
    )
    assert result.exit_code == 0, result.output
    assert "dim 2 was trained to carry 'length': only it changes" in result.stderr
    assert len(result.stdout.splitlines()) == 3
    plain = CliRunner().invoke(app, ["traverse", str(run), SENTENCES[0], "--dim", "1", "--steps", "3"])
    assert "was trained to carry" not in plain.stderr


def test_pictures_carry_attributes_too(tmp_path: Path) -> None:
    block: dict[str, Any] = {
        "modality": "image",
        "data": {"name": "blob", "labels": ["x", "y"], "examples": 128},
        "encoder": {"name": "mlp", "hidden": [32]},
        "decoder": {"name": "mlp", "hidden": [32]},
        "latent": {"name": "gaussian", "dim": 3},
        "attributes": {1: "x"},
        "train": {**BASE["train"], "steps": 150, "batch_size": 32, "lr": 0.005},
    }
    vae = load(train(parse_config(block), tmp_path / "run"), "cpu")
    _, batches, _ = vae.evaluation_inputs(None, 64, 200)
    z = torch.cat([vae.vae.posterior(batch).mean for batch in batches]).detach()
    x = vae.attribute(batches, "x")
    found = [abs(float(torch.corrcoef(torch.stack([z[:, i], x]))[0, 1])) for i in range(3)]
    assert found[1] > 0.9
    assert found[1] == max(found)
