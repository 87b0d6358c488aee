"""The pretended CUDA device refuses what a real one refuses, and computes what a CPU computes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pretend_cuda import DeviceTensor, pretended_cuda
from torch import Tensor, nn


def test_tensors_are_where_they_are_asked_to_be() -> None:
    with pretended_cuda():
        x = torch.ones(3, device="cuda")
        for made in (x, x + 1, torch.zeros_like(x), x.new_zeros(2), torch.arange(3).to("cuda"), x[:, None]):
            assert isinstance(made, DeviceTensor)
            assert (made.device.type, made.is_cuda) == ("cuda", True)
        for made in (
            x.cpu(),
            x.to("cpu"),
            torch.ones(3),
            x.to(torch.ones(1)),
            torch.ones_like(x, device="cpu"),
        ):
            assert type(made) is Tensor
            assert not made.is_cuda
        assert [x.tolist(), x.sum().item(), bool(x[0] > 0)] == [[1.0] * 3, 3.0, True]
        assert torch.tensor([1, 2], device=x.device).device == x.device
        assert x.to("cpu", torch.float64).dtype == torch.float64


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "sum": lambda x: x + torch.ones(3),
    "product": lambda x: x @ torch.ones(3),
    "stack with a number": lambda x: torch.stack([x[0], torch.tensor(1.0)]),
    "index from the device": lambda x: torch.ones(3)[x.long()],
    "in place": lambda x: torch.ones(3).add_(x),
    "where": lambda x: torch.where(x > 0, torch.ones(3), x),
    "gather": lambda x: x.gather(0, torch.zeros(1).long()),
    "embedding": lambda x: nn.functional.embedding(x.long(), torch.ones(3, 2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_meets_another_device_is_refused(name: str) -> None:
    with pretended_cuda():
        x = torch.ones(3, device="cuda")
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            REFUSED[name](x)


ALLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "a number": lambda x: x + torch.tensor(1.0),
    "an index": lambda x: x[torch.tensor([0, 2])],
    "a copy": lambda x: x.copy_(torch.ones(3)),
    "a copy to the host": lambda x: torch.zeros(3).copy_(x),
    "a value": lambda x: x.fill_(torch.tensor(2.0)),
    "a choice": lambda x: torch.where(x > 0, x, torch.tensor(1.0)),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_takes_from_the_host_is_taken(name: str) -> None:
    plain = ALLOWED[name](torch.arange(3.0))
    with pretended_cuda():
        found = ALLOWED[name](torch.arange(3.0, device="cuda"))
        assert torch.equal(found.cpu(), plain)
        assert isinstance(found, DeviceTensor) == (name != "a copy to the host")


def test_numbers_do_not_leave_through_numpy() -> None:
    with pretended_cuda():
        x = torch.ones(3, device="cuda")
        for leave in (lambda: x.numpy(), lambda: memoryview(x.__array__())):
            with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
                leave()


def learned(device: str) -> tuple[list[Tensor], float]:
    """Weights, some of them tied, after three updates."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.Linear(3, 4))
    model[3].weight = model[0].weight
    model.to(device)
    assert model[3].weight is model[0].weight
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    for step in range(3):
        loss = model(torch.full((2, 3), step + 1.0, device=device)).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
    copied = copy.deepcopy(model).to("cpu")
    return [p.detach() for p in copied.parameters()], float(loss.detach())


def test_a_model_learns_what_it_learns_on_a_cpu() -> None:
    weights, loss = learned("cpu")
    with pretended_cuda():
        ours, same = learned("cuda")
    assert same == loss
    assert all(torch.equal(a, b) for a, b in zip(ours, weights, strict=True))


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
def test_recurrent_networks_are_asked_for_what_cudnn_asks(cell: Any) -> None:
    rnn, x = cell(3, 4, 2, batch_first=True), torch.randn(2, 5, 3)
    with torch.no_grad():
        expected = rnn(x)[0]
    with pretended_cuda():
        rnn.to("cuda")
        storages = {w.inner.untyped_storage().data_ptr() for w in rnn.parameters()}
        assert len(storages) == 1
        y = rnn(x.to("cuda"))[0]
        torch.testing.assert_close(y.cpu(), expected)
        y.sum().backward()
        with torch.autocast("cuda", torch.bfloat16):
            assert rnn(x.to("cuda"))[0].dtype == torch.float16
        scattered = torch.zeros(3, 2, 4, device="cuda").transpose(0, 1)
        state = (scattered, scattered) if cell is nn.LSTM else scattered
        with pytest.raises(RuntimeError, match="hx is not contiguous"):
            rnn(torch.zeros(3, 5, 3, device="cuda"), state)
        with pytest.raises(RuntimeError, match="can only be called in training mode"):
            rnn.eval()(x.to("cuda"))[0].sum().backward()
        with pytest.raises(UserWarning, match="not part of single contiguous chunk"):
            copy.deepcopy(rnn)(x.to("cuda"))


def test_a_graph_runs_again_on_what_its_tensors_hold() -> None:
    with pretended_cuda():
        x, weight = torch.ones(2, device="cuda"), torch.full((2,), 3.0, device="cuda")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = (x * weight).view(2, 1)
            weight.add_(y[:, 0])
        assert weight.tolist() == [3.0, 3.0], "nothing runs while it is captured"
        for expected in (6.0, 12.0):
            graph.replay()
            assert weight.tolist() == [expected] * 2
        x.fill_(0.0)
        graph.replay()
        assert (y.tolist(), weight.tolist()) == ([[0.0]] * 2, [12.0] * 2)


@pytest.mark.parametrize(
    "ask", [Tensor.item, Tensor.cpu, Tensor.nonzero, bool, lambda x: x + torch.ones(()).cuda()]
)
def test_a_graph_holds_nothing_that_waits_for_a_number(ask: Callable[[Tensor], Any]) -> None:
    with pretended_cuda():
        x = torch.ones((), device="cuda")
        refused = pytest.raises(RuntimeError, match="not permitted when stream is capturing")
        with refused, torch.cuda.graph(torch.cuda.CUDAGraph()):
            ask(x)
