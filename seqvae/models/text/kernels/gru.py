"""The GRU's recurrence with few and large operations, in fp32 or with bf16 products.

On a CPU `nn.GRU` spends most of its time on tiny operations and the bookkeeping of their gradients. Here all
but the product with the last state and the gates is done once for all steps, forward and backward.

Shapes: B sentences, S samples, T steps, E inputs, D constant ones, H hidden. Time leads inside, and gates
stand side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqvae.models.text.kernels.precision import cast_cached

CACHED = 1 << 18  # numbers of one kind that stay near a CPU while several operations read them


Weights = tuple[Tensor, Tensor, Tensor, Tensor]  # weight_ih, weight_hh, bias_ih and bias_hh of `nn.GRU`


def gru_layer(x: Tensor, h: Tensor, weights: Weights, dtype: torch.dtype) -> Tensor:
    """States (T, B, H) in fp32 of one layer over x (T, B, E) from h (B, H).

    r = s(W_r x + U_r h), z = s(W_z x + U_z h), n = tanh(W_n x + r U_n h), h' = n + z (h - n), with biases, as
    `nn.GRU` (Cho et al. 2014). Products run in `dtype`, states and gates stay in fp32.
    """
    if torch.is_grad_enabled():
        out: Tensor = _GRULayer.apply(x, h, *weights, dtype)  # type: ignore[no-untyped-call]
        return out
    return gru_of_samples(x, h[None], weights, dtype)[:, 0]


def gru_of_samples(
    x: Tensor, h: Tensor, weights: Weights, dtype: torch.dtype, always: Tensor | None = None
) -> Tensor:
    """States (T, S, B, H) from S states of each sentence, h (S, B, H), over the same x (T, B, E).

    What x brings to the gates is made once for all samples. `always` (S, B, D) are inputs behind x that all
    steps have. Without gradients.
    """
    w_x, w_h, b_x, b_h = weights
    w_x, w_h = cast_cached(w_x, dtype), cast_cached(w_h, dtype)
    inputs, hidden = x.shape[-1], h.shape[-1]
    from_x = _from_x(_cast(x, dtype), w_x[:, :inputs], b_x, b_h)
    constant = None if always is None else (always.to(dtype) @ w_x[:, inputs:].T).float()
    if constant is not None:
        constant[..., 2 * hidden :] *= 2
    return _run_forward(from_x, h.float(), w_h, b_h, False, constant).states[1:]


class _Forward(NamedTuple):
    """What the steps went through: all that the gradient needs."""

    states: Tensor  # (T + 1, B, H)
    gates: Tensor  # (T, B, 2H): r and z
    new: Tensor  # (T, B, H): n
    candidate: Tensor  # (T, B, H): U_n h with its bias


def _from_x(x: Tensor, w_x: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    """What x (T, B, E) brings to the gates, (T, B, 3H); to n twice, as `_run_forward` takes it."""
    steps, rows, _ = x.shape
    both = 2 * (len(w_x) // 3)
    from_x = (x.flatten(0, 1) @ w_x.T).float().view(steps, rows, len(w_x))
    from_x += torch.cat([(b_x + b_h)[:both], b_x[both:]])
    from_x[..., both:] *= 2
    return from_x


def _run_forward(
    from_x: Tensor, h: Tensor, w_h: Tensor, b_h: Tensor, gates: bool = True, always: Tensor | None = None
) -> _Forward:
    """Walk from h (..., H) with what x brings, (T, B, 3H), and `always` (..., 3H); w_h is in the precision.

    tanh(a) is 2 s(2a) - 1, within 2e-7: a CPU takes a third of the time for it. All but the states is in the
    same place for all steps where `gates` need not be kept.
    """
    hidden = h.shape[-1]
    both, minus_one = 2 * hidden, from_x.new_full((), -1.0)
    walk = _room(h, len(from_x), gates)
    walk.states[0] = h
    steps = zip(*(part.unbind(0) for part in (from_x, walk.states, walk.states[1:], *walk[1:])), strict=False)
    for x, old, state, rz, n, u in steps:
        x_rz, x_n = (x if always is None else x + always).split((both, hidden), -1)
        from_h = (old.to(w_h.dtype) @ w_h.T).float()  # (..., 3H)
        torch.add(x_rz, from_h[..., :both], out=rz).sigmoid_()
        torch.add(from_h[..., both:], b_h[both:], out=u)
        torch.addcmul(x_n, rz[..., :hidden], u, value=2, out=n).sigmoid_()
        torch.add(minus_one, n, alpha=2, out=n)
        torch.lerp(n, old, rz[..., hidden:], out=state)
    return walk


def _room(h: Tensor, steps: int, gates: bool) -> _Forward:
    """Room for a walk, that of the gates for one step alone if they are not kept."""
    rows, hidden = h.shape[:-1], h.shape[-1]
    states = h.new_empty(steps + 1, *rows, hidden)
    sizes, kept = (2 * hidden, hidden, hidden), steps if gates else min(steps, 1)
    others = (h.new_empty(kept, *rows, size).expand(steps, *rows, size) for size in sizes)
    return _Forward(states, *others)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype, memory_format=torch.contiguous_format).contiguous()


class _GRULayer(torch.autograd.Function):
    """The layer with its gradient, whose only sequential part is one product a step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, *rest: Any) -> Tensor:
        w_x, w_h, b_x, b_h, dtype = rest
        lows = _cast(x, dtype), w_x.to(dtype), w_h.to(dtype)
        walk = _run_forward(_from_x(*lows[:2], b_x, b_h), h.float(), lows[2], b_h)
        ctx.save_for_backward(*lows, *walk)
        return walk.states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_x, w_h, *saved = ctx.saved_tensors
        walk = _Forward(*saved)
        hidden, dtype = walk.states.shape[-1], x.dtype
        d_gates, low_gates, d_h = _run_backward(grads[0], walk, w_h)
        d_b = d_gates.sum(0)  # (4H,): n, r, z, U_n h
        met_x, met_h = low_gates[:, : 3 * hidden], low_gates[:, hidden:]
        d_w_x = _transpose((met_x.T @ x.flatten(0, 1)).float(), hidden)
        d_w_h = (met_h.T @ walk.states[:-1].flatten(0, 1).to(dtype)).float()
        as_met = torch.cat([w_x[2 * hidden :], w_x[: 2 * hidden]])
        d_x = (met_x @ as_met).float().view_as(x) if ctx.needs_input_grad[0] else None
        return d_x, d_h, d_w_x, d_w_h, _transpose(d_b[: 3 * hidden], hidden), d_b[hidden:], None


