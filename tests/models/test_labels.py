"""Label conditioning: features, training, use and errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny import BASE, SENTENCES, Listener
from tiny_pictures import SHAPE, picture_batch
from tiny_text import DECODERS, SIZES, randomized, text_batch, tiny_config
from torch import Tensor
from typer.testing import CliRunner

from seqvae.analysis.figures import draw_figure
from seqvae.analysis.measurements import PlotInputs
from seqvae.analysis.sample_quality import sample_labels
from seqvae.build import build_vae, check_config, describe_missing_labels, with_label_statistics
from seqvae.cli import app
from seqvae.config.loading import dump_config, load_config, parse_config
from seqvae.config.schema import RunConfig
from seqvae.data.image.dataset import load_data as load_pictures
from seqvae.data.labels import label_statistics, subsample_labels
from seqvae.data.text.dataset import load_data
from seqvae.errors import UserError
from seqvae.inference import ImageVAE, TextVAE
from seqvae.inference.inputs import load_inputs
from seqvae.interfaces import kl_divergence
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.labels import LabelEncoder, LabelSpec
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.priors.conditional import ConditionalPrior, NormalOfCondition
from seqvae.models.vae import VAE
from seqvae.training.loop import train

TENSE = LabelSpec("tense", 1, ("past", "present"))
STARS = LabelSpec("stars", 0, (1.0, 2.0, 5.0))
YEAR = LabelSpec("year", 2, mean=2000.0, sd=10.0)
CLASSES = {"size": {"classes": [0, 1, 2]}}
TOLD: dict[str, Any] = {"data": {"labels": ["size"]}, "condition": CLASSES}


def conditional_vae(decoder: str = "gru-tied-2", **latent: Any) -> VAE:
    """Conditioned on a label of three classes, with weights so large that every input counts."""
    spec = {"name": "gaussian", "dim": 2, **latent}
    config = tiny_config(decoder=DECODERS[decoder], latent=spec, **TOLD)
    vae: VAE = randomized(build_vae(config, SIZES), 0.5)
    return vae


def with_sizes(values: list[float]) -> Any:
    return text_batch().replace(labels=torch.tensor(values)[:, None])


def test_features_are_one_hot_or_standardised() -> None:
    labels = torch.tensor([[5.0, 0.0, 2000.0], [1.0, 1.0, 1985.0]])
    features = LabelEncoder((TENSE, STARS, YEAR)).features(labels)
    assert features.tolist() == [[1, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, -1.5]]
    assert LabelEncoder((TENSE, STARS, YEAR)).dim == 6


def test_given_labels_hold_for_all_examples() -> None:
    asked = LabelEncoder((TENSE, STARS, YEAR)).fix({"stars": "2", "year": "2010", "tense": "present"})
    expected = [[0, 1, 0, 1, 0, 1]] * 3
    assert asked.fixed_features(3, torch.device("cpu")).tolist() == expected


def test_each_example_may_have_its_own() -> None:
    labels = LabelEncoder((TENSE, STARS, YEAR))
    columns = labels.encode_columns({"tense": ["past", "present"], "stars": [1, "2"], "year": 2010}, 2)
    assert columns[:, TENSE.column].tolist() == [0, 1]
    each = {"tense": ["past", "present"], "stars": [1, 2], "year": [2010, 2010]}
    assert labels.decode_columns(columns) == each
    with pytest.raises(
        UserError, match="condition 'tense' got 2 values for 3 examples: give one, or one for"
    ):
        labels.encode_columns(each, 3)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"tens": "past"},
            r"condition got 'tens', which this model is not conditioned on: did you mean 'tense'\?",
        ),
        ({"tense": "past"}, r"condition lacks stars: this model is conditioned on tense, stars"),
        ({"tense": "pst", "stars": 1}, r"condition 'tense' got 'pst': did you mean 'past'\?"),
        ({"tense": "past", "stars": 3}, r"condition 'stars' got 3: training knew 1, 2, 5"),
        ({"tense": "past", "stars": "many"}, r"condition 'stars' got 'many': give a number"),
        ({"tense": "past", "stars": "nan"}, r"condition 'stars' got 'nan': give a number"),
    ],
)
def test_labels_that_cannot_be_asked_for(condition: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        LabelEncoder((TENSE, STARS)).fix(condition)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.zeros(2, 0),
            "this model is conditioned on 'tense', which is missing here: give --condition tense=VALUE",
        ),
        (
            torch.zeros(2, 1),
            "this model is conditioned on 'tense', which is missing here: give --condition tense=VALUE",
        ),
    ],
)
def test_labels_that_cannot_be_conditions(labels: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelEncoder((TENSE, STARS)).features(labels)


def test_a_missing_or_unknown_value_has_zero_features() -> None:
    """A row of zeros: of a number this is the mean of training."""
    labels = LabelEncoder((TENSE, STARS, YEAR))
    rows = torch.tensor([[5.0, math.nan, math.inf], [3.0, 7.0, math.nan], [1.0, 0.0, 2010.0]])
    assert labels.features(rows).tolist() == [[0, 0, 0, 0, 1, 0], [0] * 6, [1, 0, 1, 0, 0, 1]]
    assert labels.decode_columns(rows) == {
        "tense": [None, None, "past"], "stars": [5, None, 1], "year": [None, None, 2010],
    }  # fmt: skip
    back = labels.encode_columns(labels.decode_columns(rows), 3)
    assert torch.equal(labels.features(back), labels.features(rows))
    labels.require(rows)
    with pytest.raises(UserError, match="this model is conditioned on 'tense', which is missing here"):
        labels.require(rows[:2])
    assert labels.describe_unknown(rows) == [
        "1 with a label 'tense' that training had not (7 for one): the model treats it as missing",
        "1 with a label 'stars' that training had not (3 for one): the model treats it as missing",
        "1 with a label 'year' that training had not (inf for one): the model treats it as missing",
    ]


def test_what_training_knows_of_a_label() -> None:
    values = np.array([3, 1, np.nan, 3, 7], np.float32)
    assert label_statistics("a", values) == {"classes": [1, 3, 7]}
    assert label_statistics("a", np.array([0, 1, 1], np.float32), ["no", "yes"]) == {"classes": ["no", "yes"]}
    number = label_statistics("a", np.array([0.5, 1.5, np.nan], np.float32))
    assert number == {"mean": 1.0, "sd": 0.5}
    assert "mean" in label_statistics("a", np.arange(100, dtype=np.float32))
    with pytest.raises(UserError, match="label 'a' has no two values in training: leave it out of condition"):
        label_statistics("a", np.array([2, 2, np.nan], np.float32))


def test_kept_labels_are_balanced_and_those_of_the_seed() -> None:
    labels = np.stack([np.repeat([0, 1, 2], [80, 15, 5]), np.arange(100)], 1).astype(np.float32)
    kept = subsample_labels(labels, 24, seed=0)
    rows = ~np.isnan(kept).any(1)
    assert sorted(np.bincount(kept[rows, 0].astype(int)).tolist()) == [5, 9, 10]
    assert np.array_equal(kept[rows], labels[rows])
    assert np.isnan(kept[~rows]).all()
    assert np.array_equal(kept, subsample_labels(labels, 24, seed=0), equal_nan=True)
    assert not np.array_equal(kept, subsample_labels(labels, 24, seed=1), equal_nan=True)
    more = subsample_labels(labels, 25, seed=0)
    assert not np.isnan(more[rows]).any(), "who asks for more keeps those it had"
    with pytest.raises(
        UserError, match=r"data.num_labeled got 101, 100 of the training examples have labels"
    ):
        subsample_labels(labels, 101, seed=0)
    with pytest.raises(
        UserError, match=r"data.num_labeled got 5, data.labels names no label to keep: name one"
    ):
        subsample_labels(np.zeros((9, 0), np.float32), 5, seed=0)


def test_data_hide_labels_of_training_alone() -> None:
    settings = parse_config(
        {"modality": "image", "data": {"name": "shapes", "labels": ["shape"], "num_labeled": 30}}
    )
    data = load_pictures(settings.data)  # type: ignore[arg-type]
    assert int((~np.isnan(data.train.labels)).sum()) == 30
    assert not np.isnan(data.valid.labels).any()
    assert any("19,970 without label 'shape'" in line for line in data.report())


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_depends_on_the_label(name: str) -> None:
    vae = conditional_vae(name)
    z = torch.randn(1, 7, 2)
    low, high = (
        vae.likelihood(z, vae.condition(with_sizes([v] * 7))).log_prob(text_batch()) for v in (0.0, 2.0)
    )
    assert bool((low != high).all())


@pytest.mark.parametrize("name", ["mlp", "conv", "residual"])
def test_every_image_decoder_depends_on_the_label(name: str) -> None:
    config = parse_config(
        {"modality": "image", "decoder": {"name": name}, "latent": {"name": "gaussian", "dim": 2}, **TOLD}
    )
    vae = randomized(build_vae(config, {"shape": SHAPE}), 0.3)
    batch, z = picture_batch(3), torch.randn(1, 3, 2)
    conditions = [vae.condition(batch.replace(labels=torch.full((3, 1), v))) for v in (0.0, 1.0)]
    low, high = (vae.likelihood(z, c).log_prob(batch) for c in conditions)
    assert bool((low != high).all())


@pytest.mark.parametrize(
    "name", ["gaussian", "bn_gaussian", "du_gaussian", "exact_rate", "delta", "flow", "vmf"]
)
def test_every_posterior_depends_on_the_label(name: str) -> None:
    vae = conditional_vae(name=name)
    one, two = (vae.posterior(with_sizes([v] * 7)).mean for v in (0.0, 1.0))
    assert not torch.allclose(one, two)
    assert torch.equal(one, vae.posterior(with_sizes([0.0] * 7), vae.encoder(text_batch())).mean)


def test_a_label_and_a_rate_are_concatenated() -> None:
    vae = conditional_vae(name="exact_rate", nats=[2, 64], prior={"name": "conditional"})
    batch = with_sizes([0, 1, 2, 0, 1, 2, 0])
    nats = torch.tensor([2.0, 3, 5, 8, 13, 40, 64])
    asked = batch.replace(condition=vae.latent.rate_condition(nats))
    c = vae.condition(asked)
    assert c is not None
    assert c.shape == (7, 4)
    assert torch.equal(c[:, :3].argmax(-1).float(), batch.labels[:, 0])
    assert torch.equal(c[:, 3:], asked.condition)
    standard = conditional_vae(name="exact_rate", nats=[2, 64])
    torch.testing.assert_close(standard(asked).rate, nats, atol=1e-4, rtol=0)


def test_an_unconditional_model_is_unchanged() -> None:
    """The same weights from the same seed, and the same numbers, with labels in the batch or none."""
    config = tiny_config()
    torch.manual_seed(3)
    vae = build_vae(config, SIZES).eval()
    torch.manual_seed(3)
    again = build_vae(parse_config({**config.model_dump(), "data": {"labels": ["size"]}}), SIZES).eval()
    assert vae.condition(text_batch()) is None
    assert vae.default_condition(KeyedNoise(0, 0, torch.arange(3))) is None
    assert vae.latent.mean.in_features == vae.encoder.out_dim
    one, two = vae(text_batch()), again(with_sizes([0.0] * 7))
    assert torch.equal(one.log_px_z, two.log_px_z)
    assert torch.equal(one.kl, two.kl)
    assert vae.state_dict().keys() == again.state_dict().keys()


def test_the_conditional_prior_is_that_of_its_label() -> None:
    torch.manual_seed(0)
    prior = ConditionalPrior(2, condition=3)
    c = torch.eye(3)
    z = torch.randn(4, 3, 2)
    plain = -0.5 * (math.log(2 * math.pi) + z**2).sum(-1)
    torch.testing.assert_close(prior(c).log_prob(z), plain)  # N(0, I) at first
    randomized(prior, 1.0)
    p = prior(c)
    q = torch.distributions.Normal(p.mean, torch.exp(0.5 * p.logvar))
    torch.testing.assert_close(p.log_prob(z), q.log_prob(z).sum(-1))
    many = prior(c[:1].expand(20_000, -1)).sample(20_000, KeyedNoise(0, 0, torch.arange(20_000)))
    torch.testing.assert_close(many.mean(0), p.mean[0], atol=0.1, rtol=0.05)
    with pytest.raises(UserError, match="this run's prior depends on its labels: give --condition"):
        prior(None)
    with pytest.raises(UserError, match="needs labels as condition: name some"):
        ConditionalPrior(2)


def test_its_kl_has_a_closed_form() -> None:
    torch.manual_seed(1)
    q, p = (
        DiagonalNormal(torch.randn(3, 2), torch.randn(3, 2)),
        NormalOfCondition(torch.randn(3, 2), torch.randn(3, 2)),
    )
    normals = (torch.distributions.Normal(n.mean, torch.exp(0.5 * n.logvar)) for n in (q, p))
    known = torch.distributions.kl_divergence(*normals)
    torch.testing.assert_close(kl_divergence(q, p, torch.zeros(1, 3, 2))[0], known)


# configs


def test_attributes_and_conditions_go_round(tmp_path: Path) -> None:
    config = parse_config({"attributes": {0: "tense"}, "condition": ["tense"], "data": {"labels": ["tense"]}},
                          ["attributes.0=length", "attributes.1=tense"])  # fmt: skip
    assert config.attributes == {0: "length", 1: "tense"}
    assert config.condition == {"tense": None}
    filled = config.model_copy(update={"condition": parse_config({"condition": CLASSES}).condition})
    for made in (config, filled):
        assert parse_config(yaml.safe_load(dump_config(made))) == made
        assert parse_config(json.loads(json.dumps(made.model_dump(by_alias=True)))) == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"attributes": {0: "a", "0": "b"}}, r"attributes: dim 0 is there twice: keep one"),
        ({"attributes": {-1: "a"}}, r"attributes.-1.*greater than or equal to 0"),
        ({"condition": ["a", "a"]}, r"condition: 'a' is there twice: keep one"),
        ({"condition": {"a": {"sd": 0}}}, r"condition.a.sd: Input should be greater than 0"),
    ],
)
def test_blocks_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config(values)


def test_a_key_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("train: {steps: 1}\nattributes:\n  0: length\n  0: tense\n")
    with pytest.raises(UserError, match=r"twice.yaml, line 4 gives '0' a second time: keep one"):
        load_config(file)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["condition=[tens]"], r"condition got 'tens', which is not in data.labels: did you mean 'tense'\?"),
        (["condition=[tense]", "latent.name=none"], r"latent 'none' does not support condition"),
        (["condition=[tense]", "latent.prior={name: vamp}"], r"prior 'vamp' does not support condition"),
        (
            ["objective.name=semi_supervised"],
            r"infers a label of condition, got None: known: none",
        ),
        (
            ["condition=[tense]", "objective={name: semi_supervised, label: tens}"],
            r"infers a label of condition, got 'tens': did you mean 'tense'\?",
        ),
        (
            ["attributes.0=tense", "remedies=[{name: attribute_regularization}]"],
            r"attributes are short for remedy 'attribute_regularization', which is there too: keep one",
        ),
    ],
)
def test_configs_that_do_not_fit(sets: list[str], message: str) -> None:
    config = parse_config({"data": {"labels": ["tense"]}}, sets)
    with pytest.raises(UserError, match=message):
        check_config(config)


class _Data:
    """Two labels of four examples, one of which is missing."""

    categories: dict[str, Any] = {"tense": ("past", "present")}  # noqa: RUF012
    labels = np.array([[0, 1.5], [1, 2.5], [np.nan, 3.5], [1, 4.5]], np.float32)

    @property
    def train(self) -> Any:
        return self

    @property
    def splits(self) -> Any:
        return {"train": self}


def test_the_config_of_a_run_holds_label_statistics() -> None:
    config = parse_config({"data": {"labels": ["tense", "year"]}, "condition": ["year"]})
    found = with_label_statistics(config, _Data()).condition["year"]  # type: ignore[arg-type]
    assert found is not None
    assert (found.mean, found.sd) == (3.0, pytest.approx(math.sqrt(1.25)))
    lacking = parse_config({"data": {"labels": ["tense", "year"]}, "condition": ["tense"]})
    made = with_label_statistics(lacking, _Data())  # type: ignore[arg-type]
    assert describe_missing_labels(made, _Data()) == [  # type: ignore[arg-type]
        "train: 1 of 4 without a known 'tense', which the model treats as missing"
    ]
    mostly = _Data()
    mostly.labels = np.array([[0, 1], [1, 1], [np.nan, 1], [np.nan, 1], [np.nan, 1]], np.float32)
    with pytest.raises(UserError, match=r"condition 'tense' is missing for 3 of 5 training examples: fix"):
        with_label_statistics(lacking, mostly)  # type: ignore[arg-type]
    guessed = lacking.model_copy(
        update={"objective": parse_config({"objective": {"name": "semi_supervised"}}).objective}
    )
    found = with_label_statistics(guessed, _Data()).condition["tense"]  # type: ignore[arg-type]
    assert found is not None
    assert found.classes == ["past", "present"]


# runs


def config_of(**more: Any) -> RunConfig:
    data = {**BASE["data"], "labels": ["tense", "question"], **more.pop("data", {})}
    return parse_config({**BASE, "data": data, **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prior = {"name": "gaussian", "dim": 4, "prior": {"name": "conditional"}}
    return train(
        config_of(condition=["tense", "question"], latent=prior),
        tmp_path_factory.mktemp("cvae") / "run",
    )


@pytest.fixture(scope="module")
def vae(run: Path) -> TextVAE:
    """A trained one whose decoder then got weights so large that every input counts."""
    made = TextVAE.from_pretrained(run)
    randomized(made.vae.decoder, 1.0)
    return made


PAST, QUESTION = {"tense": "past", "question": "statement"}, {"tense": "future", "question": "question"}


def test_a_run_remembers_its_classes(vae: TextVAE) -> None:
    tense = vae.config.condition["tense"]
    assert tense is not None
    assert tense.classes == ["past", "present", "future"]
    assert vae.vae.labels is not None
    assert vae.vae.labels.dim == 5


def test_all_decoding_is_conditioned_on_the_labels(vae: TextVAE) -> None:
    past, question = vae.with_condition(PAST), vae.with_condition(QUESTION)
    z = past.encode(SENTENCES)
    assert torch.equal(z, vae.encode(SENTENCES, condition=PAST))
    assert not torch.allclose(z, question.encode(SENTENCES))
    assert vae.decode(z, condition=PAST) == past.decode(z) != question.decode(z)
    assert vae.sample(6, condition=PAST) == past.sample(6) != question.sample(6)
    assert vae.reconstruct(SENTENCES, condition=PAST) == past.reconstruct(SENTENCES)
    assert past.reconstruct(SENTENCES) != question.reconstruct(SENTENCES)
    a, b = SENTENCES[:2]
    assert vae.interpolate(a, b, 3, condition=PAST) == past.interpolate(a, b, 3)
    each = {name: [PAST[name], QUESTION[name]] for name in PAST}
    one_by_one = [made.reconstruct([text])[0] for made, text in zip((past, question), (a, b), strict=True)]
    assert past.reconstruct([a, b], condition=each) == one_by_one, "before what was chosen for all"
    assert vae.decode(z[:2], condition=each) == [past.decode(z[:1])[0], question.decode(z[1:2])[0]]
    assert past.vae.decoder is vae.vae.decoder
    assert vae.vae.labels is not None
    assert not vae.vae.labels.fixed


def test_a_missing_condition_is_asked_for(vae: TextVAE) -> None:
    z = vae.encode(SENTENCES, condition=PAST)
    needs = "this model is conditioned on labels: give --condition tense=VALUE --condition question=VALUE"
    for call in (lambda: vae.decode(z), lambda: vae.sample(2)):
        with pytest.raises(UserError, match=needs):
            call()
    with pytest.raises(UserError, match="this model is conditioned on 'tense', which is missing here"):
        vae.encode(SENTENCES)


def test_evaluation_uses_the_labels_of_the_data(
    vae: TextVAE, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = vae.evaluate(samples=2, examples=40)
    assert report["n"] == 40
    assert report["distinct_of"] == 1000
    other, rows = (
        tmp_path / "other.csv",
        ["a cat sees a ball .,present,statement", "the dog hid .,past,statement"],
    )
    other.write_text("\n".join(["text,tense,question", *rows * 20]))
    assert vae.evaluate(str(other), samples=2)["n"] == 40
    strange = ["the dog hid .,pst,statement", "the dog hid .,,statement"]
    other.write_text("\n".join(["text,tense,question", *strange, *rows]))
    assert vae.evaluate(str(other), samples=2)["n"] == 4
    assert caplog.messages[-1] == "2 without label 'tense' (1 missing; 1 unknown to training: 'pst')"
    other.write_text("\n".join(["text,tense,question", *strange]))
    with pytest.raises(UserError, match="this model is conditioned on 'tense', which is missing here"):
        vae.evaluate(str(other), samples=2)
    plain = tmp_path / "other.txt"
    plain.write_text("a cat sees a ball .\nthe dog hid .\n" * 20)
    with pytest.raises(UserError, match="this model is conditioned on 'tense', which is missing here"):
        vae.evaluate(str(plain), samples=2)
    assert vae.with_condition(PAST).evaluate(str(plain), samples=2)["n"] == 40


def test_measured_samples_have_labels_at_their_frequencies(vae: TextVAE) -> None:
    store = load_data(vae.config.data, vae.tokenizer).train
    drawn = sample_labels(vae, store, 2000, seed=1)
    assert drawn is not None
    assert drawn == sample_labels(vae, store, 2000, seed=1) != sample_labels(vae, store, 2000, seed=2)
    for column, (name, values) in enumerate(drawn.items()):
        classes = store.categories[name]
        share = [values.count(known) / 2000 for known in classes]
        occurs = [float((store.labels[:, column] == i).mean()) for i in range(len(classes))]
        assert share == pytest.approx(occurs, abs=0.05)
    assert sample_labels(vae.with_condition(PAST), store, 5, seed=1) is None


def test_minimum_rates_and_sweeps_use_labels(tmp_path: Path) -> None:
    latent = {"name": "exact_rate", "dim": 4, "nats": [2, 8]}
    made = train(config_of(condition=["tense"], latent=latent), tmp_path / "run")
    examples = load_inputs(TextVAE.from_pretrained(made), "valid", 6)
    assert examples.condition is not None
    assert set(examples.condition["tense"]) <= {"past", "present", "future"}
    assert examples.rows(torch.tensor([4, 1])).condition == {
        "tense": [examples.condition["tense"][row] for row in (4, 1)]
    }
    of_data = ["rate", str(made), "--data", "valid", "--examples", "4", "--json", "--rounds", "1"]
    code, out, _ = said(*of_data)
    assert (code, len(json.loads(out))) == (0, 4)
    assert said(*of_data, "--sweep")[0] == 0
    one = ["rate", str(made), SENTENCES[0], "--json", "--distortion", "1e4", "--rounds", "1"]
    with pytest.raises(
        UserError, match="this model is conditioned on 'tense', which is missing here: give --condition"
    ):
        CliRunner().invoke(app, one, catch_exceptions=False)
    code, out, _ = said(*one, "--condition", "tense=past")
    assert (code, json.loads(out)[0]["nats"]) == (0, 2)


def test_a_run_without_labels_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tiny import tiny_run

    plain = TextVAE.from_pretrained(tiny_run(tmp_path_factory))
    with pytest.raises(
        UserError, match="condition got tense: this run is not conditioned on labels: train one"
    ):
        plain.sample(2, condition={"tense": "past"})


def said(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_line_takes_labels(run: Path, tmp_path: Path) -> None:
    given = ["--condition", "tense=past", "--condition", "question=statement"]
    code, out, _ = said("sample", str(run), "-n", "3", *given)
    assert (code, len(out.splitlines())) == (0, 3)
    assert said("reconstruct", str(run), SENTENCES[0], *given)[0] == 0
    assert said("interpolate", str(run), *SENTENCES[:2], "--steps", "3", *given)[0] == 0
    file, codes = tmp_path / "a.txt", tmp_path / "z.npy"
    file.write_text("\n".join(SENTENCES))
    assert said("encode", str(run), "--input", str(file), "--output", str(codes), *given)[0] == 0
    assert said("decode", str(run), "--input", str(codes), *given)[0] == 0
    assert said("traverse", str(run), SENTENCES[0], "--dim", "0", *given)[0] == 0
    measured = ["evaluate", str(run), "--data", str(file), "--samples", "2", "--json"]
    with pytest.raises(UserError, match="this model is conditioned on 'tense', which is missing here: give"):
        CliRunner().invoke(app, measured, catch_exceptions=False)
    assert json.loads(said(*measured, *given)[1])["n"] == len(SENTENCES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tense"], "--condition got 'tense': write LABEL=VALUE, for example tense=past"),
        (["tense=past", "tense=future"], "--condition got 'tense' twice: keep one"),
        (["tense=past"], "condition lacks question: this model is conditioned on tense, question"),
    ],
)
def test_the_command_line_refuses(run: Path, words: list[str], message: str) -> None:
    given = [part for word in words for part in ("--condition", word)]
    result = CliRunner().invoke(app, ["sample", str(run), *given])
    assert isinstance(result.exception, UserError) or result.exit_code == 2
    assert message in (str(result.exception) + result.output)


def test_image_models_are_conditioned_on_labels_too(tmp_path: Path) -> None:
    config = parse_config(
        {
            "modality": "image",
            "data": {"name": "shapes", "labels": ["shape", "x"], "examples": 200},
            "encoder": {"name": "mlp", "hidden": [16]},
            "decoder": {"name": "mlp", "hidden": [16]},
            "latent": {"name": "gaussian", "dim": 2},
            "condition": ["shape", "x"],
            "train": {**BASE["train"], "steps": 10},
        }
    )
    vae = ImageVAE.from_pretrained(train(config, tmp_path / "run"))
    assert vae.vae.labels is not None
    shape, x = vae.vae.labels.specs
    condition = {"shape": shape.classes[0], "x": x.classes[0] if x.classes else 0.5}
    pictures = vae.sample(3, condition=condition)
    assert torch.equal(pictures, vae.with_condition(condition).sample(3))
    assert vae.reconstruct(pictures, condition=condition).shape == pictures.shape
    assert vae.interpolate(pictures[0], pictures[1], 3, condition=condition).shape[0] == 3
    assert vae.evaluate(samples=2, examples=20)["n"] == 20
    with pytest.raises(UserError, match="this model is conditioned on labels: give --condition shape=VALUE"):
        vae.sample(2)
    subject = PlotInputs(vae, examples=20)
    own = vae.vae.labels.decode_columns(torch.cat([batch.labels for batch in subject.batches]))
    z = subject.gathered["code"]
    torch.testing.assert_close(subject.decode(z, subject.conditions), vae.decode(z, condition=own))
    for name in ("reconstructions", "samples", "interpolation", "traversals", "posterior"):
        assert draw_figure(subject, name).axes
    with pytest.raises(UserError, match="this model is conditioned on labels: give --condition shape=VALUE"):
        draw_figure(subject, "manifold")
    assert draw_figure(PlotInputs(vae.with_condition(condition), examples=20), "manifold").axes


def missing_for(tmp_path: Path, rows: str, **more: Any) -> str:
    """What training on a table of these rows says, in its one line."""
    table, out = tmp_path / "table.csv", tmp_path / "run"
    table.write_text("text,tense\n" + rows)
    data = {"train": str(table), "labels": ["tense"], "name": None, "examples": None, **more.pop("data", {})}
    with pytest.raises(UserError) as caught:
        train(config_of(**{"data": data, "condition": ["tense"], **more}), out)
    assert "\n" not in str(caught.value)
    assert not out.exists(), "what cannot be built leaves no folder behind"
    return str(caught.value)


def test_labels_of_a_table_that_do_not_match(tmp_path: Path) -> None:
    rows = "a cat sees a ball .,present\nthe dog hid .,past\n" * 20
    mostly = rows + "a dog .,\n" * 60
    assert "condition 'tense' is missing for " in missing_for(tmp_path, mostly)
    assert "label 'tense' has no two values in training" in missing_for(tmp_path, "a cat .,past\n" * 40)
    asked = missing_for(tmp_path, rows, data={"labels": ["tenses"]}, condition=["tenses"])
    assert "has no column 'tenses': did you mean 'tense'?" in asked
    few = missing_for(tmp_path, rows, data={"num_labeled": 400})
    assert "data.num_labeled got 400, 3" in few
    kept = missing_for(tmp_path, rows, data={"num_labeled": 10})
    assert "training examples: fix the data, or take objective semi_supervised" in kept


def test_labels_of_pictures_that_do_not_match(tmp_path: Path) -> None:
    from tiny_pictures import grey, loaded, write_idx

    images = write_idx(tmp_path / "train-images-idx3-ubyte", grey(20)[:, 0])
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(19, dtype=np.uint8))
    with pytest.raises(UserError, match=r"labels 19 pictures, .* has 20: give its own$"):
        loaded(images, labels=["label"])
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(20, dtype=np.uint8))
    with pytest.raises(UserError, match=r"has no label 'lable': did you mean 'label'\?"):
        loaded(images, labels=["lable"])
    assert int((~np.isnan(loaded(images, labels=["label"], num_labeled=4).train.labels)).sum()) == 4


def test_held_out_classes_cost_rows_their_label_not_the_run(tmp_path: Path) -> None:
    """A class or a value that only validation or test has, and labels that are null or infinite."""
    rows = [{"text": f"the dog {i % 7} sees a cat .", "tense": ("past", "present")[i % 2], "n": i / 2}
            for i in range(60)]  # fmt: skip
    rows[5]["tense"], rows[6]["n"], rows[7]["n"] = None, None, math.inf
    strange = [{"text": "the dog", "tense": "perfect", "n": 1.0},
               {"text": "a cat", "tense": "past", "n": -math.inf},
               {"text": "a cat .", "tense": None, "n": 2.0}]  # fmt: skip
    for name, lines in (("train", rows), ("valid", strange), ("test", strange)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = {"name": None, "examples": None, "labels": ["tense", "n"], **{
        name: str(tmp_path / f"{name}.jsonl") for name in ("train", "valid", "test")}}  # fmt: skip
    listener = Listener()
    made = train(config_of(data=data, condition=["tense", "n"]), tmp_path / "run", listener)
    assert listener.warnings[:6] == [
        "train: 1 of 60 without a known 'tense', which the model treats as missing",
        "train: 2 of 60 without a known 'n', which the model treats as missing",
        "valid: 2 of 3 without a known 'tense', which the model treats as missing",
        "valid: 1 of 3 without a known 'n', which the model treats as missing",
        "test: 2 of 3 without a known 'tense', which the model treats as missing",
        "test: 1 of 3 without a known 'n', which the model treats as missing",
    ]
    lost = "2 without label 'tense' (1 missing; 1 unknown to training: 'perfect'), 1 without label 'n' (1 not"
    assert any(lost in note for note in listener.notes)
    vae = TextVAE.from_pretrained(made)
    report = vae.evaluate(samples=20)
    assert report["n"] == 3
    assert math.isfinite(report["neg_elbo"])
