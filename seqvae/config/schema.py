"""The schema of a run's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)


class _Closed(BaseModel):
    """A block that rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class Component(BaseModel):
    """An open block, `{name: ..., **arguments}`; the class of that name checks the arguments."""

    model_config = ConfigDict(extra="allow")
    name: str

    @property
    def arguments(self) -> dict[str, Any]:
        """All keys but `name`."""
        return dict(self.model_extra or {})


def _named_sources(value: str | list[str]) -> str | list[str]:
    """Validate sources: not empty, and valid Unicode, which YAML requires."""
    if any(not name.isascii() and name.encode("utf-8", "ignore").decode() != name for name in [*value]):
        raise ValueError("this name is not valid Unicode: rename it")
    if not value or (not isinstance(value, str) and "" in value):
        raise ValueError("name a file, a folder or a Hub id")
    return value


Positive = Annotated[int, Field(gt=0, lt=2**31)]
NonEmpty = Annotated[str, Field(min_length=1)]
NonNegative = Annotated[int, Field(ge=0, lt=2**31)]
Seed = Annotated[int, Field(gt=-(2**62), lt=2**62)]
Sources = Annotated[str | list[str], AfterValidator(_named_sources)]  # several are concatenated
Share = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(_Closed):
    """Where the examples come from; the keys that all modalities share.

    `name` is an embedded data set; otherwise `train` is a file, a folder or a Hub id. Without `valid` or
    `test`, a random part of the training data is held out (`valid_share`, `test_share`, at most
    `max_heldout` examples). `labels` names the label columns.
    """

    name: str | None = None  # an embedded data set, instead of `train`
    train: Sources | None = None  # a file, a folder or a Hub id
    valid: Sources | None = None  # the same for validation; else a split of the source, or a part of `train`
    test: Sources | None = None  # the same for testing
    labels: list[str] = []  # label columns to read with each example
    label_columns: dict[str, str] = {}  # {label: its column}, if the names differ
    valid_share: Share = 0.05  # fraction of the training data held out if there is no validation data
    test_share: Share = 0.05  # fraction of the training data held out if there is no test data
    max_heldout: Positive = 5000  # examples in a held-out part, at most
    split_seed: Seed = 0  # seed of the held-out examples
    examples: Positive | None = None  # train on at most the first N examples
    num_labeled: Positive | None = None  # only N examples keep their labels, equally many per class


class TextDataConfig(DataConfig):
    """Sentences: text lines, tables, JSON, folders of them, a saved `datasets` folder or a Hub id.

    `encoding`, `delimiter`, `quotes` and `format` say how files are read; null means detected.
    """

    text_column: str = "text"  # of a table or a data set
    encoding: str | None = None  # of text files; detected when null
    delimiter: str | None = None  # between a table's columns; detected when null
    quotes: Literal["double", "backslash", "none"] | None = None  # quoting of a table; detected when null
    format: (
        Literal["lines", "paragraphs", "sentences", "fasta", "smiles", "json", "csv", "tsv", "parquet"] | None
    ) = None  # by the file's name when null
    max_tokens: Positive = 64  # tokens per sentence at most
    overlong: Literal["truncate", "drop"] = "truncate"  # what happens to longer sentences
    detokenize: bool = False  # undo tokenization (spaced marks, lower case), for pretrained decoders
    # .npy or .parquet, one row per example of `train`, for encoder vectors; or one file per file of `train`
    vectors: Sources | None = None
    valid_vectors: NonEmpty | None = None  # the same of `valid`
    test_vectors: NonEmpty | None = None  # the same of `test`
    vector_column: str = "vector"  # of a .parquet file
    shard_mb: Annotated[float, Field(gt=0)] = 32.0  # files of `train` are prepared together up to that size
    mix_shards: Positive = 8  # shards whose sentences are mixed in training
    store: NonEmpty | None = None  # a folder or URL that keeps prepared shards; the cache when null
    cache_gb: Annotated[float, Field(gt=0)] | None = None  # of shards on this disk; null bounds nothing


