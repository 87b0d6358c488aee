"""KL(q(z|x) || p(z)) by the types of both: a closed form where one is registered, else samples.

Shapes: S samples, B examples, D latent dims, G groups of dims.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

ClosedForm = Callable[[Any, Any], Tensor]
_CLOSED_FORMS: dict[tuple[type, type], ClosedForm] = {}


def register_kl(q_type: type, p_type: type) -> Callable[[ClosedForm], ClosedForm]:
    """Register a function (q, p) -> (B, D), (B, G) or (B, 1) nats for a pair of types and their subclasses.

    As `torch.distributions.kl.register_kl` does. The most specific type of q decides, then that of p.

    Example:
        >>> import torch
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Code:
        ...     mean: torch.Tensor
        >>> class Nothing: ...
        >>> @register_kl(Code, Nothing)
        ... def free(q, p):
        ...     return torch.zeros_like(q.mean)
        >>> kl_divergence(Code(torch.ones(2, 3)), Nothing(), z=torch.ones(1, 2, 3)).shape
        torch.Size([1, 2, 3])
    """

    def register(closed_form: ClosedForm) -> ClosedForm:
        _CLOSED_FORMS[q_type, p_type] = closed_form
        return closed_form

    return register


def kl_divergence(q: Any, p: Any, z: Tensor) -> Tensor:
    """KL(q || p) in nats: (1, B, D or G or 1) in closed form, else ln q(z|x) - ln p(z), (S, B, 1).

    Args:
        q: a posterior of B examples.
        p: a prior's distribution.
        z: draws (S, B, D) from q, of which the estimate is made where no closed form is registered.

    Returns:
        The closed form, with a leading dim of 1, or an unbiased estimate per sample.
    """
    for q_type in type(q).__mro__:
        for p_type in type(p).__mro__:
            if closed_form := _CLOSED_FORMS.get((q_type, p_type)):
                return closed_form(q, p)[None]
    estimate: Tensor = (q.log_prob(z) - p.log_prob(z))[..., None]
    return estimate
