"""A run's configuration: YAML in, checked values out, `--set a.b=c` on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from seqvae.overrides import apply_override
from seqvae.registry import UserError, lookup, suggest
from seqvae.yaml_files import read_yaml


class _Closed(BaseModel):
    """A block whose keys are all known."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class Component(BaseModel):
    """An open block, `{name: ..., **arguments}`; the class of that name checks the arguments."""

    model_config = ConfigDict(extra="allow")
    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """What is there besides the name."""
        return dict(self.model_extra or {})


Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Source = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(_Closed):
    """Where the examples come from, of whatever kind they are.

    `name` is an embedded data set; otherwise `train` is a file, a folder or a Hub id. Without `valid` or
    `test`, seeded shares of the training data are set aside (`valid_share`, `test_share`, or as many as
    `max_heldout`, whichever is less). `labels` names what comes along with each example.
    """

    name: str | None = None  # an embedded data set, in place of `train`
    train: Source | None = None  # a file, a folder or a Hub id
    valid: Source | None = None  # the same for validation; by default a split of the source, or a share of it
    test: Source | None = None  # the same for testing
    labels: list[str] = []  # columns that are read with each example
    valid_share: Share = 0.05  # of the training data, where there is no validation data
    test_share: Share = 0.05  # of the training data, where there is no test data
    max_heldout: Positive = 5000  # examples that a share takes at most
    split_seed: int = 0  # chooses the examples that are set aside
    examples: Positive | None = None  # train on at most the first N examples
    labelled: Positive | None = None  # N examples keep their labels, the same number of each class


class TextDataConfig(DataConfig):
    """Sentences: text lines, tables, a saved `datasets` folder or a Hub id."""

    text_column: str = "text"  # of a table or a data set
    max_tokens: Positive = 64  # tokens per sentence at most
    overlong: Literal["truncate", "drop"] = "truncate"  # what happens to longer sentences


class ImageDataConfig(DataConfig):
    """Pictures: idx files, arrays, a folder of pictures, a saved `datasets` folder or a Hub id."""

    image_column: str = "image"  # of a data set
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None  # [height, width]
    channels: Literal[1, 3] | None = None  # as in the data when null
    binarize: Literal["none", "fixed", "stochastic"] = "none"  # pixels are drawn once, or anew in each epoch
    binarize_seed: int = 0  # of `fixed`
    broken: Literal["error", "skip"] = "error"  # what to do with an image that cannot be read


class TrainConfig(_Closed):
    """How a run trains. Give `steps` or `epochs`; `batch_size` counts examples."""

    # updates; without `steps` and `epochs`, 10 epochs but at least 3,000 and at most 6,000 updates
    steps: Positive | None = None
    epochs: Positive | None = None  # passes over the training data, in place of `steps`
    batch_size: Positive = 64  # examples per update, of all processes together
    accumulate: Positive = 1  # micro-batches per update
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"  # sgd has momentum 0.9
    lr: Annotated[float, Field(gt=0)] = 1e-3  # learning rate after warm-up
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # of matrices; biases and norms have none
    warmup: NonNegative = 0  # updates of linear warm-up
    # of the learning rate after warm-up; plateau halves it at every validation without a better one
    decay: Literal["none", "linear", "cosine", "plateau"] = "none"
    clip: Annotated[float, Field(gt=0)] | None = 5.0  # largest norm of the gradient; null clips nothing
    seed: int = 0  # of initial weights, noise and the order of examples
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto is bf16 where the hardware multiplies it fast
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    compile: bool = False  # torch.compile for the modules that gain by it
    capture: Literal["auto", "always", "never"] = "auto"  # updates as CUDA graphs, where a run allows it
    shard: bool = False  # FSDP2: parameters, gradients and optimizer state over the processes
    # which validation measure selects the weights, once all schedules have settled
    select: Literal["neg_elbo", "distortion", "last"] = "neg_elbo"
    validate_every: Positive | None = None  # updates; an epoch when null
    valid_examples: Positive = 2000  # validation examples at most
    patience: Positive | None = None  # stop after N validations without a better one
    save_every: Positive | None = None  # updates; at every validation when null
    keep: Positive = 2  # checkpoints that stay
    log_every: Positive = 50  # updates per line of the log
    tensorboard: bool = False  # write event files too (extra `tensorboard`)
    threads: Positive | None = None  # of the CPU; torch decides when null


