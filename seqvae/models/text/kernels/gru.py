"""The GRU's recurrence in few and large operations, in fp32 or with bf16 products, for CPUs.

A step of a small GRU is a matrix product of 0.1 ms and ten operations of a few microseconds, and calling them
from Python costs as much as they do. So everything except the product with the last state and the gates is
computed once for all steps, forward and backward; a step works on prepared views and allocates no memory.

Shapes: B sentences, S samples, T steps, E inputs, D constant inputs, H hidden, R rows (B, or S B). Time is
the first dimension, and gates are concatenated in the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqvae.models.text.kernels.precision import cast_cached

CACHED = 1 << 18  # numbers per tensor that stay in a CPU's cache while several operations read them


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


def gru_layer_plainly(x: Tensor, h: Tensor, weights: Weights, dtype: torch.dtype) -> Tensor:
    """`gru_layer` as a plain loop with autograd's gradients: the reference of tests and benchmarks."""
    w_x, w_h, b_x, b_h = weights
    products = (x.to(dtype) @ w_x.to(dtype).T).float() + b_x
    states, h = [], h.float()
    for from_x in products.unbind(0):
        from_h = (h.to(dtype) @ w_h.to(dtype).T).float() + b_h
        (x_r, x_z, x_n), (h_r, h_z, h_n) = from_x.chunk(3, -1), from_h.chunk(3, -1)
        z, n = torch.sigmoid(x_z + h_z), torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
        h = n + z * (h - n)
        states.append(h)
    return torch.stack(states)


def gru_of_samples(
    x: Tensor, h: Tensor, weights: Weights, dtype: torch.dtype, constant: Tensor | None = None
) -> Tensor:
    """States (T, S, B, H) from S states of each sentence, h (S, B, H), over the same x (T, B, E).

    The product of x and its weights is computed once for all samples. `constant` (S, B, D) are inputs after x
    that are the same at all steps. Without gradients.
    """
    w_x, w_h, b_x, b_h = weights
    w_x, w_h = cast_cached(w_x, dtype), cast_cached(w_h, dtype)
    inputs, hidden = x.shape[-1], h.shape[-1]
    from_x = _input_part(_cast(x, dtype), w_x[:, :inputs], b_x, b_h)
    more = None if constant is None else (constant.to(dtype) @ w_x[:, inputs:].T).float()
    if more is not None:
        more[..., 2 * hidden :] *= 2
    return _run_steps(from_x, h.float(), w_h, b_h, False, more).states[1:]


class _Trace(NamedTuple):
    """Results of all steps that the gradient needs. R rows may be several dimensions."""

    states: Tensor  # (T + 1, R, H)
    gates: Tensor  # (T, R, 2H): r and z
    new: Tensor  # (T, R, H): n
    candidate: Tensor  # (T, R, H): U_n h with its bias


def _input_part(x: Tensor, w_x: Tensor, b_x: Tensor, b_h: Tensor) -> Tensor:
    """The term (T, B, 3H) of x (T, B, E) in the gates; that of n is doubled, as `_run_steps` expects."""
    steps, rows, _ = x.shape
    both = 2 * (len(w_x) // 3)
    factors = b_x.new_ones(len(w_x))
    factors[both:].fill_(2)  # an assignment would create a number on the host first
    biases = torch.cat([(b_x + b_h)[:both], 2 * b_x[both:]])
    product = (x.flatten(0, 1) @ w_x.T).float()
    return torch.addcmul(biases, product, factors, out=product).view(steps, rows, len(w_x))


def _run_steps(
    from_x: Tensor, h: Tensor, w_h: Tensor, b_h: Tensor, keep: bool = True, more: Tensor | None = None
) -> _Trace:
    """Run from h (R, H) with the term `from_x` (T, R, 3H) of x, and `more` (R, 3H) added at each step.

    `w_h` has the dtype of the products. tanh(a) is computed as 2 s(2a) - 1, equal within 2e-7, which takes a
    CPU a third of the time. Unless `keep`, all steps share the memory of everything but the states.
    """
    hidden = h.shape[-1]
    minus_one, bias = from_x.new_full((), -1.0), b_h[2 * hidden :]
    trace = _allocate(h, len(from_x), keep)
    trace.states[0] = h
    from_h = _StateProducts(trace.states, w_h)
    h_rz, h_n = torch.split(from_h.wide, [2 * hidden, hidden], -1)
    for step, (x_rz, x_n, old, state, rz, r, z, n, u) in enumerate(_views(from_x, trace)):
        if more is not None:
            x_rz, x_n = x_rz + more[..., : 2 * hidden], x_n + more[..., 2 * hidden :]
        from_h.compute(step)
        torch.add(x_rz, h_rz, out=rz).sigmoid_()
        torch.add(h_n, bias, out=u)
        torch.addcmul(x_n, r, u, value=2, out=n).sigmoid_()
        torch.add(minus_one, n, alpha=2, out=n)
        torch.lerp(n, old, z, out=state)
    return trace


def _views(from_x: Tensor, trace: _Trace) -> Iterator[tuple[Tensor, ...]]:
    """Per step: the terms of x in r and z, and in n; the states before and after; r and z, r, z, n, U_n h."""
    hidden = trace.new.shape[-1]
    sizes = [2 * hidden, hidden]
    parts = (*torch.split(from_x, sizes, -1), trace.states, trace.states[1:], trace.gates)
    parts += (*trace.gates.chunk(2, -1), trace.new, trace.candidate)
    return zip(*(part.unbind(0) for part in parts), strict=False)  # there is one more state


class _StateProducts:
    """Products of each state with the weights, in memory that is allocated once."""

    def __init__(self, states: Tensor, w_h: Tensor) -> None:
        rows = states[0].numel() // states.shape[-1]
        self.states, self.weight = states.view(len(states), rows, -1).unbind(0), w_h.T
        self.exact = w_h.dtype == states.dtype
        self.low = w_h.new_empty(rows, w_h.shape[1])
        self.product = w_h.new_empty(rows, len(w_h))
        self.wide = self.product if self.exact else torch.empty_like(self.product, dtype=states.dtype)
        self.flat, self.wide = self.wide, self.wide.view(*states.shape[1:-1], len(w_h))  # (R, 3H)

    def compute(self, step: int) -> None:
        """Write U h of the state before a step to `wide` (R, 3H)."""
        state = self.states[step]
        torch.mm(state if self.exact else self.low.copy_(state), self.weight, out=self.product)
        if not self.exact:
            self.flat.copy_(self.product)


def _allocate(h: Tensor, steps: int, keep: bool) -> _Trace:
    """Memory for a trace; unless `keep`, one step's memory for everything but the states."""
    rows, hidden = h.shape[:-1], h.shape[-1]
    states = h.new_empty(steps + 1, *rows, hidden)
    sizes, kept = (2 * hidden, hidden, hidden), steps if keep else min(steps, 1)
    others = (h.new_empty(kept, *rows, size).expand(steps, *rows, size) for size in sizes)
    return _Trace(states, *others)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype, memory_format=torch.contiguous_format).contiguous()


