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
    """Sources that are named, and whose names a config can hold."""
    if any(not name.isascii() and name.encode("utf-8", "ignore").decode() != name for name in [*value]):
        raise ValueError("this name is not valid Unicode: rename it")
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

    name: str | None = None  # an embedded data set, in place of `train`
    train: Sources | None = None  # a file, a folder or a Hub id
    valid: Sources | None = None  # the same for validation; else a split of the source, or a share of it
    test: Sources | None = None  # the same for testing
    labels: list[str] = []  # columns that are read with each example
    label_columns: dict[str, str] = {}  # label: the column it stands in, where the names differ
    valid_share: Share = 0.05  # of the training data, where there is no validation data
    test_share: Share = 0.05  # of the training data, where there is no test data
    max_heldout: Positive = 5000  # examples that a share takes at most
    split_seed: Seed = 0  # chooses the examples that are set aside
    examples: Positive | None = None  # train on at most the first N examples
    num_labeled: Positive | None = None  # N examples keep their labels, the same number of each class


class TextDataConfig(DataConfig):
    """Sentences: text lines, tables, JSON, folders of them, a saved `datasets` folder or a Hub id.

    `encoding`, `delimiter`, `quotes` and `format` say how files are read; what is null is recognised.
    """

    text_column: str = "text"  # of a table or a data set
    encoding: str | None = None  # of text files; recognised when null
    delimiter: str | None = None  # of a table's columns; recognised when null
    quotes: Literal["double", "backslash", "none"] | None = None  # of a table; recognised when null
    format: Literal["lines", "json", "csv", "tsv", "parquet"] | None = None  # by the file's name when null
    max_tokens: Positive = 64  # tokens per sentence at most
    overlong: Literal["truncate", "drop"] = "truncate"  # what happens to longer sentences
    detokenize: bool = False  # undo spaces around marks and the loss of capitals: for pretrained decoders
    # .npy or .parquet, a row per example of `train`, for encoder vectors; or a file for each of its files
    vectors: Sources | None = None
    valid_vectors: NonEmpty | None = None  # the same of `valid`
    test_vectors: NonEmpty | None = None  # the same of `test`
    vector_column: str = "vector"  # of a .parquet file
    shard_mb: Annotated[float, Field(gt=0)] = 32  # files of `train` are prepared together up to that size
    mix_shards: Positive = 8  # shards whose sentences are mixed in training
    store: NonEmpty | None = None  # a folder or URL that keeps prepared shards; the cache when null
    cache_gb: Annotated[float, Field(gt=0)] | None = None  # of shards on this disk; null bounds nothing


class ImageDataConfig(DataConfig):
    """Pictures: idx files, arrays, a folder of pictures, a saved `datasets` folder or a Hub id."""

    image_column: str = "image"  # of a data set
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None  # [height, width]
    channels: Literal[1, 3] | None = None  # as in the data when null
    binarize: Literal["none", "fixed", "stochastic"] = "none"  # pixels are drawn once, or anew in each epoch
    binarize_seed: Seed = 0  # of `fixed`
    on_bad_image: Literal["error", "skip"] = "error"  # what to do with an image that cannot be read


class GroupConfig(_Closed):
    """How some parameters train otherwise than the rest: their learning rate's factor, and their decay."""

    lr: Annotated[float, Field(gt=0)] = 1.0  # times train.lr
    weight_decay: Annotated[float, Field(ge=0)] | None = None  # train.weight_decay when null


class TrainConfig(_Closed):
    """How a run trains. Give `steps` or `epochs`; `batch_size` counts examples.

    `groups` names parameters by how their names begin (`latent`, `decoder.backbone`); the longest counts.
    """

    # updates; without `steps` and `epochs`, 10 epochs but at least 3,000 and at most 6,000 updates
    steps: Positive | None = None
    epochs: Positive | None = None  # passes over the training data, in place of `steps`
    batch_size: Positive = 64  # examples per update, of all processes together
    accumulate: Positive = 1  # micro-batches per update
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"  # sgd has momentum 0.9
    lr: Annotated[float, Field(gt=0)] = 1e-3  # learning rate after warm-up
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # of matrices; biases and norms have none
    groups: dict[str, GroupConfig] = {}  # parameters with a learning rate or decay of their own
    warmup: NonNegative = 0  # updates of linear warm-up
    # of the learning rate after warm-up; plateau halves it at every validation without a better one
    decay: Literal["none", "linear", "cosine", "plateau"] = "none"
    clip: Annotated[float, Field(gt=0)] | None = 5.0  # largest norm of the gradient; null clips nothing
    seed: Seed = 0  # of initial weights, noise and the order of examples
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

    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)
    run: str = Field(alias="from")  # a run folder
    parts: list[Literal["encoder", "latent", "prior", "decoder"]]  # what to take of it


class LabelConfig(_Closed):
    """A label that a model is conditioned on: its `classes`, or mean and standard deviation of a number."""

    classes: list[str | int | float] = []  # of a category
    mean: float = 0.0  # of a number
    sd: Annotated[float, Field(gt=0)] = 1.0  # of a number


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
    condition: Annotated[dict[str, LabelConfig | None], BeforeValidator(_list_to_blocks)] = {}
    init: InitConfig | None = None  # start from parts of a finished run
    train: TrainConfig = TrainConfig()  # how it trains


class TextRunConfig(RunConfig):
    """A run on sentences: it has a tokenizer besides."""

    modality: Literal["text"] = "text"
    data: TextDataConfig = TextDataConfig()
    tokenizer: Component = Component(name="word")  # trained on the training split, or `file`
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
