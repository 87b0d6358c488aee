"""A finished run and its dial: the data that its needs are told of, and another default rate for it.

Shapes: N pictures of C x H x W.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from seqvae.api import PretrainedVAE, TextVAE
from seqvae.build import wing_of
from seqvae.checkpoint import WEIGHTS, Run, add_to_card, save_weights
from seqvae.dial import Need, PictureNeed, Wanted, needs, picture_needs
from seqvae.disk import digest
from seqvae.fitted import keep_fitted
from seqvae.generate import with_rate
from seqvae.metrics.gather import Progress
from seqvae.progress import Reporter
from seqvae.rates import EXAMPLES, SAMPLES, best_rate, trained_range
from seqvae.registry import UserError

SPLITS = ("train", "valid", "test")


def choose_rate(
    run: Run,
    rates: Sequence[float] | None = None,
    examples: int = EXAMPLES,
    samples: int = SAMPLES,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Give a finished run another default rate, the best by IW-NLL on its validation data; what was found.

    It is written into the run's weights and card, as training does at its end; priors that were fitted to
    the run stay with it.

    Raises:
        UserError: a run without a dial, or a rate that it was not trained for.
    """
    trained_range(run.vae.latent)
    wing = wing_of(run.config)
    feed = wing.make_feed(wing.load_data(run.config, run.codec), 64, 1, 0)
    chosen = best_rate(run.vae, feed.valid(examples), rates, samples, progress)
    before = digest(run.path / WEIGHTS)
    save_weights(run.path, with_rate(run.vae, chosen["nats"]))
    keep_fitted(run.path, before)
    add_to_card(run.path, rate=chosen)
    return chosen


def examples_of(vae: PretrainedVAE, data: str | None, count: int | None = None) -> Any:
    """The first `count` sentences, or pictures uint8 (N, C, H, W), of a split of the run's data or of a file.

    Raises:
        UserError: the run has no such split, or the file cannot be read.
    """
    store = _store(vae, data)
    rows = range(len(store) if count is None else min(count, len(store)))
    if isinstance(vae, TextVAE):
        return list(vae.tokenizer.decode_batch(store.tokens(i).tolist() for i in rows))
    return store.pixels[: len(rows)]


def _store(vae: Any, data: str | None) -> Any:
    if data not in SPLITS or Path(data).exists():
        return vae._store(data)[1]
    config = vae.run.config
    found: Any = wing_of(config).load_data(config, vae.run.codec)
    splits = found.splits
    if data not in splits:
        raise UserError(f"{vae.run.path} has no {data} split: it has {', '.join(splits)}")
    return splits[data]


def needs_of(
    vae: PretrainedVAE, examples: Any, wanted: Wanted, report: Reporter | None = None
) -> list[Need] | list[PictureNeed]:
    """How many nats each sentence or picture needs, the one that needs least first.

    Raises:
        UserError: as `needs` and `picture_needs`.
    """
    if isinstance(vae, TextVAE):
        found: Any = needs(vae, examples, wanted, report)
    else:
        found = picture_needs(vae, examples, wanted, report)
    return sorted(found, key=lambda need: torch.inf if need.nats is None else need.nats)
