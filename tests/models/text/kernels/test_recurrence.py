"""The recurrences of CUDA against those of the CPU: the same numbers, without copies of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pretend_cuda import pretended_cuda
from torch import Tensor, nn

from seqvae.models.text.kernels.precision import cached, weight_cache
from seqvae.models.text.kernels.recurrence import State, run_native, run_rnn

CELLS = [nn.GRU, nn.LSTM]


def network(cell: Any, layers: int = 2, dropout: float = 0.0, **more: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    return cell(5, 4, layers, batch_first=True, dropout=dropout, **more)  # type: ignore[no-any-return]


def state_of(cell: Any, rows: int, layers: int = 2) -> State:
    """States (L, N, H) as a decoder makes them: h, and c of an LSTM; none is contiguous."""
    torch.manual_seed(1)
    parts = torch.randn(2, rows, layers, 4).transpose(1, 2)
    return tuple(parts[: 2 if cell is nn.LSTM else 1].unbind(0))


def inputs(rows: int = 3, width: int = 5) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(rows, 6, width)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("always", [0, 2])
def test_the_numbers_are_the_same(cell: Any, samples: int, always: int) -> None:
    rnn, x, first = network(cell), inputs(width=5 - always), state_of(cell, 3 * samples)
    constant = torch.randn(3 * samples, always)
    for state in (first, *([None] if samples == 1 else [])):
        y, last = run_rnn(rnn, x, state, constant)
        ours, also = run_native(rnn, x, state, constant)
        torch.testing.assert_close(ours, y)
        torch.testing.assert_close(also, last)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradients_are_the_same(cell: Any) -> None:
    found = []
    for recurrence in (run_rnn, run_native):
        rnn, x, state = network(cell), inputs().requires_grad_(), state_of(cell, 3)
        y, last = recurrence(rnn, x, state)
        (y.square().sum() + sum(part.sum() for part in last)).backward()
        found.append([x.grad, *(p.grad for p in rnn.parameters())])
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("cell", CELLS)
def test_double_precision_stays(cell: Any) -> None:
    rnn, state = network(cell).double(), tuple(part.double() for part in state_of(cell, 3))
    y, last = run_native(rnn, inputs().double(), state)
    assert {part.dtype for part in (y, *last)} == {torch.float64}


@pytest.mark.parametrize("cell", CELLS)
def test_a_seed_gives_the_dropout_between_layers(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The masks are torch's: those inside cuDNN come from a state that no seed and no checkpoint sets."""
    rnn, x, state = network(cell, dropout=0.5).train(), inputs().requires_grad_(), state_of(cell, 3)
    found = []
    for recurrence in (run_native, run_rnn):
        torch.manual_seed(7)
        y, last = recurrence(rnn, x, state)
        gradients = torch.autograd.grad(y.square().sum(), [x, *rnn.parameters()])
        found.append([y, *last, *gradients])
    torch.manual_seed(7)
    monkeypatch.setattr(cell, "forward", None)  # it would drop inside cuDNN
    assert torch.equal(run_native(rnn, x, state)[0], found[0][0])
    if cell is nn.GRU:  # on a CPU an LSTM is torch's, with masks of its own layout
        torch.testing.assert_close(found[0], found[1])


def test_dropout_between_layers_is_the_mode_s() -> None:
    rnn, x = network(nn.GRU, dropout=0.5), inputs()
    y, _ = run_native(rnn.train(), x)
    assert not torch.equal(y, run_native(rnn, x)[0])
    plain = run_native(network(nn.GRU), x)[0]
    torch.testing.assert_close(run_native(rnn.eval(), x)[0], plain)
    assert (rnn.training, rnn.dropout) == (False, 0.5)
    torch.testing.assert_close(plain, rnn(x)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_there_in_evaluation_mode_too(cell: Any) -> None:
    """As SVI wants them through a decoder; cuDNN has them in training mode alone."""
    rnn, x, state = network(cell, dropout=0.5).eval(), inputs(), state_of(cell, 3)
    with pretended_cuda() as device:
        rnn.to(device)
        moved = x.to(device).requires_grad_()
        y, _ = run_rnn(rnn, moved, tuple(part.to(device) for part in state))
        y.sum().backward()
        assert not rnn.training
        found = moved.grad.cpu()
    again = x.clone().requires_grad_()
    run_rnn(network(cell), again, state)[0].sum().backward()
    torch.testing.assert_close(found, again.grad)


@pytest.mark.parametrize("cell", CELLS)
def test_on_cuda_weights_are_passed_as_they_lie(cell: Any) -> None:
    """Nothing warns that they are scattered, under autocast or without; a cast copy is made once."""
    rnn, x, state = network(cell), inputs(), state_of(cell, 3)
    expected = run_rnn(network(cell), x, state)[0].detach()
    with pretended_cuda() as device:
        rnn.to(device)
        moved, first = x.to(device), tuple(part.to(device) for part in state)
        torch.testing.assert_close(run_rnn(rnn, moved, first)[0].detach().cpu(), expected)
        with torch.autocast("cuda", torch.bfloat16):
            y, last = run_rnn(rnn, moved, first)
            assert {part.dtype for part in (y, *last)} == {torch.float16}
            torch.testing.assert_close(y.detach().cpu().float(), expected, atol=5e-3, rtol=0)
            again, _ = run_rnn(rnn, moved, last)
            with torch.no_grad(), weight_cache():
                held_y, held_last = run_rnn(rnn, moved, first)
                assert torch.equal(held_y.cpu(), y.detach().cpu())
                assert torch.equal(run_rnn(rnn, moved, held_last)[0].cpu(), again.detach().cpu())
                made = cached((rnn, torch.float16), lambda: pytest.fail("it was not held"))
                assert {p.dtype for p in made.parameters()} == {torch.float16}
                assert {p.dtype for p in rnn.parameters()} == {torch.float32}
