"""Two processes on one CUDA device are refused before NCCL fails."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from seqvae.distributed import collectives
from seqvae.errors import UserError

CUDA = torch.device("cuda", 0)
CARDS = {"one card": ["a", "a", "b"], "a card each": ["a", "b", "c"]}


def worker(rank: int, folder: Path) -> None:
    """One of three processes, which look at pretended cards."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=3)
    heard = {}
    for name, cards in CARDS.items():
        card = mock.patch.object(
            torch.cuda, "get_device_properties", lambda device, uuid=cards[rank]: SimpleNamespace(uuid=uuid)
        )
        with card, mock.patch.object(torch.cuda, "device_count", return_value=2):
            try:
                with collectives.process_group(CUDA):
                    heard[name] = "together"
            except UserError as error:
                heard[name] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(heard))
    dist.destroy_process_group()


def test_processes_that_would_share_a_card_are_refused(tmp_path: Path) -> None:
    multiprocessing.spawn(worker, (tmp_path,), nprocs=3)
    heard = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    assert [each["a card each"] for each in heard] == ["together"] * 3
    (told,) = {each["one card"] for each in heard}
    assert told.startswith("processes 0 and 1 would share cuda:0 of ")
    assert told.endswith(
        "NCCL needs a device per process: start as many as there are, `torchrun --nproc-per-node 2`, with "
        "train.device=cuda"
    )


@pytest.mark.parametrize("device", [torch.device("cpu"), CUDA])
def test_cpus_and_single_processes_are_not_checked(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "all_gather_object", lambda *_: pytest.fail("something was asked"))
    if device.type == "cpu":
        monkeypatch.setattr(collectives, "world_size", lambda: 2)
    collectives.refuse_shared_device(device)