class ImageDataConfig(DataConfig):
    """Images: idx files, arrays, a folder of images, a saved `datasets` folder or a Hub id."""

    image_column: str = "image"  # of a data set
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None  # [height, width]
    channels: Literal[1, 3] | None = None  # as in the data when null
    binarize: Literal["none", "fixed", "stochastic"] = "none"  # sample pixels once, or anew in each epoch
    binarize_seed: Seed = 0  # seed of `fixed`
    on_bad_image: Literal["error", "skip"] = "error"  # for an image that cannot be read


class GroupConfig(_Closed):
    """Learning rate factor and weight decay of a group of parameters."""

    lr: Annotated[float, Field(gt=0)] = 1.0  # factor of train.lr
    weight_decay: Annotated[float, Field(ge=0)] | None = None  # train.weight_decay when null


class TrainConfig(_Closed):
    """How a run trains. Give `steps` or `epochs`; `batch_size` counts examples.

    `groups` maps prefixes of parameter names (`latent`, `decoder.backbone`) to settings; the longest counts.
    """

    # updates; without `steps` and `epochs`, 10 epochs but at least 3,000 and at most 6,000 updates
    steps: Positive | None = None
    epochs: Positive | None = None  # passes over the training data, instead of `steps`
    batch_size: Positive = 64  # examples per update, over all ranks
    accumulate: Positive = 1  # micro-batches per update
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"  # sgd has momentum 0.9
    lr: Annotated[float, Field(gt=0)] = 1e-3  # learning rate after warm-up
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  # of matrices; biases and norms have none
    groups: dict[str, GroupConfig] = {}  # parameters with their own learning rate or decay
    warmup: NonNegative = 0  # updates of linear warm-up
    # of the learning rate after warm-up; plateau halves it at every validation without improvement
    decay: Literal["none", "linear", "cosine", "plateau"] = "none"
    clip: Annotated[float, Field(gt=0)] | None = 5.0  # maximum norm of the gradient; null means no clipping
    seed: Seed = 0  # of initial weights, noise and example order
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto is bf16 if the hardware is fast at it
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    compile: bool = False  # torch.compile for the modules that gain from it
    capture: Literal["auto", "always", "never"] = "auto"  # capture updates as CUDA graphs, if possible
    shard: bool = False  # FSDP2: shard parameters, gradients and optimizer state over ranks
    # validation metric that selects the weights, once all schedules have settled
    select: Literal["neg_elbo", "distortion", "last"] = "neg_elbo"
    validate_every: Positive | None = None  # updates; once per epoch when null
    valid_examples: Positive = 2000  # validation examples at most
    patience: Positive | None = None  # stop after N validations without improvement
    save_every: Positive | None = None  # updates; at every validation when null
    keep: Positive = 2  # number of checkpoints kept
    log_every: Positive = 50  # updates per logged line
    tensorboard: bool = False  # also write TensorBoard files (extra `tensorboard`)
    threads: Positive | None = None  # CPU threads; torch's default when null


