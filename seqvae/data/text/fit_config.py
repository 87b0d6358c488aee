"""Fit a config to a corpus: the tokenizer and maximum length, unless the user set them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from seqvae.config.schema import Component, TextDataConfig, TextRunConfig
from seqvae.data.text.choosing import PERCENTILE, choose_tokenizer, look_at, percentile
from seqvae.data.text.dataset import cached_tokenizer, splits_of
from seqvae.data.text.splits import Split
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError

LENGTHS = 20_000  # texts used to determine the maximum length


def fit_to_corpus(config: TextRunConfig, chosen: Sequence[str]) -> tuple[TextRunConfig, list[str]]:
    """The config with a tokenizer and maximum length suited to the corpus, and a line of reason for each.

    `chosen` are the keys set by the user: `tokenizer...` and `data.max_tokens` among them are not changed.

    Raises:
        UserError: the corpus cannot be read.
    """
    keys, lines = {key.partition("=")[0] for key in chosen}, []
    splits = splits_of(config.data)
    train = splits["train"].examples
    if not any(key.split(".")[0] == "tokenizer" for key in keys):
        seen = look_at((e.text for e in train()), (e.text for e in splits["valid"].examples()))
        tokenizer, why = choose_tokenizer(seen)
        config = config.model_copy(update={"tokenizer": tokenizer})
        lines.append(why)
    if "data.max_tokens" not in keys:
        config, made = _train_tokenizer(config, splits["train"])
        most = percentile(made.encode_flat([e.text for e in islice(train(), LENGTHS)])[1].tolist())
        data: TextDataConfig = config.data.model_copy(update={"max_tokens": most})
        config = config.model_copy(update={"data": data})
        lines.append(f"max_tokens {most}: {PERCENTILE} % of the texts have no more tokens")
    return config, lines


def _train_tokenizer(config: TextRunConfig, train: Split) -> tuple[TextRunConfig, TextTokenizer]:
    """The config and its trained tokenizer; if the texts have too few pieces for BPE, with all there are."""
    try:
        return config, cached_tokenizer(config.tokenizer, train)
    except UserError:
        if config.tokenizer.name != "bpe":
            raise
        config = config.model_copy(update={"tokenizer": Component(name="bpe")})
        return config, cached_tokenizer(config.tokenizer, train)
