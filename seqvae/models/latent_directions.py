"""Moving codes along one latent dim, or along the direction of a label.

Shapes: N codes with labels, B codes to move, D latent dims, T steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqvae.errors import UserError


def traverse_dim(z: Tensor, dim: int, low: float = -3.0, high: float = 3.0, steps: int = 7) -> Tensor:
    """Latent traversal (B, T, D): each code with one dim set to T values.

    Args:
        z: codes (B, D) or (D,).
        dim: the dim to change.
        low: first value.
        high: last value.
        steps: T.

    Raises:
        UserError: the dim does not exist, or `steps` is below 1.

    Example:
        >>> traverse_dim(torch.tensor([5.0, 7.0]), dim=0, low=-1, high=1, steps=3)
        tensor([[[-1.,  7.],
                 [ 0.,  7.],
                 [ 1.,  7.]]])
    """
    z = z.reshape(-1, z.shape[-1])
    if not 0 <= dim < z.shape[-1]:
        raise UserError(f"no dim {dim} to move: the code has {z.shape[-1]}, numbered from 0")
    if steps < 1:
        raise UserError(f"steps must be 1 or more, got {steps}")
    moved = z[:, None].repeat(1, steps, 1)  # (B, T, D)
    moved[..., dim] = torch.linspace(low, high, steps, dtype=z.dtype, device=z.device)
    return moved


def attribute_direction(codes: Tensor, values: Tensor, ridge: float = 1e-2) -> Tensor:
    """(D,): the step in code space that increases a label by 1.

    w / |w|^2 where w minimises the mean of (v - v_mean - w (z - z_mean))^2 plus `ridge` x |w|^2: the shortest
    step that does so under this linear fit. The penalty keeps dims of little variance out of it.

    Args:
        codes: (N, D).
        values: (N,) label values; examples with NaN are ignored.
        ridge: weight of the penalty, above 0.

    Raises:
        UserError: shapes do not match, `ridge` is not positive, the label has fewer than two values, or the
            codes do not depend on it.
    """
    if codes.ndim != 2 or values.shape != codes.shape[:1]:
        raise UserError(
            f"got codes {tuple(codes.shape)} and values {tuple(values.shape)}: give (N, D) and one value each"
        )
    if ridge <= 0:
        raise UserError(f"ridge must be above 0, got {ridge}: dims that never change would have any weight")
    known = ~values.isnan()
    z, v = codes[known].double(), values[known].double()  # the normal equations square the condition number
    if len(v) == 0 or bool((v == v[0]).all()):
        raise UserError("the label has no two values among the examples: there is no direction to find")
    z, v = z - z.mean(0), v - v.mean()
    penalty = ridge * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    w: Tensor = torch.linalg.solve(z.T @ z / len(z) + penalty, z.T @ v / len(z))  # (D,)
    if not w.norm() > 0:
        raise UserError("the codes do not change with the label: there is no direction to find")
    return (w / (w @ w)).to(codes.dtype)


def step_along(z: Tensor, direction: Tensor, amounts: Tensor) -> Tensor:
    """(B, T, D): z + amount x direction (D,) for each code z (B, D) or (D,) and each of `amounts` (T,)."""
    return z.reshape(-1, 1, z.shape[-1]) + amounts[:, None] * direction


def rank_dims_by_kl(kl_per_dim: Tensor) -> Tensor:
    """(D,): dims in order of decreasing KL, from the KL per dim in nats (D,); ties keep their order."""
    return kl_per_dim.argsort(descending=True, stable=True)
