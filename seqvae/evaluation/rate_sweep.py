"""One model at several of its rates: measured on the same examples, and the rate that is best by IW-NLL.

Shapes: N examples, K importance samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.interfaces import Batch, Latent, Prior, PriorDistribution
from seqvae.models.sampling import with_rate
from seqvae.models.vae import VAE

EXAMPLES, SAMPLES = 500, 10  # validation examples and K, by which a default rate is chosen
NEAR = 1e-3  # in ln R: rates that are the same
REPORTED_KEYS = ("rate", "distortion", "neg_elbo", "iw_nll", "iw_nll_se", "mi_low")


def is_variable_rate(latent: Latent) -> bool:
    """Whether a latent serves a range of rates."""
    return getattr(latent, "rate_range", None) is not None


def trained_range(latent: Latent) -> tuple[float, float]:
    """The lowest and the highest rate in nats that a latent was trained for.

    Raises:
        UserError: it has no dial.
    """
    dial: Any = getattr(latent, "rate_range", None)
    if dial is None:
        latent.rate_condition(torch.ones(1))  # says that there is none
        raise UserError(f"{type(latent).__name__} has no range of rates")
    return dial.low, dial.high


def rate_grid(low: float, high: float, steps: int = 1) -> list[float]:
    """Rates from `low` to `high` nats, both included, `steps` to each doubling: 2, 4, 8, 16, 32, 64.

    Where the range is no power of 2, they stand as near to that as equal ratios allow.
    """
    rungs = round(steps * math.log2(high / low))
    if high == low:
        return [low]
    rungs = max(1, rungs)
    found = (low * (high / low) ** (i / rungs) for i in range(rungs + 1))
    return [float(f"{nats:.6g}") for nats in found]  # 8, not 7.999999999999998


def resolve_rates(latent: Latent, rates: Sequence[float] | None = None, steps: int = 1) -> list[float]:
    """The rates in nats that somebody gave, from low to high, or the ladder over the trained range.

    Raises:
        UserError: a rate outside that range, or the latent has no dial.
    """
    low, high = trained_range(latent)
    if not rates:
        return rate_grid(low, high, steps)
    latent.rate_condition(torch.tensor(list(rates)))
    return sorted(rates)


class FixedRatePrior(Prior):
    """A prior that was fitted at one rate of a run with a dial: codes of another one are not its own.

    `nats` is that rate; the middle of the range where a run does not say it.
    """

    def __init__(self, prior: Prior, latent: Any, nats: float | None = None) -> None:
        super().__init__()
        self.prior = prior
        self.dial: Any = latent.rate_range
        self.nats: float = self.dial.geometric_mean if nats is None else nats

    def forward(self, c: Tensor | None = None) -> PriorDistribution:
        """The distribution.

        Raises:
            UserError: c (B, C) asks for another rate.
        """
        if c is not None:
            asked = self.dial.nats(c[:, -1:])  # labels stand before it
            wrong = asked[(asked / self.nats).log().abs() > NEAR]
            if len(wrong):
                raise UserError(
                    f"this prior was fitted to codes of {self.nats:.4g} nats, not of {float(wrong[0]):.4g}: "
                    "`seqvae fit-prior` fits one to all rates of a run"
                )
        labels = None if c is None or c.shape[1] == 1 else c[:, :-1]
        return self.prior(labels)  # type: ignore[no-any-return]


def evaluate_at_rates(
    vae: VAE,
    batches: Iterable[Batch],
    rates: Sequence[float],
    samples: int = SAMPLES,
    progress: ProgressCallback | None = None,
) -> list[dict[str, Any]]:
    """One row per rate: `nats` and the `REPORTED_KEYS` of `evaluate`, on the same examples and noise."""
    batches, rows = list(batches), []
    for nats in rates:
        report = evaluate(with_rate(vae, nats), batches, samples=samples, progress=progress)
        rows.append({"nats": nats, **{key: report[key] for key in REPORTED_KEYS}})
    return rows


def find_best_rate(
    vae: VAE,
    batches: Iterable[Batch],
    rates: Sequence[float] | None = None,
    samples: int = SAMPLES,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """The rate with the lowest mean IW-NLL, in `nats`, and what was `found` at each of the rates.

    K = `samples` codes an example. The bound is looser where codes carry more, so that few samples speak
    for low rates: -ELBO is that of one.

    Raises:
        UserError: no example, or a rate that the model was not trained for.
    """
    batches = list(batches)
    rows = evaluate_at_rates(vae, batches, resolve_rates(vae.latent, rates), samples, progress)
    best = min(rows, key=lambda row: float(row["iw_nll"]))
    n = sum(batch.size for batch in batches)
    return {"nats": best["nats"], "by": "iw_nll", "samples": samples, "examples": n, "found": rows}


def describe_choice(choice: Mapping[str, Any]) -> str:
    """A choice in a line."""
    found = ", ".join(f"{row['nats']:g}: {row['iw_nll']:.2f}" for row in choice["found"])
    return (
        f"default rate {choice['nats']:g} nats, the best IW-NLL of {choice['examples']} validation examples "
        f"(K = {choice['samples']}; {found})"
    )