class InitConfig(_Closed):
    """Initialise `parts` of the model from the finished run `from`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, allow_inf_nan=False)
    run: str = Field(alias="from")  # a run folder
    parts: list[Literal["encoder", "latent", "prior", "decoder"]]  # parts to copy


class LabelConfig(_Closed):
    """Statistics of a condition label: the `classes` of a category, or `mean` and `sd` of a number."""

    classes: list[str | int | float] = []  # of a category
    mean: float = 0.0  # of a number
    sd: Annotated[float, Field(gt=0)] = 1.0  # of a number


def _list_to_blocks(value: Any) -> Any:
    """Turn a list of labels into {label: None}; training fills in the statistics."""
    if not isinstance(value, list):
        return value
    if twice := [name for name in value if value.count(name) > 1]:
        raise ValueError(f"{twice[0]!r} is there twice: keep one")
    return dict.fromkeys(value)


def _dims(value: Any) -> Any:
    """Reject a dim given twice: keys of JSON and `--set` are strings, so "1" and 1 are the same."""
    if not isinstance(value, Mapping):
        return value
    dims = [str(key) for key in value]
    if twice := [dim for dim in dims if dims.count(dim) > 1]:
        raise ValueError(f"dim {twice[0]} is there twice: keep one")
    return value


RUN_CONFIGS: dict[str, type[RunConfig]] = {}  # by modality: the subclasses of RunConfig register themselves


class RunConfig(_Closed):
    """The whole config of a run; `parse_config` returns the class of its `modality`.

    `attributes` ties dims of the code to labels. `condition` names labels that the model is conditioned on.
    """

    # type of the examples
    modality: Annotated[str, Field(json_schema_extra=lambda schema: schema.update(enum=[*RUN_CONFIGS]))]
    data: DataConfig  # source of the examples
    encoder: Component  # batch to features
    latent: Component = Component(name="gaussian")  # q(z|x); `prior: {name: ...}` inside it names p(z)
    decoder: Component  # codes to p(x|z)
    objective: Component = Component(name="elbo")  # the loss
    remedies: list[Component] = []  # applied in this order
    # {dim: label}: training makes the dim increase with the label
    attributes: Annotated[dict[NonNegative, str], BeforeValidator(_dims)] = {}
    # [label, ...] that prior, posterior and decoder read; a run stores the statistics of each
    condition: Annotated[dict[str, LabelConfig | None], BeforeValidator(_list_to_blocks)] = {}
    init: InitConfig | None = None  # start from parts of a finished run
    train: TrainConfig = TrainConfig()  # training settings

    @classmethod
    def __pydantic_init_subclass__(cls, **arguments: Any) -> None:
        """Register a subclass as the config of its `modality`."""
        super().__pydantic_init_subclass__(**arguments)
        if "modality" in get_annotations(cls):
            RUN_CONFIGS[cls.model_fields["modality"].default] = cls

    def map_paths(self, change: Callable[[str], str]) -> Self:
        """A copy with `change` applied to the path of each file that it names, except those of `data`."""
        if self.init is None:
            return self
        return self.model_copy(update={"init": self.init.model_copy(update={"run": change(self.init.run)})})


class TextRunConfig(RunConfig):
    """A run on sentences, which also has a tokenizer."""

    modality: Literal["text"] = "text"
    data: TextDataConfig = TextDataConfig()
    tokenizer: Component = Component(name="word")  # trained on the training split, or loaded with `file`
    encoder: Component = Component(name="gru")
    decoder: Component = Component(name="gru")

    def map_paths(self, change: Callable[[str], str]) -> Self:
        """As the base class, and the path of the tokenizer's file."""
        changed, values = super().map_paths(change), self.tokenizer.model_dump()
        if not isinstance(values.get("path"), str):
            return changed
        tokenizer = Component(**values | {"path": change(values["path"])})
        return changed.model_copy(update={"tokenizer": tokenizer})

    @model_validator(mode="before")
    @classmethod
    def _tokenizer_of_decoder(cls, values: Any) -> Any:
        """By default a pretrained decoder uses its own tokenizer."""
        decoder = values.get("decoder") if isinstance(values, dict) else None
        if not isinstance(decoder, dict) or decoder.get("name") != "pretrained" or "model" not in decoder:
            return values
        if values.get("tokenizer") not in (None, {"name": "word"}):
            return values
        named = {key: decoder[key] for key in ("model", "revision") if decoder.get(key)}
        return {**values, "tokenizer": {"name": "pretrained", **named}}


class ImageRunConfig(RunConfig):
    """A run on images."""

    modality: Literal["image"] = "image"
    data: ImageDataConfig = ImageDataConfig()
    encoder: Component = Component(name="mlp")
    decoder: Component = Component(name="mlp")
