"""Rate sweeps: a variable-rate model measured at several rates, and the largest code that costs little.

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

EXAMPLES, SAMPLES = 500, 10  # validation examples and K for the choice of a default rate
TOLERANCE = 0.01  # of IW-NLL, which a larger code may cost
NEAR = 1e-3  # rates whose ln R differs by less are equal
REPORTED_KEYS = ("rate", "distortion", "neg_elbo", "iw_nll", "iw_nll_se", "mi_low")


def is_variable_rate(latent: Latent) -> bool:
    """Whether a latent was trained for a range of rates."""
    return latent.rate_range is not None


def trained_range(latent: Latent) -> tuple[float, float]:
    """The lowest and the highest rate in nats that a latent was trained for.

    Raises:
        UserError: the latent has no range of rates.
    """
    trained = latent.rate_range
    if trained is None:
        latent.rate_condition(torch.ones(1))  # raises with advice for this latent
        raise UserError(f"{type(latent).__name__} has no range of rates")
    return trained.low, trained.high


def rate_grid(low: float, high: float, steps: int = 1) -> list[float]:
    """Rates from `low` to `high` nats, both included, `steps` per doubling: 2, 4, 8, 16, 32, 64.

    If the ratio of the range is not a power of 2, the ratio of neighbours is the nearest that fits.
    """
    intervals = round(steps * math.log2(high / low))
    if high == low:
        return [low]
    intervals = max(1, intervals)
    found = (low * (high / low) ** (i / intervals) for i in range(intervals + 1))
    return [float(f"{nats:.6g}") for nats in found]  # 8, not 7.999999999999998


def resolve_rates(latent: Latent, rates: Sequence[float] | None = None, steps: int = 1) -> list[float]:
    """The given rates in nats, in ascending order, or by default a `rate_grid` over the trained range.

    Raises:
        UserError: a rate outside that range, or the latent has no range of rates.
    """
    low, high = trained_range(latent)
    if not rates:
        return rate_grid(low, high, steps)
    latent.rate_condition(torch.tensor(list(rates)))
    return sorted(rates)


class FixedRatePrior(Prior):
    """A prior that was fitted at one rate of a variable-rate run, and must not be used at another.

    `nats` is that rate; by default the geometric mean of the range.
    """

    def __init__(self, prior: Prior, latent: Any, nats: float | None = None) -> None:
        super().__init__()
        self.prior = prior
        self.rate_range: Any = latent.rate_range
        self.nats: float = self.rate_range.geometric_mean if nats is None else nats

    def forward(self, c: Tensor | None = None) -> PriorDistribution:
        """The distribution p(z|c).

        Raises:
            UserError: the condition c (B, C) has another rate.
        """
        if c is not None:
            asked = self.rate_range.nats(c[:, -1:])  # the last column is the rate, after the labels
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
    """Find the largest code that costs little: the highest rate whose mean IW-NLL is within 1 % of the best.

    IW-NLL alone asks for the lowest rate, at which little is reconstructed: text is as likely with a small
    code as with a larger one up to a point, which is higher for longer texts. The bound is looser at high
    rates, so that few samples favour low ones (K = 1 is -ELBO).

    Args:
        vae: a variable-rate model.
        batches: evaluation examples.
        rates: candidates in nats; the doublings within the trained range by default.
        samples: K of IW-NLL.
        progress: called as (examples done, N, what).

    Returns:
        The rate `nats`, `by`, `samples`, `examples`, and the metrics `found` at each rate.

    Raises:
        UserError: no example, or a rate that the model was not trained for.
    """
    batches = list(batches)
    rows = evaluate_at_rates(vae, batches, resolve_rates(vae.latent, rates), samples, progress)
    best = min(float(row["iw_nll"]) for row in rows)
    chosen = max(row["nats"] for row in rows if row["iw_nll"] <= best + TOLERANCE * abs(best))
    n = sum(batch.size for batch in batches)
    return {"nats": chosen, "by": "iw_nll", "samples": samples, "examples": n, "found": rows}


def describe_choice(choice: Mapping[str, Any]) -> str:
    """Describe the result of `find_best_rate` in one line."""
    found = ", ".join(f"{row['nats']:g}: {row['iw_nll']:.2f}" for row in choice["found"])
    return (
        f"default rate {choice['nats']:g} nats, the highest with an IW-NLL within {TOLERANCE:.0%} of the "
        f"best over {choice['examples']} validation examples (K = {choice['samples']}; {found})"
    )
