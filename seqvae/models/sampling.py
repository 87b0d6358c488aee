"""Sampling of codes: prior samples, requested rates and labels, interpolation between codes.

Shapes: N or n codes, B examples of a batch, D latent dims, L labels, C conditions, T points of a path.
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
Rate = float | Sequence[float] | None  # nats: one for all, one per example, or the default of the model
Condition = Mapping[str, Any]  # {label: one value for all, or a list of one per example}


def sample_prior(
    vae: VAE, n: int, seed: int, device: torch.device | str = "cpu", c: Tensor | None = None
) -> Tensor:
    """Samples z (n, D) from p(z), or p(z|c).

    Args:
        vae: the model.
        n: number of samples; sample i does not depend on it.
        seed: seed of the noise.
        device: device of the noise.
        c: condition (n, C), by default that of the model.
    """
    random = KeyedNoise(seed, 0, torch.arange(n, device=device))
    c = vae.default_condition(random) if c is None else c
    with torch.no_grad():
        z: Tensor = vae.prior(None if c is None else c.to(next(vae.parameters()).device)).sample(n, random)
    return z


def with_rate(vae: VAE, nats: float) -> VAE:
    """The model with another default rate; it shares all parts but the latent.

    Raises:
        UserError: the rate is outside the trained range, or the model is not variable-rate.
    """
    return vae.replace(latent=vae.latent.at_rate(nats))


def with_condition(vae: VAE, condition: Condition) -> VAE:
    """The model with fixed labels, {label: value}, for all examples; it shares all parts.

    Raises:
        UserError: the model is not conditioned on labels, a label is unknown or missing, or a value is
            invalid.
    """
    return vae.replace(labels=_require_labels(vae, condition).fix(condition))


def with_own_labels(vae: VAE) -> VAE:
    """The model without fixed labels: it is conditioned on those of each example."""
    return vae if vae.labels is None else vae.replace(labels=replace(vae.labels, fixed=()))


def make_rate_features(vae: VAE, rate: Rate, n: int) -> Tensor | None:
    """Condition features (n, C) of the latent that request a rate.

    Args:
        vae: the model.
        rate: nats, one for all or n; None for the default of the model.
        n: number of examples.

    Returns:
        The features, or None where `rate` is None.

    Raises:
        UserError: not one or n rates, a rate outside the trained range, or the model is not variable-rate.
    """
    if rate is None:
        return None
    nats = torch.as_tensor(rate, dtype=torch.float32)
    if nats.ndim > 0 and nats.shape != (n,):
        raise UserError(f"rate got {len(nats)} values for {n} examples: give one, or one for each")
    return vae.latent.rate_condition(nats.expand(n))


def make_label_columns(vae: VAE, condition: Condition | None, n: int) -> Tensor | None:
    """Labels (n, L) of n examples, as in `batch.labels`; None where `condition` is None.

    Raises:
        UserError: as `with_condition`, or a label has not one or n values.
    """
    return None if condition is None else _require_labels(vae, condition).encode_columns(condition, n)


def make_condition(vae: VAE, n: int, rate: Rate = None, condition: Condition | None = None) -> Tensor | None:
    """Condition c (n, C) for n prior samples at `rate` nats with the labels in `condition`.

    Raises:
        UserError: as `make_rate_features` and `make_label_columns`, or the model is conditioned on labels
            and none are given or fixed.
    """
    labels = make_label_columns(vae, condition, n)
    return vae.default_condition(KeyedNoise(0, 0, torch.arange(n)), make_rate_features(vae, rate, n), labels)


def resample_conditions(vae: VAE, batches: Sequence[Batch], n: int) -> Tensor | None:
    """Conditions c (n, C) of n evenly spaced examples of `batches`; None for a model without labels."""
    if vae.labels is None:
        return None
    device = next(vae.parameters()).device
    found = [c for batch in batches if (c := vae.condition(batch.to(device))) is not None]
    every = torch.cat(found)
    return every[torch.arange(n, device=device) * len(every) // n]  # repeats examples if n is larger


def with_conditions(batches: Iterable[Batch], labels: Tensor | None, rates: Tensor | None) -> Iterator[Batch]:
    """Batches with their rows of `labels` (N, L) and of the rate features `rates` (N, C), where given."""
    start = 0
    for batch in batches:
        rows = slice(start, start := start + batch.size)
        named = {"labels": labels, "condition": rates}
        given = {name: x[rows].to(batch.index.device) for name, x in named.items() if x is not None}
        yield batch.replace(**given) if given else batch


def _require_labels(vae: VAE, condition: Condition) -> LabelEncoder:
    if vae.labels is None:
        raise UserError(
            f"condition got {', '.join(condition)}: this run is not conditioned on labels: train one with "
            "`condition: [label]` in its config"
        )
    return vae.labels


def choose_codes(q: Posterior, batch: Batch, sample: bool = False) -> Tensor:
    """(B, D): point estimates of the codes (posterior means), or one sample of each."""
    return q.rsample(1, batch.random)[0] if sample else point_estimate(q)


def interpolate_codes(a: Tensor, b: Tensor, points: int, path: Path = "linear") -> Tensor:
    """Codes (T, D) from a (D,) to b (D,), both ends included.

    Args:
        a: first code.
        b: last code.
        points: T.
        path: `linear` follows the chord, `slerp` the arc, near which a Gaussian prior has its mass (White
            2016).

    Example:
        >>> interpolate_codes(torch.zeros(2), torch.ones(2), points=3)
        tensor([[0.0000, 0.0000],
                [0.5000, 0.5000],
                [1.0000, 1.0000]])

    Raises:
        UserError: another path.
    """
    if path not in ("linear", "slerp"):
        raise UserError(f"path got {path!r}: choose linear or slerp")
    t = torch.linspace(0, 1, points, device=a.device)
    return lerp(a, b, t) if path == "linear" else slerp(a, b, t)
