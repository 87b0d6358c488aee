"""Device and precision of a run, and the messages if they are not available."""

from __future__ import annotations

import pytest
import torch

from seqvae.errors import UserError
from seqvae.utils.device import autocast, pick_device, pick_precision

CPU = torch.device("cpu")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match=r"^device got 'cuda:2', but only 2 are seen here$"):
        pick_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cdua", "meta", "mps", "", "cpu:x"])
def test_devices_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match=rf"^device got '{name}': give auto, cpu, cuda or cuda:N$"):
        pick_device(name)


@without_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match="no CUDA device is seen here: use --device cpu or auto"):
        pick_device(name)


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")],
)
def test_auto_precision_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, abilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    assert pick_precision("auto", CPU) == expected


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_precision_on_cuda(monkeypatch: pytest.MonkeyPatch, able: bool, expected: str) -> None:
    asked: list[bool] = []

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return able

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert pick_precision("auto", torch.device("cuda")) == expected
    assert asked == [False], "what is emulated is slower than fp32"


def test_what_is_asked_for_is_given() -> None:
    assert [pick_precision(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_inside_autocast(precision: str, dtype: torch.dtype) -> None:
    x = torch.ones(2, 2)
    with autocast(precision, CPU):
        assert (x @ x).dtype == dtype
    assert (x @ x).dtype == torch.float32
