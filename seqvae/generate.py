"""Codes in, codes out: prior draws, rates asked for and paths between codes, whatever they decode to.

Shapes: N codes, B of a batch, D latent dims, C conditions, T points of a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from seqvae.interfaces import Batch, Posterior, stands_for
from seqvae.model import VAE
from seqvae.numerics import Randomness, lerp, slerp
from seqvae.registry import UserError

Path = Literal["linear", "slerp"]
Rate = float | Sequence[float] | None  # nats: of all, of each, or the model's own
Condition = Mapping[str, Any]  # {label: value}


def prior_codes(
    vae: VAE, n: int, seed: int, device: torch.device | str = "cpu", c: Tensor | None = None
) -> Tensor:
    """Z (n, D) from p(z), under the conditions c (n, C) or the model's own; draw i does not depend on n."""
    random = Randomness(seed, 0, torch.arange(n, device=device))
    c = vae.asked(random) if c is None else c
    with torch.no_grad():
        z: Tensor = vae.prior(None if c is None else c.to(next(vae.parameters()).device)).sample(n, random)
    return z


def with_rate(vae: VAE, nats: float) -> VAE:
    """The same model with another default rate; it shares all but the latent.

    Raises:
        UserError: a rate that the model was not trained for, or it has no dial.
    """
    return vae.changed(latent=vae.latent.at_rate(nats))


def with_condition(vae: VAE, condition: Condition) -> VAE:
    """The same model with labels by default, {label: value}; it shares all parts.

    Raises:
        UserError: a model that is told no labels, labels that do not match its own, or a value that is none.
    """
    if vae.labels is None:
        raise UserError(
            f"condition got {', '.join(condition)}: this run is told no labels, as `condition: [label]` in "
            "a config does"
        )
    return vae.changed(labels=vae.labels.asking(condition))


def told(vae: VAE, rate: Rate, n: int) -> Tensor | None:
    """C (n, C) of n codes that no example stands behind: the model's labels by default, and `rate`.

    Raises:
        UserError: as `asking`, or the model is told labels and has none by default.
    """
    return vae.asked(Randomness(0, 0, torch.arange(n)), asking(vae, rate, n))


def conditions_like(vae: VAE, batches: Sequence[Batch], n: int) -> Tensor | None:
    """C (n, C) as examples have it, at equal steps through all of them; none for a model without labels."""
    if vae.labels is None:
        return None
    device = next(vae.parameters()).device
    told = [c for batch in batches if (c := vae.condition(batch.to(device))) is not None]
    every = torch.cat(told)
    return every[torch.arange(n, device=device) * len(every) // n]


def asking(vae: VAE, rate: Rate, n: int) -> Tensor | None:
    """C (n, C) of the rates in nats that n examples ask for; None leaves them to the model.

    Raises:
        UserError: not one rate or n, rates that the model was not trained for, or it has no dial.
    """
    if rate is None:
        return None
    nats = torch.as_tensor(rate, dtype=torch.float32)
    if nats.ndim > 0 and nats.shape != (n,):
        raise UserError(f"rate got {len(nats)} values for {n} examples: give one, or one for each")
    return vae.latent.asking_for(nats.expand(n))


def asked(batches: Iterable[Batch], c: Tensor | None) -> Iterator[Batch]:
    """Batches that carry their own rows of c (N, C), where there is one."""
    start = 0
    for batch in batches:
        rows = slice(start, start := start + batch.size)
        yield batch if c is None else batch.changed(condition=c[rows].to(batch.index.device))


def codes(q: Posterior, batch: Batch, sample: bool = False) -> Tensor:
    """(B, D): the codes that stand for the examples (posterior means), or one draw of each."""
    return q.rsample(1, batch.random)[0] if sample else stands_for(q)


def path_between(a: Tensor, b: Tensor, points: int, path: Path = "linear") -> Tensor:
    """(T, D) from a (D,) to b (D,), both ends included.

    `linear` keeps to the chord, `slerp` to the arc on which a Gaussian prior has its mass (White 2016).
    """
    t = torch.linspace(0, 1, points, device=a.device)
    return lerp(a, b, t) if path == "linear" else slerp(a, b, t)
