"""Registry of modalities: models, data loading and batching of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from seqvae.config.registry import construct
from seqvae.config.schema import Component, DataConfig, ImageRunConfig, RunConfig, TextRunConfig
from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.dataset import DEFAULT_PICTURES
from seqvae.data.image.dataset import load_data as load_pictures
from seqvae.data.image.feed import ImageBatchSource
from seqvae.data.image.load_files import load_images
from seqvae.data.preparation import Preparation
from seqvae.data.synthetic import CORPORA, PICTURES
from seqvae.data.text.dataset import TextData
from seqvae.data.text.dataset import load_data as load_text
from seqvae.data.text.detokenize import share_tokenized
from seqvae.data.text.embedded import DEFAULT_CORPUS
from seqvae.data.text.feed import TextBatchSource
from seqvae.data.text.source import SourceFacts
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.interfaces import BatchSource, Data, Decoder, Encoder, Processor
from seqvae.models import image, pretrained, text
from seqvae.models.pretrained.sources import source_reader

_SEEN = 500  # sentences inspected to detect a tokenized corpus


class DataSet(Protocol):
    """An embedded data set."""

    @property
    def factors(self) -> Iterable[str]:
        """Names of the factors that generate its examples."""
        ...


@dataclass(frozen=True)
class Modality:
    """Everything that code outside `models` and `data` needs to know about a modality.

    Attributes:
        run_config: class of its configs.
        vae_class: import path `module:class` of its trained models for use, a layer above this one.
        data_sets: embedded data sets by name, with the names of their `factors`.
        default_data_set: the one that a config gets if it names no data.
        example: name of one example in messages.
        column: its key in JSON output.
        is_image: whether examples are shown as images.
        unit: the unit of `batch.num_targets`.
        attributes: attributes that every example has without a label.
        size_key: the config key that bounds the size of an example, and so the memory of an update, if any.
        remedy_hint: what to try if the posterior collapses.
        encoders: encoder classes by config name.
        decoders: decoder classes by config name.
        load_data: (config, processor of a run or None for a new one, how shards are prepared) -> data.
        load_codec: (run folder, metadata of the processor) -> processor.
        make_batch_source: (data, batch size, number of micro-batches, seed) -> batches for training.
        read_examples: (processor, command line arguments) -> the examples they name.
    """

    run_config: type[RunConfig]
    vae_class: str
    data_sets: Mapping[str, DataSet]
    default_data_set: str
    example: str
    column: str
    is_image: bool
    unit: str
    attributes: tuple[str, ...]
    size_key: str
    remedy_hint: str
    encoders: Mapping[str, type[Encoder]]
    decoders: Mapping[str, type[Decoder]]
    load_data: Callable[..., Data]
    load_codec: Callable[[Path, Mapping[str, Any]], Processor]
    make_batch_source: Callable[[Any, int, int, int], BatchSource]
    read_examples: Callable[[Any, Sequence[str]], Any]

    @property
    def examples(self) -> str:
        """Plural of `example`."""
        return f"{self.example}s"

    def load_vae_class(self) -> type:
        """Import the class of trained models for use."""
        module, _, name = self.vae_class.partition(":")
        found: type = getattr(import_module(module), name)
        return found

    def embedded_factors(self, data: DataConfig) -> tuple[str, ...]:
        """Names of the factors of embedded data; empty for other data."""
        return () if data.train else tuple(self.data_sets[data.name or self.default_data_set].factors)


def _load_text(config: RunConfig, codec: TextTokenizer | None, how: Preparation | None = None) -> Data:
    assert isinstance(config, TextRunConfig)
    tokenizer = codec or config.tokenizer
    if isinstance(tokenizer, Component) and tokenizer.name in pretrained.TOKENIZERS:
        tokenizer = construct("tokenizer", pretrained.TOKENIZERS, tokenizer)
    data = load_text(config.data, tokenizer, source_reader(config), how)
    return replace(data, notes=_notes(config, data))


def _notes(config: TextRunConfig, data: TextData) -> tuple[str, ...]:
    """A warning if a pretrained decoder is to be trained on tokenized text."""
    if config.decoder.name not in pretrained.DECODERS or config.data.detokenize:
        return ()
    rows = range(min(_SEEN, len(data.train)))
    texts = data.tokenizer.decode_batch(data.train.tokens(i).tolist() for i in rows)
    if share_tokenized(texts) < 0.5:
        return ()
    note = "the text is tokenized (spaces before marks), which costs a pretrained decoder many nats: "
    return (f"{note}data.detokenize=true makes it plain",)


def _load_tokenizer(folder: Path, card: Mapping[str, Any]) -> TextTokenizer:
    return TextTokenizer.load(folder).with_source(SourceFacts.from_card(card.get("source")))


def _load_pictures(config: RunConfig, codec: ImageProcessor | None, how: Preparation | None = None) -> Data:
    assert isinstance(config, ImageRunConfig)
    return load_pictures(config.data, codec)


MODALITIES: dict[str, Modality] = {
    "text": Modality(
        run_config=TextRunConfig,
        vae_class="seqvae.inference.text_vae:TextVAE",
        data_sets=CORPORA,
        default_data_set=DEFAULT_CORPUS,
        example="sentence",
        column="text",
        is_image=False,
        unit=TextTokenizer.unit,
        attributes=("length",),
        size_key="data.max_tokens",
        remedy_hint="the remedies free_bits {nats: 0.25}, word_dropout {rate: 0.4} or cyclical_annealing, "
        "pooling: max in the encoder, or a constant_beta below 1",
        encoders={**text.ENCODERS, **pretrained.ENCODERS},
        decoders={**text.DECODERS, **pretrained.DECODERS},
        load_data=_load_text,
        load_codec=_load_tokenizer,
        make_batch_source=TextBatchSource,
        read_examples=lambda codec, words: list(words),
    ),
    "image": Modality(
        run_config=ImageRunConfig,
        vae_class="seqvae.inference.image_vae:ImageVAE",
        data_sets=PICTURES,
        default_data_set=DEFAULT_PICTURES,
        example="picture",
        column="picture",
        is_image=True,
        unit=ImageProcessor.unit,
        attributes=(),
        size_key="",
        remedy_hint="the remedies free_bits {nats: 0.25} or cyclical_annealing, or a constant_beta below 1",
        encoders=image.ENCODERS,
        decoders=image.DECODERS,
        load_data=_load_pictures,
        load_codec=lambda folder, card: ImageProcessor.from_metadata(card),
        make_batch_source=ImageBatchSource,
        read_examples=lambda codec, words: load_images(words, codec),
    ),
}