class _GRULayer(torch.autograd.Function):
    """The layer with its gradient, whose only sequential part is one product per step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, *rest: Any) -> Tensor:
        w_x, w_h, b_x, b_h, dtype = rest
        lows = _cast(x, dtype), w_x.to(dtype), w_h.to(dtype)
        trace = _run_steps(_input_part(*lows[:2], b_x, b_h), h.float(), lows[2], b_h)
        ctx.save_for_backward(*lows, *trace)
        return trace.states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_x, w_h, *saved = ctx.saved_tensors
        trace = _Trace(*saved)
        hidden, dtype = trace.states.shape[-1], x.dtype
        d_gates, d_h = _run_back(grads[0], trace, w_h)
        d_b = d_gates.sum(0, dtype=torch.float32)  # (4H,): n, r, z, U_n h
        d_from_x, d_from_h = d_gates[:, : 3 * hidden], d_gates[:, hidden:]
        d_w_x = _reorder((d_from_x.T @ x.flatten(0, 1)).float(), hidden)
        d_w_h = (d_from_h.T @ trace.states[:-1].flatten(0, 1).to(dtype)).float()
        w_x_nrz = torch.cat([w_x[2 * hidden :], w_x[: 2 * hidden]])
        d_x = (d_from_x @ w_x_nrz).float().view_as(x) if ctx.needs_input_grad[0] else None
        return d_x, d_h, d_w_x, d_w_h, _reorder(d_b[: 3 * hidden], hidden), d_b[hidden:], None


def _run_back(d_states: Tensor, trace: _Trace, w_h: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of n, r and z before activation and of U_n h, (T B, 4H) in `w_h.dtype`, and of h (B, H)."""
    factors, (rows, hidden) = _factors(trace), trace.states.shape[1:]  # (T, B, 4, H)
    d_gates = torch.empty_like(factors, dtype=w_h.dtype)
    d_h, carried = torch.zeros_like(trace.states[0]), torch.zeros_like(trace.states[0])
    low, wide = w_h.new_empty(rows, hidden), carried.new_empty(rows, hidden)
    exact, d_each = low.dtype == wide.dtype, d_h[:, None]
    of_state = d_gates.view(-1, rows, 4 * hidden)[..., hidden:]  # r, z, U_n h
    parts = (d_states, factors, d_gates, of_state, trace.gates[..., hidden:])
    steps = zip(*(part.unbind(0) for part in parts), strict=True)
    for d_state, factor, d_gate, d_from_h, z in reversed(list(steps)):
        torch.add(d_state, carried, out=d_h)
        torch.mul(factor, d_each, out=d_gate)
        torch.mm(d_from_h, w_h, out=low)
        torch.addcmul(low if exact else wide.copy_(low), d_h, z, out=carried)
    return d_gates.view(-1, 4 * hidden), carried


def _factors(trace: _Trace) -> Tensor:
    """Derivatives (T, B, 4, H) of h' by n, r and z before activation and by U_n h."""
    steps, rows, hidden = trace.new.shape
    factors = trace.new.new_empty(steps, rows, 4, hidden)
    parts = (factors, *trace.gates.chunk(2, -1), trace.states[:-1], trace.new, trace.candidate)
    few = max(1, CACHED // max(1, rows * hidden))
    for out, r, z, old, new, u in zip(*(torch.split(part, few) for part in parts), strict=True):
        n_in, r_in, z_in, u_in = out.unbind(2)
        torch.mul(1 - z, 1 - new.square(), out=n_in)
        torch.mul(n_in, r, out=u_in)
        torch.mul(u_in * (1 - r), u, out=r_in)
        torch.mul((old - new) * z, 1 - z, out=z_in)
    return factors


def _reorder(d: Tensor, hidden: int) -> Tensor:
    """Rows in the order r, z, n from rows in the order n, r, z."""
    return torch.cat([d[hidden:], d[:hidden]])
