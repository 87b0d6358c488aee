"""Tiny text models with strong random weights, and the batches they read: what the text tests share.

Shapes: B sentences, T tokens, V words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from seqvae.build import build_vae
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.data.text.batching import batch_from_ids
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.decoding import UNTRUNCATED, GenerationConfig
from seqvae.models.text.likelihood import TextDecoder
from seqvae.models.vae import VAE

SPECIAL = SpecialIds(pad=0, unk=1, bos=2, eos=3)
WORDS = 7  # four special ones and three words
SAYABLE = (1, 4, 5, 6)  # what may stand inside a sentence
SPECIALS_AND_PIECES = (None, None, None, None, "a", "b", "ab")  # what each word spells
SIZES = {"vocab_size": WORDS, "special": SPECIAL}
SENTENCES = [[4, 5], [6], [5, 5, 4], [], [5, 6, 4, 1, 6], [4, 6, 6], [6, 4]]

Spec = dict[str, Any]
RECURRENT: Spec = {"embed": 5, "hidden": 6}
ATTENTION: Spec = {"width": 8, "heads": 2}
ENCODERS: dict[str, Spec] = {
    "gru": {"name": "gru", **RECURRENT},
    "lstm": {"name": "lstm", **RECURRENT},
    "transformer": {"name": "transformer", **ATTENTION},
}
DECODERS: dict[str, Spec] = {
    **{
        f"{cell}-{'+'.join(places)}": {"name": cell, **RECURRENT, "z_to": list(places)}
        for cell in ("gru", "lstm")
        for places in (("state",), ("steps",), ("softmax",), ("state", "steps", "softmax"))
    },
    **{
        f"transformer-{'+'.join(places)}": {"name": "transformer", **ATTENTION, "z_to": list(places)}
        for places in (
            ("slots",), ("norms",), ("embeddings",), ("softmax",), ("slots", "norms", "embeddings", "softmax")
        )
    },
    "gru-tied-2": {"name": "gru", **RECURRENT, "layers": 2, "tie": True},
    "lstm-tied-2": {"name": "lstm", **RECURRENT, "layers": 2, "tie": True},
    "transformer-tied-1": {"name": "transformer", **ATTENTION, "layers": 1, "tie": True},
}  # fmt: skip
PLAIN = ("gru", "lstm", "transformer")


def untruncated(**how: Any) -> GenerationConfig:
    """Decoding of the model as it is: any word, any repetition."""
    return replace(UNTRUNCATED, **how)


def tiny_config(encoder: Spec | None = None, latent: Spec | None = None, decoder: Spec | None = None,
                **more: Any) -> RunConfig:  # fmt: skip
    return parse_config(
        {
            "encoder": encoder or ENCODERS["gru"],
            "latent": latent or {"name": "gaussian", "dim": 2},
            "decoder": decoder or {"name": "gru", **RECURRENT},
            **more,
        }
    )


def tiny_vae(
    encoder: Spec | None = None, latent: Spec | None = None, decoder: Spec | None = None, std: float = 0.5
) -> VAE:
    """In evaluation mode, with weights so large that every input counts."""
    vae = build_vae(tiny_config(encoder, latent, decoder), SIZES)
    return randomized(vae, std)


def tiny_decoder(spec: Spec, dim: int = 2, std: float = 0.5) -> TextDecoder:
    latent = {"name": "gaussian", "dim": dim} if dim else {"name": "none"}
    decoder = tiny_vae(latent=latent, decoder=spec, std=std).decoder
    assert isinstance(decoder, TextDecoder)
    return decoder


def randomized(module: Any, std: float, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module.eval()


def text_batch(sentences: list[list[int]] | None = None, seed: int = 0, step: int = 0) -> TextBatch:
    return batch_from_ids(SENTENCES if sentences is None else sentences, SPECIAL, seed, step)


def rows_of(batch: TextBatch, rows: list[int]) -> TextBatch:
    """Some of a batch's sentences, in the order given, with their own noise and no column too many."""
    at = torch.tensor(rows)
    longest, source = int(batch.lengths[at].max()), int(batch.source_lengths[at].max())
    return batch.replace(
        source=batch.source[at, :source],
        source_lengths=batch.source_lengths[at],
        inputs=batch.inputs[at, :longest],
        targets=batch.targets[at, :longest],
        lengths=batch.lengths[at],
        index=batch.index[at],
        labels=batch.labels[at],
        random=KeyedNoise(batch.random.seed, batch.random.step, batch.index[at]),
    )


def padded(batch: TextBatch, columns: int, word: int = SPECIAL.pad) -> TextBatch:
    """More columns on the right, and `word` wherever no token is."""

    def wider(ids: Tensor, lengths: Tensor) -> Tensor:
        ids = nn.functional.pad(ids, (0, columns), value=word)
        return torch.where(torch.arange(ids.shape[1]) < lengths[:, None], ids, word)

    return batch.replace(
        source=wider(batch.source, batch.source_lengths),
        inputs=wider(batch.inputs, batch.lengths),
        targets=wider(batch.targets, batch.lengths),
    )


def all_sentences(words: int) -> Iterator[list[int]]:
    """Every sentence of exactly this many words."""
    return (list(ids) for ids in product(SAYABLE, repeat=words))