def _run_backward(d_states: Tensor, walk: _Forward, w_h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of what enters the gates, (T B, 4H) as n, r, z, U_n h, and of the first state (B, H).

    Those of the gates come twice: in fp32 and in the precision of products.
    """
    d_gates, hidden = _factors(walk), w_h.shape[1]  # (T, B, 4, H), and what is made of it in the same room
    low_gates = torch.empty_like(d_gates, dtype=w_h.dtype) if w_h.dtype != d_gates.dtype else d_gates
    d_h = torch.zeros_like(walk.states[0])
    fulls = d_gates.unbind(0)
    lows = low_gates.unbind(0) if low_gates is not d_gates else fulls
    steps = zip(d_states.unbind(0), fulls, lows, walk.gates.unbind(0), strict=True)
    for d_state, d_gate, low_gate, rz in reversed(list(steps)):
        d_h += d_state
        low_gate.copy_(d_gate.mul_(d_h[:, None]))
        from_gates = low_gate.flatten(1)[:, hidden:] @ w_h
        d_h = torch.addcmul(from_gates.float(), d_h, rz[:, hidden:])
    return d_gates.view(-1, 4 * hidden), low_gates.view(-1, 4 * hidden), d_h


def _factors(walk: _Forward) -> Tensor:
    """How a change of h' changes what enters the gates: (T, B, 4, H) for n, r, z and U_n h."""
    steps, rows, hidden = walk.new.shape
    factors = walk.new.new_empty(steps, rows, 4, hidden)
    parts = (factors, *walk.gates.chunk(2, -1), walk.states[:-1], walk.new, walk.candidate)
    few = max(1, CACHED // max(1, rows * hidden))
    for out, r, z, old, new, u in zip(*(torch.split(part, few) for part in parts), strict=True):
        n_in, r_in, z_in, u_in = out.unbind(2)
        torch.mul(1 - z, 1 - new.square(), out=n_in)
        torch.mul(n_in, r, out=u_in)
        torch.mul(u_in * (1 - r), u, out=r_in)
        torch.mul((old - new) * z, 1 - z, out=z_in)
    return factors


def _transpose(d: Tensor, hidden: int) -> Tensor:
    """From n, r, z to r, z, n."""
    return torch.cat([d[hidden:], d[:hidden]])
