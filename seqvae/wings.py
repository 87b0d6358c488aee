"""The wings of the house behind one face: what a modality brings, a row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqvae import image, text
from seqvae.config import ImageRunConfig, RunConfig, TextRunConfig
from seqvae.image.codec import PictureCodec
from seqvae.image.data import load_data as load_pictures
from seqvae.image.feed import ImageFeed
from seqvae.image.pictures import read_pictures
from seqvae.interfaces import Codec, Data, Decoder, Encoder, Feed
from seqvae.text.data import load_data as load_text
from seqvae.text.feed import TextFeed
from seqvae.text.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Wing:
    """A modality: its models, its data and what turns the one into batches for the other.

    `example` is what people call one, `column` what JSON calls it, `drawn` whether it takes a picture to show
    one; `unit` is what `batch.units` counts, `attributes` what can be said of any example without a label,
    `cures` what to try where the code carries nothing.
    """

    example: str
    column: str
    drawn: bool
    unit: str
    attributes: tuple[str, ...]
    cures: str
    encoders: Mapping[str, type[Encoder]]
    decoders: Mapping[str, type[Decoder]]
    load_data: Callable[[Any, Any], Data]  # (config, codec of a run or None for a new one)
    load_codec: Callable[[Path, Mapping[str, Any]], Codec]  # (run folder, the codec's card)
    make_feed: Callable[[Any, int, int, int], Feed]  # (data, batch size, micro-batches, seed)
    read: Callable[[Any, Sequence[str]], Any]  # (codec, words of a command line): the examples they name

    @property
    def examples(self) -> str:
        """What people call many of them."""
        return f"{self.example}s"


def _load_text(config: RunConfig, codec: TextTokenizer | None) -> Data:
    assert isinstance(config, TextRunConfig)
    return load_text(config.data, codec or config.tokenizer)


def _load_pictures(config: RunConfig, codec: PictureCodec | None) -> Data:
    assert isinstance(config, ImageRunConfig)
    return load_pictures(config.data, codec)


WINGS: dict[str, Wing] = {
    "text": Wing(
        example="sentence",
        column="text",
        drawn=False,
        unit=TextTokenizer.unit,
        attributes=("length",),
        cures="the remedies free_bits {nats: 0.25}, word_dropout {rate: 0.4} or cyclical_annealing, "
        "pooling: max in the encoder, or a constant_beta below 1",
        encoders=text.ENCODERS,
        decoders=text.DECODERS,
        load_data=_load_text,
        load_codec=lambda folder, card: TextTokenizer.load(folder),
        make_feed=TextFeed,
        read=lambda codec, words: list(words),
    ),
    "image": Wing(
        example="picture",
        column="picture",
        drawn=True,
        unit=PictureCodec.unit,
        attributes=(),
        cures="the remedies free_bits {nats: 0.25} or cyclical_annealing, or a constant_beta below 1",
        encoders=image.ENCODERS,
        decoders=image.DECODERS,
        load_data=_load_pictures,
        load_codec=lambda folder, card: PictureCodec.from_card(card),
        make_feed=ImageFeed,
        read=lambda codec, words: read_pictures(words, codec),
    ),
}
