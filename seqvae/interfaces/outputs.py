"""Outputs of a model and losses of an objective.

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
    """One walk of a batch through encoder, latent and decoder."""

    q: Posterior
    p: PriorDistribution
    z: Tensor  # (S, B, D)
    kl: Tensor  # (S, B, D) or (S, B, 1), nats
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
        """(S, B): log p(x|z) + log p(z) - log q(z|x), the importance weights of each sample."""
        return self.log_px_z + self.p.log_prob(self.z) - self.q.log_prob(self.z)


@dataclass(frozen=True)
class Loss:
    """What the optimizer minimises (`total`) and what the log tells.

    `rate` and `distortion` are those of the plain ELBO, whatever the remedies made of the total.
    """

    total: Tensor
    rate: Tensor  # () nats a sentence
    distortion: Tensor  # () nats a sentence
    kl_per_dim: Tensor  # (D,) or (1,)
    beta: Tensor | float
    terms: Mapping[str, Tensor] = field(default_factory=dict)  # what `extra` added, already weighted
    adversary: Tensor | float = 0.0  # the second players' loss, on detached input

    def detach(self) -> Loss:
        """The same numbers, without gradients."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {k: v.detach() if isinstance(v, Tensor) else v for k, v in kept.items()}
        return Loss(**kept | {"terms": {name: term.detach() for name, term in self.terms.items()}})


def mean_loss(parts: Sequence[Loss], shares: Sequence[float]) -> Loss:
    """The loss of an update from those of its parts; `shares` of the examples add up to 1."""

    def mean(values: Iterable[Any]) -> Any:
        return sum(value * share for value, share in zip(values, shares, strict=True))

    terms = {name: mean(part.terms[name] for part in parts) for name in parts[0].terms}
    names = ("total", "rate", "distortion", "kl_per_dim", "beta", "adversary")
    return Loss(**{name: mean(getattr(part, name) for part in parts) for name in names}, terms=terms)
