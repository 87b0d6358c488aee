"""Dataclasses for the output of a model and the loss of an objective.

Shapes: S samples, B examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from seqvae.interfaces import Likelihood, Posterior, PriorDistribution


@dataclass(frozen=True)
class VAEOutput:
    """Result of one forward pass of a batch through encoder, latent and decoder."""

    q: Posterior
    p: PriorDistribution
    z: Tensor  # (S, B, D)
    kl: Tensor  # (S, B, D) or (S, B, 1), nats; S = 1 in closed form
    likelihood: Likelihood
    log_px_z: Tensor  # (S, B) nats

    @property
    def rate(self) -> Tensor:
        """(B,): KL(q(z|x) || p(z)) in nats, averaged over samples."""
        return self.kl.sum(-1).mean(0)

    @property
    def distortion(self) -> Tensor:
        """(B,): -E_q log p(x|z) in nats."""
        return -self.log_px_z.mean(0)

    @property
    def log_weights(self) -> Tensor:
        """(S, B): log importance weights, log p(x|z) + log p(z) - log q(z|x) in nats."""
        return self.log_px_z + self.p.log_prob(self.z) - self.q.log_prob(self.z)


@dataclass(frozen=True)
class Loss:
    """The loss that the optimizer minimises (`total`) and the values that are logged.

    `rate` and `distortion` are those of the plain ELBO, whatever remedies do to the total, so that runs with
    different remedies can be compared.
    """

    total: Tensor
    rate: Tensor  # () nats per example
    distortion: Tensor  # () nats per example
    kl_per_dim: Tensor  # (D,) or (1,)
    beta: Tensor | float
    terms: Mapping[str, Tensor] = field(default_factory=dict)  # of auxiliary_losses, already weighted
    adversary: Tensor | float = 0.0  # loss of the discriminators, on detached input

    def detach(self) -> Loss:
        """The same values, without gradients."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {k: v.detach() if isinstance(v, Tensor) else v for k, v in kept.items()}
        return Loss(**kept | {"terms": {name: term.detach() for name, term in self.terms.items()}})


def mean_loss(parts: Sequence[Loss], shares: Sequence[float]) -> Loss:
    """The loss of an update from those of its micro-batches.

    Args:
        parts: one loss per micro-batch, with the same terms.
        shares: fraction of the examples of the update in each micro-batch; they sum to 1.
    """

    def mean(values: Iterable[Any]) -> Any:
        return sum(value * share for value, share in zip(values, shares, strict=True))

    terms = {name: mean(part.terms[name] for part in parts) for name in parts[0].terms}
    names = ("total", "rate", "distortion", "kl_per_dim", "beta", "adversary")
    return Loss(**{name: mean(getattr(part, name) for part in parts) for name in names}, terms=terms)
