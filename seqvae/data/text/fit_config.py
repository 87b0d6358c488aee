"""Fit a config to a corpus: the tokenizer and maximum length, unless the user set them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from seqvae.config.schema import Component, TextDataConfig, TextRunConfig
from seqvae.data.text.choosing import PERCENTILE, choose_tokenizer, look_at, percentile
from seqvae.data.text.dataset import cached_tokenizer, splits_of
from seqvae.data.text.information import code_nats, nats_per_text
from seqvae.data.text.splits import Split
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError

MOST, HIGH = 2.0, 4.0  # nats per dim at most, and the least ratio of the ends of a range of rates
LENGTHS, HELD_OUT = 20_000, 2_000  # training texts used for lengths and counts, and held-out texts


def fit_to_corpus(config: TextRunConfig, chosen: Sequence[str]) -> tuple[TextRunConfig, list[str]]:
    """The config with tokenizer, maximum length and code size suited to the corpus, and the reasons.

    `chosen` are the keys set by the user: `tokenizer...` and `data.max_tokens` among them are not changed,
    nor is the size of the code after `latent`, `latent.nats` or `remedies...`.

    Raises:
        UserError: the corpus cannot be read.
    """
    keys, lines = {key.partition("=")[0] for key in chosen}, []
    splits = splits_of(config.data)
    train, held = splits["train"].examples, splits["valid"].examples
    blocks = {key.split(".")[0] for key in keys}
    if "tokenizer" not in blocks:
        seen = look_at((e.text for e in train()), (e.text for e in held()))
        tokenizer, why = choose_tokenizer(seen)
        config = config.model_copy(update={"tokenizer": tokenizer})
        lines.append(why)
    fits_code = "remedies" not in blocks and not keys & {"latent", "latent.name", "latent.nats"}
    if "data.max_tokens" in keys and not fits_code:
        return config, lines
    config, made = _train_tokenizer(config, splits["train"])
    ids = made.encode_batch([e.text for e in islice(train(), LENGTHS)])
    if "data.max_tokens" not in keys:
        most = percentile([len(row) for row in ids])
        data: TextDataConfig = config.data.model_copy(update={"max_tokens": most})
        config = config.model_copy(update={"data": data})
        lines.append(f"max_tokens {most}: {PERCENTILE} % of the texts have no more tokens")
    if fits_code:
        most = config.data.max_tokens
        held_ids = made.encode_batch([e.text for e in islice(held(), HELD_OUT)])
        nats = nats_per_text((row[:most] for row in ids), (row[:most] for row in held_ids), made.vocab_size)
        config, why = fit_code(config, nats)
        lines += [why] if why else []
    return config, lines


def fit_code(config: TextRunConfig, nats: float) -> tuple[TextRunConfig, str]:
    """The config with a code size suited to texts of `nats` nats, and the reason.

    A range of rates ends at `nats`, at most 2 nats per dim; free bits give a sixth of it. A config without
    either is not changed.
    """
    dim = int(config.latent.arguments.get("dim", 32))
    given = config.latent.arguments.get("nats")
    if config.latent.name == "exact_rate" and isinstance(given, list | tuple):
        high = max(round(min(nats, MOST * dim)), round(HIGH * given[0]))
        arguments: Mapping[str, Any] = {**config.latent.arguments, "nats": [given[0], high]}
        latent = Component(name=config.latent.name, **arguments)
        why = f"rates from {given[0]:g} to {high} nats: a text holds about {nats:.3g} nats"
        return config.model_copy(update={"latent": latent}), why
    wanted = code_nats(nats)
    each = round(wanted / dim, 3)
    remedies = [_with_nats(remedy, each) for remedy in config.remedies]
    if remedies == config.remedies:
        return config, ""
    why = (
        f"free bits {each:g} nats per dim: a text holds about {nats:.3g} nats, of which the code of {dim} "
        f"dims gets {wanted:.3g}"
    )
    return config.model_copy(update={"remedies": remedies}), why


def _with_nats(remedy: Component, nats: float) -> Component:
    if remedy.name != "free_bits":
        return remedy
    arguments: Mapping[str, Any] = {**remedy.arguments, "nats": nats}
    return Component(name=remedy.name, **arguments)


def _train_tokenizer(config: TextRunConfig, train: Split) -> tuple[TextRunConfig, TextTokenizer]:
    """The config and its trained tokenizer; if the texts have too few pieces for BPE, with all there are."""
    try:
        return config, cached_tokenizer(config.tokenizer, train)
    except UserError:
        if config.tokenizer.name != "bpe":
            raise
        config = config.model_copy(update={"tokenizer": Component(name="bpe")})
        return config, cached_tokenizer(config.tokenizer, train)
