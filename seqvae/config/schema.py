"""The schema of a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)


class _Closed(BaseModel):
    """A block whose keys are all known."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class Component(BaseModel):
    """An open block, `{name: ..., **arguments}`; the class of that name checks the arguments."""

    model_config = ConfigDict(extra="allow")
    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """What is there besides the name."""
        return dict(self.model_extra or {})


def _named_sources(value: str | list[str]) -> str | list[str]:
    """Sources that are named."""
    if not value or (not isinstance(value, str) and "" in value):
        raise ValueError("name a file, a folder or a Hub id")
    return value


Positive = Annotated[int, Field(gt=0, lt=2**31)]
NonEmpty = Annotated[str, Field(min_length=1)]
NonNegative = Annotated[int, Field(ge=0, lt=2**31)]
Seed = Annotated[int, Field(gt=-(2**62), lt=2**62)]
Sources = Annotated[str | list[str], AfterValidator(_named_sources)]  # several: one after the other
Share = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(_Closed):
    """Where the examples come from, of whatever kind they are.

    `name` is an embedded data set; otherwise `train` is a file, a folder or a Hub id. Without `valid` or
    `test`, seeded shares of the training data are set aside (`valid_share`, `test_share`, or as many as
    `max_heldout`, whichever is less). `labels` names what comes along with each example.
    """

    name: str | None = None
    train: Sources | None = None
    valid: Sources | None = None
    test: Sources | None = None
    labels: list[str] = []
    label_columns: dict[str, str] = {}  # of labels whose column has another name
    valid_share: Share = 0.05
    test_share: Share = 0.05
    max_heldout: Positive = 5000
    split_seed: Seed = 0
    examples: Positive | None = None  # only the first so many training examples
    num_labeled: Positive | None = None  # so many of them keep their labels, of each class alike


class TextDataConfig(DataConfig):
    """Sentences: text lines, tables, JSON, folders of them, a saved `datasets` folder or a Hub id.

    `encoding`, `delimiter`, `quotes` and `format` say how files are read; what is null is recognised.
    """

    text_column: str = "text"
    encoding: str | None = None
    delimiter: str | None = None
    quotes: Literal["double", "backslash", "none"] | None = None
    format: Literal["lines", "json", "csv", "tsv", "parquet"] | None = None
    max_tokens: Positive = 64
    overlong: Literal["truncate", "drop"] = "truncate"
    detokenize: bool = False  # undo spaces around marks and the loss of capitals: for pretrained decoders
    vectors: NonEmpty | None = None  # .npy or .parquet, a row per example of `train`, for encoder vectors
    valid_vectors: NonEmpty | None = None
    test_vectors: NonEmpty | None = None
    vector_column: str = "vector"  # of a .parquet file


class ImageDataConfig(DataConfig):
    """Pictures: idx files, arrays, a folder of pictures, a saved `datasets` folder or a Hub id."""

    image_column: str = "image"
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None  # height, width
    channels: Literal[1, 3] | None = None  # those of the data when null
    binarize: Literal["none", "fixed", "stochastic"] = "none"  # pixels drawn once, or anew each epoch
    binarize_seed: Seed = 0
    on_bad_image: Literal["error", "skip"] = "error"  # a picture that cannot be read


class GroupConfig(_Closed):
    """How some parameters train otherwise than the rest: their learning rate's factor, and their decay."""

    lr: Annotated[float, Field(gt=0)] = 1.0  # times train.lr
    weight_decay: Annotated[float, Field(ge=0)] | None = None  # train.weight_decay when null


class TrainConfig(_Closed):
    """How a run trains. Give `steps` or `epochs`; `batch_size` counts examples.

    `groups` names parameters by how their names begin (`latent`, `decoder.backbone`); the longest counts.
    """

    steps: Positive | None = None
    epochs: Positive | None = None
    batch_size: Positive = 64
    accumulate: Positive = 1  # micro-batches an update
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    groups: dict[str, GroupConfig] = {}
    warmup: NonNegative = 0  # steps of linear warm-up
    decay: Literal["none", "linear", "cosine", "plateau"] = "none"
    clip: Annotated[float, Field(gt=0)] | None = 5.0
    seed: Seed = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    compile: bool = False
    capture: Literal["auto", "always", "never"] = "auto"  # updates as CUDA graphs
    shard: bool = False  # spread parameters over the processes, of a model too large for one device
    select: Literal["neg_elbo", "distortion", "last"] = "neg_elbo"
    validate_every: Positive | None = None  # steps; an epoch when null
    valid_examples: Positive = 2000  # validated on at most so many
    patience: Positive | None = None  # validations without a better one before stopping
    save_every: Positive | None = None  # steps; at every validation when null
    keep: Positive = 2  # checkpoints
    log_every: Positive = 50
    tensorboard: bool = False
    threads: Positive | None = None


class InitConfig(_Closed):
    """Start from a finished run: `from` names it, `parts` what to take of it."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)
    run: str = Field(alias="from")
    parts: list[Literal["encoder", "latent", "prior", "decoder"]]


class LabelConfig(_Closed):
    """What a model knows of a label that it is told: its `classes`, or mean and deviation of a number."""

    classes: list[str | int | float] = []
    mean: float = 0.0
    sd: Annotated[float, Field(gt=0)] = 1.0


def _list_to_blocks(value: Any) -> Any:
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

    `attributes` makes dims of the code carry labels, {dim: label}. `condition` names labels that the model
    is told, `[label, ...]`; a run fills in what training knew of each.
    """

    modality: Literal["text", "image"]
    data: DataConfig
    encoder: Component
    latent: Component = Component(name="gaussian")
    decoder: Component
    objective: Component = Component(name="elbo")
    remedies: list[Component] = []
    attributes: Annotated[dict[NonNegative, str], BeforeValidator(_dims)] = {}
    condition: Annotated[dict[str, LabelConfig | None], BeforeValidator(_list_to_blocks)] = {}
    init: InitConfig | None = None
    train: TrainConfig = TrainConfig()


class TextRunConfig(RunConfig):
    """A run on sentences: it has a tokenizer besides."""

    modality: Literal["text"] = "text"
    data: TextDataConfig = TextDataConfig()
    tokenizer: Component = Component(name="word")
    encoder: Component = Component(name="gru")
    decoder: Component = Component(name="gru")

    @model_validator(mode="before")
    @classmethod
    def _tokenizer_of_decoder(cls, values: Any) -> Any:
        """A pretrained decoder brings its own tokenizer, where the config names none."""
        decoder = values.get("decoder") if isinstance(values, dict) else None
        if not isinstance(decoder, dict) or decoder.get("name") != "pretrained" or "model" not in decoder:
            return values
        if values.get("tokenizer") not in (None, {"name": "word"}):
            return values
        named = {key: decoder[key] for key in ("model", "revision") if decoder.get(key)}
        return {**values, "tokenizer": {"name": "pretrained", **named}}


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
