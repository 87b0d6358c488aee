"""Codes in, codes out: prior draws, rates and labels asked for, paths between codes, whatever they decode to.

Shapes: N or n codes, B of a batch, D latent dims, L labels, C conditions, T points of a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.interfaces import Batch, Posterior, point_estimate
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.labels import LabelEncoder
from seqvae.models.vae import VAE
from seqvae.numerics import lerp, slerp

Path = Literal["linear", "slerp"]
Rate = float | Sequence[float] | None  # nats: of all, of each, or the model's own
Condition = Mapping[str, Any]  # {label: value of all, or a list of one for each example}


def sample_prior(
    vae: VAE, n: int, seed: int, device: torch.device | str = "cpu", c: Tensor | None = None
) -> Tensor:
    """Z (n, D) from p(z), under the conditions c (n, C) or the model's own; draw i does not depend on n."""
    random = KeyedNoise(seed, 0, torch.arange(n, device=device))
    c = vae.default_condition(random) if c is None else c
    with torch.no_grad():
        z: Tensor = vae.prior(None if c is None else c.to(next(vae.parameters()).device)).sample(n, random)
    return z


def with_rate(vae: VAE, nats: float) -> VAE:
    """The same model with another default rate; it shares all but the latent.

    Raises:
        UserError: a rate that the model was not trained for, or it has no dial.
    """
    return vae.replace(latent=vae.latent.at_rate(nats))


def with_condition(vae: VAE, condition: Condition) -> VAE:
    """The same model with labels by default, {label: value}; it shares all parts.

    Raises:
        UserError: a model that is told no labels, labels that do not match its own, or a value that is none.
    """
    return vae.replace(labels=_labels(vae, condition).fix(condition))


def with_own_labels(vae: VAE) -> VAE:
    """The same model without labels by default: it is told those that each example has."""
    return vae if vae.labels is None else vae.replace(labels=replace(vae.labels, fixed=()))


def make_rate_features(vae: VAE, rate: Rate, n: int) -> Tensor | None:
    """(n, C) of the rates in nats that n examples ask of the latent; None leaves them to the model.

    Raises:
        UserError: not one rate or n, rates that the model was not trained for, or it has no dial.
    """
    if rate is None:
        return None
    nats = torch.as_tensor(rate, dtype=torch.float32)
    if nats.ndim > 0 and nats.shape != (n,):
        raise UserError(f"rate got {len(nats)} values for {n} examples: give one, or one for each")
    return vae.latent.rate_condition(nats.expand(n))


def make_label_columns(vae: VAE, condition: Condition | None, n: int) -> Tensor | None:
    """Labels (n, L) of n examples, as `batch.labels` has them; None leaves them to the model.

    Raises:
        UserError: as `with_condition`, or not one value or n of a label.
    """
    return None if condition is None else _labels(vae, condition).encode_columns(condition, n)


def make_condition(vae: VAE, n: int, rate: Rate = None, condition: Condition | None = None) -> Tensor | None:
    """C (n, C) of n codes that no example stands behind, at `rate` nats and told the labels of `condition`.

    Raises:
        UserError: as `make_rate_features` and `make_label_columns`, or labels are told and none is there by
        default.
    """
    labels = make_label_columns(vae, condition, n)
    return vae.default_condition(KeyedNoise(0, 0, torch.arange(n)), make_rate_features(vae, rate, n), labels)


def resample_conditions(vae: VAE, batches: Sequence[Batch], n: int) -> Tensor | None:
    """C (n, C) as examples have it, at equal steps through all of them; None for a model without labels."""
    if vae.labels is None:
        return None
    device = next(vae.parameters()).device
    found = [c for batch in batches if (c := vae.condition(batch.to(device))) is not None]
    every = torch.cat(found)
    return every[torch.arange(n, device=device) * len(every) // n]


def with_conditions(batches: Iterable[Batch], labels: Tensor | None, rates: Tensor | None) -> Iterator[Batch]:
    """Batches that carry their own rows of labels (N, L) and of the rates' features (N, C), where given."""
    start = 0
    for batch in batches:
        rows = slice(start, start := start + batch.size)
        named = {"labels": labels, "condition": rates}
        given = {name: x[rows].to(batch.index.device) for name, x in named.items() if x is not None}
        yield batch.replace(**given) if given else batch


def _labels(vae: VAE, condition: Condition) -> LabelEncoder:
    if vae.labels is None:
        raise UserError(
            f"condition got {', '.join(condition)}: this run is told no labels, as `condition: [label]` in "
            "a config does"
        )
    return vae.labels


def choose_codes(q: Posterior, batch: Batch, sample: bool = False) -> Tensor:
    """(B, D): the codes that stand for the examples (posterior means), or one draw of each."""
    return q.rsample(1, batch.random)[0] if sample else point_estimate(q)


def interpolate_codes(a: Tensor, b: Tensor, points: int, path: Path = "linear") -> Tensor:
    """(T, D) from a (D,) to b (D,), both ends included.

    `linear` keeps to the chord, `slerp` to the arc on which a Gaussian prior has its mass (White 2016).
    """
    t = torch.linspace(0, 1, points, device=a.device)
    return lerp(a, b, t) if path == "linear" else slerp(a, b, t)
