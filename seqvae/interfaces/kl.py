"""KL(q(z|x) || p(z)), dispatched on both types: a registered closed form, else a Monte Carlo estimate.

Shapes: S samples, B examples, D latent dims, G groups of dims.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

ClosedForm = Callable[[Any, Any], Tensor]
_CLOSED_FORMS: dict[tuple[type, type], ClosedForm] = {}


def register_kl(q_type: type, p_type: type) -> Callable[[ClosedForm], ClosedForm]:
    """Decorator that registers a closed-form KL for a pair of types and their subclasses.

    It works as `torch.distributions.kl.register_kl`: where several pairs match, the most specific type of q
    decides, then that of p. The registered function maps (q, p) to nats of shape (B, D), to (B, G) where only
    groups of dims factorise, or to (B, 1) where no dims do.

    Args:
        q_type: class of the posterior.
        p_type: class of the prior's distribution.

    Returns:
        The decorator, which returns the function unchanged.

    Example:
        >>> import torch
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class UnitNormal:
        ...     mean: torch.Tensor
        >>> class StandardNormal: ...
        >>> @register_kl(UnitNormal, StandardNormal)
        ... def half_square(q, p):
        ...     return 0.5 * q.mean**2
        >>> q = UnitNormal(torch.full((2, 3), 2.0))
        >>> kl_divergence(q, StandardNormal(), z=torch.zeros(1, 2, 3)).sum(-1)
        tensor([[6., 6.]])
    """

    def register(closed_form: ClosedForm) -> ClosedForm:
        _CLOSED_FORMS[q_type, p_type] = closed_form
        return closed_form

    return register


def kl_divergence(q: Any, p: Any, z: Tensor) -> Tensor:
    """KL(q || p) in nats: the registered closed form, else the estimate ln q(z|x) - ln p(z).

    Args:
        q: posterior of B examples.
        p: prior distribution.
        z: samples (S, B, D) from q; the estimate uses them where no closed form is registered.

    Returns:
        (1, B, D), (1, B, G) or (1, B, 1) in closed form, else an unbiased estimate (S, B, 1) per sample.

    Example:
        >>> import torch
        >>> from seqvae.models.latents import DiagonalNormal
        >>> from seqvae.models.priors import StandardNormal
        >>> q = DiagonalNormal(mean=torch.ones(2, 3), logvar=torch.zeros(2, 3))
        >>> kl_divergence(q, StandardNormal(3), z=torch.zeros(1, 2, 3))  # mean^2 / 2 per dim
        tensor([[[0.5000, 0.5000, 0.5000],
                 [0.5000, 0.5000, 0.5000]]])
    """
    for q_type in type(q).__mro__:  # subclasses come first in the method resolution order
        for p_type in type(p).__mro__:
            if closed_form := _CLOSED_FORMS.get((q_type, p_type)):
                return closed_form(q, p)[None]
    estimate: Tensor = (q.log_prob(z) - p.log_prob(z))[..., None]
    return estimate
