"""Configs: paths of --set, coercion, and every message that a wrong config can cause."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field
from tiny_text import SIZES, WORDS

from seqvae.build import build_objective, build_vae, check_config
from seqvae.config.loading import dump_config, load_config, parse_config
from seqvae.config.registry import construct, describe, lookup
from seqvae.config.schema import Component, TextRunConfig
from seqvae.errors import UserError, suggest
from seqvae.interfaces import Remedy, RunContext
from seqvae.remedies import REMEDIES
from seqvae.remedies.word_dropout import WordDropout

WHOLE = """
data: {train: corpus.txt, labels: [mood], max_tokens: 30}
tokenizer: {name: word, vocab_size: 100}
encoder: {name: gru, embed: 8, hidden: 12}
latent: {name: gaussian, dim: 4, prior: {name: standard}}
decoder: {name: gru, embed: 8, hidden: 12, z_to: [state, softmax]}
remedies:
  - {name: linear_annealing, steps: 10}
  - {name: word_dropout, rate: 0.2}
init: {from: runs/ae, parts: [encoder]}
train: {steps: 5, lr: 1e-3}
"""
FACTS = RunContext(10, 10, 5, 4, WORDS)


def config(*overrides: str, text: str = WHOLE) -> TextRunConfig:
    return parse_config(yaml.safe_load(text), overrides)


def built(*overrides: str, text: str = WHOLE) -> Any:
    made = config(*overrides, text=text)
    check_config(made)
    vae = build_vae(made, SIZES)
    build_objective(made, vae, FACTS)
    return vae


def test_whole_config_builds() -> None:
    vae = built()
    assert vae.latent.dim == 4
    assert vae.decoder.rnn.hidden_size == 12


def test_empty_config_is_the_default_one() -> None:
    assert config(text="{}") == TextRunConfig()
    assert (TextRunConfig().encoder.name, TextRunConfig().latent.name, TextRunConfig().decoder.name) == (
        "gru", "gaussian", "gru",
    )  # fmt: skip


def test_configs_share_nothing() -> None:
    one, other = TextRunConfig(), TextRunConfig()
    one.train.steps = 7
    one.data.labels.append("x")
    one.remedies.append(Component(name="word_dropout"))
    assert (other.train.steps, other.data.labels, other.remedies) == (None, [], [])


def test_overrides_at_every_depth() -> None:
    made = config(
        "latent.dim=64", "train.lr=0.01", "remedies.1.rate=0.5", "remedies.0.steps=99",
        "data.labels=[a, b]", "latent.prior.name=vamp", "decoder.z_to=[steps]", "init=null",
    )  # fmt: skip
    assert made.latent.arguments["dim"] == 64
    assert made.train.lr == 0.01
    assert [spec.arguments for spec in made.remedies] == [{"steps": 99}, {"rate": 0.5}]
    assert made.data.labels == ["a", "b"]
    assert made.latent.arguments["prior"] == {"name": "vamp"}
    assert made.decoder.arguments["z_to"] == ["steps"]
    assert made.init is None


def test_overrides_create_what_is_missing() -> None:
    made = config("train.steps=3", "latent.dim=5", "encoder.hidden=7", text="{}")
    assert made.train.steps == 3
    assert made.latent == Component.model_validate({"name": "gaussian", "dim": 5})
    assert made.encoder.arguments == {"hidden": 7}
    assert config("train.steps=3", text="train: null").train.steps == 3


def test_later_overrides_win_and_the_given_values_stay() -> None:
    values = yaml.safe_load(WHOLE)
    made = parse_config(values, ["latent.dim=1", "latent.dim=2"])
    assert made.latent.arguments["dim"] == 2
    assert values == yaml.safe_load(WHOLE)


def test_another_name_clears_the_arguments_of_the_old_one() -> None:
    made = config("latent.name=none", "remedies.1.name=free_bits", "encoder.name=transformer")
    assert made.latent.arguments == {}
    assert made.remedies[1] == Component(name="free_bits")
    assert made.encoder.arguments == {}
    assert config("encoder.name=lstm", "encoder.hidden=3").encoder.arguments == {"hidden": 3}
    assert config("encoder.name=gru").encoder.arguments == {"embed": 8, "hidden": 12}  # the same name


def test_the_name_of_a_corpus_clears_nothing() -> None:
    """`data` is no open block: its other keys mean the same for every corpus."""
    made = config("data.name=null", text="data: {name: sentences, max_tokens: 9, labels: [tense]}")
    assert (made.data.name, made.data.max_tokens, made.data.labels) == (None, 9, ["tense"])


def test_shared_yaml_nodes_are_changed_apart() -> None:
    text = "encoder: &sizes {name: gru, embed: 8, hidden: 12}\ndecoder: *sizes"
    made = config("encoder.hidden=3", text=text)
    assert (made.encoder.arguments["hidden"], made.decoder.arguments["hidden"]) == (3, 12)


@pytest.mark.parametrize("number", ["1e-3", "'1e-3'", "0.001", "1.0e-3"])
def test_numbers_that_yaml_reads_as_text(number: str) -> None:
    assert config(f"train.lr={number}").train.lr == 0.001
    made = config(f"remedies.1.rate={number}")
    (remedy,) = [construct("remedy", REMEDIES, spec) for spec in made.remedies[1:]]
    assert isinstance(remedy, WordDropout)
    assert remedy.rate == 0.001
    assert isinstance(remedy.rate, float)


def test_dump_reads_back(tmp_path: Path) -> None:
    made = config("train.lr=1e-3")
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(made), encoding="utf-8")
    assert load_config(file) == made
    assert dump_config(load_config(file)) == dump_config(made)
    assert load_config(file).init == made.init is not None
    assert load_config(file, ["latent.dim=9"]).latent.arguments["dim"] == 9
    file.write_text(dump_config(TextRunConfig()), encoding="utf-8")
    assert load_config(file) == TextRunConfig()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("latent.dim", r"--set got 'latent.dim': write key.path=value, for example latent.dim=64"),
        ("=3", r"--set got '=3': write key.path=value"),
        ("train.lr=[", r"--set 'train.lr=\[': '\[' is not a YAML value"),
        ("train.lr.x=3", r"--set 'train.lr.x=3': 'lr' holds '1e-3' and has no parts to set"),
        ("remedies.2.rate=1", r"--set 'remedies.2.rate=1': '2' is not an index of a list of 2"),
        ("remedies.first.rate=1", r"--set 'remedies.first.rate=1': 'first' is not an index of a list of 2"),
        ("remedies.-1.rate=1", r"'-1' is not an index of a list of 2"),
        ("remedies.7={name: x}", r"'7' is not an index of a list of 2"),
        ("trian.steps=3", r"config: unknown key 'trian': did you mean 'train'\?"),
        ("train.stepz=3", r"config: unknown key 'train.stepz': did you mean 'steps'\?"),
        ("data.max_token=3", r"unknown key 'data.max_token': did you mean 'max_tokens'\?"),
        ("init.form=3", r"unknown key 'init.form': did you mean 'from'\? known: from, parts"),
        ("train.steps=many", r"config: train.steps: Input should be a valid integer.* \(got 'many'\)"),
        ("train.steps=0", r"train.steps: Input should be greater than 0 \(got 0\)"),
        ("train.steps=2.5", r"train.steps: Input should be a valid integer.* \(got 2.5\)"),
        ("train.lr=-1", r"train.lr: Input should be greater than 0 \(got -1\)"),
        ("train.precision=fp8", r"train.precision: Input should be 'auto', 'fp32' or 'bf16' \(got 'fp8'\)"),
        ("train.optimizer=lion", r"train.optimizer: Input should be 'adamw', 'adam' or 'sgd' \(got 'lion'\)"),
        ("data.valid_share=1", r"data.valid_share: Input should be less than 1 \(got 1\)"),
        ("data.overlong=keep", r"data.overlong: Input should be 'truncate' or 'drop' \(got 'keep'\)"),
        ("encoder=gru", r"encoder: Input should be a valid dictionary .*\(got 'gru'\)"),
        ("encoder={name: null}", r"encoder.name: Input should be a valid string \(got None\)"),
        ("remedies=[{rate: 1}]", r"remedies.0.name: Field required \(got \{'rate': 1\}\)"),
        ("init.parts=[head]", r"init.parts.0: Input should be 'encoder', 'latent', 'prior' or 'decoder'"),
    ],
)  # fmt: skip
def test_wrong_overrides_by_message(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config(override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("encoder.name=gruu", r"unknown encoder 'gruu': did you mean 'gru'\? known: gru, lstm, pretrained"),
        ("latent.name=guassian", r"unknown latent 'guassian': did you mean 'gaussian'\? known: "),
        ("latent.prior.name=standart", r"unknown prior 'standart': did you mean 'standard'\? known: "),
        ("decoder.name=xyz", r"unknown decoder 'xyz': known: gru, lstm, pretrained, transformer"),
        ("objective.name=elb", r"unknown objective 'elb': did you mean 'elbo'\?"),
        ("remedies.0.name=freebits", r"unknown remedy 'freebits': did you mean 'free_bits'\? known: "),
        ("remedies.1.rat=1", r"remedy 'word_dropout' takes no argument 'rat': did you mean 'rate'\?"),
        ("remedies.1.rate=2", r"remedy 'word_dropout', argument 'rate' got 2: Input should be less than"),
        ("remedies.1.rate=much", r"remedy 'word_dropout', argument 'rate' got 'much': Input should be"),
        ("remedies.0.steps=0", r"remedy 'linear_annealing', argument 'steps' got 0: Input should be"),
        ("latent.dim=0", r"latent.dim got 0: give at least 1, or `latent: \{name: none\}` for no code"),
        ("latent.dim=-3", r"latent.dim got -3: give at least 1"),
    ],
)  # fmt: skip
def test_names_and_arguments_are_checked_before_data_is_read(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_config(config(override))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("encoder.hiden=3", r"encoder 'gru' takes no argument 'hiden': did you mean 'hidden'\? known: bidir"),
        ("encoder.hidden=0", r"encoder 'gru', argument 'hidden' got 0: Input should be greater than 0"),
        ("encoder.hidden=big", r"encoder 'gru', argument 'hidden' got 'big': Input should be"),
        ("encoder.pooling=sum", r"encoder 'gru', argument 'pooling' got 'sum': Input should be 'last', "),
        ("encoder.dropout=1", r"encoder 'gru', argument 'dropout' got 1: Input should be less than 1"),
        ("encoder.vocab_size=9", r"encoder 'gru' takes no argument 'vocab_size'"),
        ("decoder.latent_dim=9", r"decoder 'gru' takes no argument 'latent_dim'"),
        ("decoder.z_to=[slots]", r"decoder 'gru', argument 'z_to' got \['slots'\]: Input should be"),
        ("latent.dim='0'", r"latent 'gaussian', argument 'dim' got '0': Input should be greater than 0"),
        ("latent.dim=1.5", r"latent 'gaussian', argument 'dim' got 1.5: Input should be a valid integer"),
        ("latent.condition=2", r"latent 'gaussian' takes no argument 'condition': known: dim"),
        ("latent.prior.sigma=2", r"prior 'standard' takes no argument 'sigma': known: none"),
        ("latent={name: none, dim: 3}", r"latent 'none' takes no argument 'dim'"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_models_by_message(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(override)


@pytest.mark.parametrize("name", ["none", "gaussian"])
def test_latent_none_has_no_code(name: str) -> None:
    vae = built(f"latent.name={name}")
    assert (vae.latent.dim == 0) == (name == "none")


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config file .*missing.yaml: `seqvae list configs` names"):
        load_config(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match=r"is not a YAML file: "):
        load_config(tmp_path)
    for text, message in (
        ("a: [", r"is not a YAML file: "),
        ("- 1", r"holds no key: value pairs"),
        ("", r"holds no key: value pairs"),
        ("trian: {}", r"broken.yaml: unknown key 'trian': did you mean 'train'\?"),
    ):
        (tmp_path / "broken.yaml").write_text(text)
        with pytest.raises(UserError, match=message):
            load_config(tmp_path / "broken.yaml")
    (tmp_path / "broken.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match="is not a YAML file"):
        load_config(tmp_path / "broken.yaml")


def test_two_whole_kl_shapers_are_refused_at_build() -> None:
    text = "remedies: [{name: free_bits}, {name: free_bits}]"
    with pytest.raises(UserError, match=r"FreeBits and FreeBits both reshape the whole KL: keep one of them"):
        built(text=text)


def test_remedies_for_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sharpen(Remedy):
        """Reads pixels."""

        batch_type = "image"

    monkeypatch.setitem(REMEDIES, "sharpen", Sharpen)
    with pytest.raises(UserError, match="remedy 'sharpen' reads image batches, this run has text"):
        built(text="remedies: [{name: sharpen}]")


class Made:
    """Something to construct."""

    def __init__(
        self,
        given: int,
        needed: str,
        size: Annotated[int, Field(gt=0)] = 3,
        kind: Literal["a", "b"] = "a",
        places: tuple[str, ...] = ("x",),
        rate: float | None = None,
    ) -> None:
        if size == 13:
            raise UserError("13 brings bad luck: take 14")
        self.values = given, needed, size, kind, places, rate


TABLE = {"made": Made}


def spec(**arguments: Any) -> Component:
    return Component.model_validate({"name": "made", **arguments})


def test_construct_checks_and_coerces() -> None:
    made = construct(
        "thing", TABLE, spec(needed="n", size="7", places=["u", "v"], rate="1e-2"), given=1, other=2
    )
    assert made.values == (1, "n", 7, "a", ("u", "v"), 0.01)
    assert construct("thing", TABLE, spec(needed="n", rate=None), given=1).values[-1] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "thing 'made' needs needed: add it to the config"),
        ({"needed": "n", "given": 3}, r"thing 'made' takes no argument 'given': known: kind, needed, places"),
        ({"needed": "n", "sise": 3}, r"thing 'made' takes no argument 'sise': did you mean 'size'\?"),
        ({"needed": "n", "size": 0}, "thing 'made', argument 'size' got 0: Input should be greater than 0"),
        ({"needed": "n", "kind": "c"}, "thing 'made', argument 'kind' got 'c': Input should be 'a' or 'b'"),
        ({"needed": 3}, "thing 'made', argument 'needed' got 3: Input should be a valid string"),
        ({"needed": "n", "size": 13}, "thing 'made': 13 brings bad luck: take 14"),
    ],
)
def test_construct_by_message(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        construct("thing", TABLE, spec(**arguments), given=1)


def test_suggestions() -> None:
    assert suggest("grz", ["lstm", "gru"]) == "did you mean 'gru'? known: gru, lstm"
    assert suggest("zzzz", ["lstm", "gru"]) == "known: gru, lstm"
    assert suggest("x", []) == "known: none"
    assert lookup("thing", TABLE, "made") is Made
    with pytest.raises(UserError, match=r"unknown thing 'mode': did you mean 'made'\? known: made"):
        lookup("thing", TABLE, "mode")


def test_description_shows_what_a_config_may_set() -> None:
    (row,) = describe(TABLE, ("given",))
    assert row["name"] == "made"
    assert row["arguments"] == "needed, size=3, kind=a, places=('x',), rate=None"
    assert (row["year"], row["paper"]) == ("", "")


@pytest.mark.parametrize(
    "name", ["no", "#text", "Review: text", "on", "12:30", "2020-01-01", "~x", "a = b", "{x", "null "]
)
def test_any_name_of_a_column_can_be_set(name: str) -> None:
    assert parse_config({}, [f"data.text_column={name}"]).data.text_column == name.strip()
    quoted = "'" + name.replace("'", "''") + "'"
    assert parse_config({}, [f"data.text_column={quoted}"]).data.text_column == name
    made = parse_config({}, [f"data.labels=[{quoted}, x]", f"condition=[{quoted}]", f"attributes.0={quoted}"])
    assert (made.data.labels, list(made.condition), made.attributes) == ([name, "x"], [name], {0: name})
    assert parse_config(yaml.safe_load(dump_config(made))) == made


def test_names_that_are_yaml_s_own_words() -> None:
    made = parse_config({}, ["data.labels=[no, 007, 12:30, null]", "data.label_columns={no: on, y: 1}"])
    assert made.data.labels == ["no", "007", "12:30", "null"]
    assert made.data.label_columns == {"no": "on", "y": "1"}
    assert parse_config({}, ["data.labels=no"]).data.labels == ["no"]
    classes = parse_config({}, ["condition={no: {classes: [no, 1, 1.5, yes]}}"]).condition["no"]
    assert classes is not None
    assert classes.classes == ["no", 1, 1.5, "yes"]
    assert parse_config({}, ['condition."a.b".mean=2', "train.compile=yes"]).condition["a.b"] is not None


def test_a_file_says_no_as_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("data: {labels: [no, yes, 2020-01-01], text_column: on}\n")
    made = load_config(tmp_path / "a.yaml").data
    assert (made.labels, made.text_column) == (["no", "yes", "2020-01-01"], "on")


def test_several_sources() -> None:
    assert parse_config({}, ["data.train=[a.txt, no]"]).data.train == ["a.txt", "no"]
    assert parse_config({}, ["data.train=a: b.txt"]).data.train == "a: b.txt"
    assert parse_config({}, ["data.valid="]).data.valid is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=.inf", r"train.lr: Input should be a finite number \(got inf\)"),
        ("train.lr=nan", r"train.lr: Input should be a finite number \(got 'nan'\)"),
        ("train.lr=1e999", r"train.lr: Input should be a finite number"),
        ("data.valid_share=.nan", r"data.valid_share: Input should be "),
        (
            "remedies=[{name: free_bits, nats: .inf}]",
            r"argument 'nats' got inf: Input should be a finite number",
        ),
    ],
)
def test_numbers_that_are_not_finite(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_config(parse_config({}, [override]))