class InitConfig(_Closed):
    """Start from a finished run: `from` names it, `parts` what to take of it."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    run: str = Field(alias="from")  # a run folder
    parts: list[Literal["encoder", "latent", "prior", "decoder"]]  # what to take of it


class LabelConfig(_Closed):
    """A label that a model is conditioned on: its `classes`, or mean and standard deviation of a number."""

    classes: list[str | int | float] = []  # of a category
    mean: float = 0.0  # of a number
    sd: Annotated[float, Field(gt=0)] = 1.0  # of a number


def _named(value: Any) -> Any:
    """A list of labels as the keys of a mapping whose blocks the training data are to fill in."""
    if not isinstance(value, list):
        return value
    if twice := [name for name in value if value.count(name) > 1]:
        raise ValueError(f"{twice[0]!r} is there twice: keep one")
    return dict.fromkeys(value)


def _dims(value: Any) -> Any:
    """Keys of JSON and of `--set` are strings."""
    if not isinstance(value, Mapping):
        return value
    dims = [str(key) for key in value]
    if twice := [dim for dim in dims if dims.count(dim) > 1]:
        raise ValueError(f"dim {twice[0]} is there twice: keep one")
    return value


class RunConfig(_Closed):
    """One run, whole; `parse_config` gives the kind that `modality` names.

    `attributes` makes dimensions of the code carry labels. `condition` names labels that the model reads.
    """

    modality: Literal["text", "image"]  # what the examples are
    data: DataConfig  # where they come from
    encoder: Component  # reads a batch into features
    latent: Component = Component(name="gaussian")  # q(z|x); `prior: {name: ...}` inside it names p(z)
    decoder: Component  # codes to p(x|z)
    objective: Component = Component(name="elbo")  # the loss
    remedies: list[Component] = []  # in the order in which a batch meets them
    # {dim: label}: training orders the dimension by the label
    attributes: Annotated[dict[NonNegative, str], BeforeValidator(_dims)] = {}
    # [label, ...] that prior, posterior and decoder read; a run fills in what training learned of each
    condition: Annotated[dict[str, LabelConfig | None], BeforeValidator(_named)] = {}
    init: InitConfig | None = None  # start from parts of a finished run
    train: TrainConfig = TrainConfig()  # how it trains


class TextRunConfig(RunConfig):
    """A run on sentences: it has a tokenizer besides."""

    modality: Literal["text"] = "text"
    data: TextDataConfig = TextDataConfig()
    tokenizer: Component = Component(name="word")  # trained on the training split, or `file`
    encoder: Component = Component(name="gru")
    decoder: Component = Component(name="gru")


class ImageRunConfig(RunConfig):
    """A run on pictures."""

    modality: Literal["image"] = "image"
    data: ImageDataConfig = ImageDataConfig()
    encoder: Component = Component(name="mlp")
    decoder: Component = Component(name="mlp")


RUN_CONFIGS: dict[str, type[TextRunConfig | ImageRunConfig]] = {
    "text": TextRunConfig,
    "image": ImageRunConfig,
}


def load_config(source: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file, lay `key.path=value` overrides over it and check the whole.

    Raises:
        UserError: no such file, not YAML, an unknown key (with the nearest right one), a wrong value.
    """
    return parse_config(read_yaml(Path(source)), overrides, where=str(source))


def parse_config(
    values: Mapping[str, Any], overrides: Iterable[str] = (), where: str = "config"
) -> RunConfig:
    """Like `load_config`, from values already read; `where` says in errors whose they are.

    Raises:
        UserError: an unknown key (with the nearest right one), a wrong value, or an override that is none.
    """
    merged: Any = _copied(values)
    for override in overrides:
        if override.partition("=")[0] == "modality":
            apply_override(merged, override)
    modality = str(merged.get("modality", "text"))
    try:
        made = lookup("modality", RUN_CONFIGS, modality)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    _name_components(merged, made)
    for override in overrides:
        apply_override(merged, override)
    try:
        return made.model_validate(merged)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error, made)}") from None


def _copied(value: Any) -> Any:
    """A deep copy in which blocks that YAML anchors share are apart."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list | tuple) else value


def dump_config(config: RunConfig) -> str:
    """The YAML of a resolved config; `load_config` reads it back."""
    values = config.model_dump(by_alias=True, exclude_none=False)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _name_components(values: dict[str, Any], made: type[RunConfig]) -> None:
    """Give every open block its default name, so that `--set latent.dim=64` needs no name."""
    for key, field in made.model_fields.items():
        if isinstance(field.default, Component):
            block = values.setdefault(key, {})
            if isinstance(block, dict):
                block.setdefault("name", field.default.name)


def _explain(error: ValidationError, made: type[RunConfig]) -> str:
    """The first problem, in one line, with the nearest right key."""
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {path!r}: {suggest(str(problem['loc'][-1]), _keys_at(problem['loc'], made))}"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {said} (got {problem['input']!r})"


def _keys_at(location: tuple[int | str, ...], made: type[RunConfig]) -> list[str]:
    model: type[BaseModel] = made
    for key in location[:-1]:
        field = model.model_fields.get(str(key))
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        elif str(key) == "init":
            model = InitConfig
    return [f.alias or name for name, f in model.model_fields.items()]
