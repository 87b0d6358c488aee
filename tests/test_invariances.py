"""How a run is computed leaves its losses alone: fp32, 1e-4 relative over 50 steps.

The number of processes has files of its own: test_distributed.py and test_sharding.py.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny import assert_close_runs, config
from torch import Tensor
from torch.nn.functional import pad

from seqvae.data.splits import Rows
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.feed import TextBatchSource
from seqvae.models.text.kernels import output_layer
from seqvae.runs.weights import WEIGHTS
from seqvae.training.loop import train

RUN = ("train.steps=50", "train.log_every=1", "train.validate_every=25", "train.weight_decay=0.01")
BLOCKS = "name: transformer, width: 8, heads: 2, layers: 2, dropout: 0"
MODELS: dict[str, tuple[str, ...]] = {
    "gru": RUN,
    "transformer": (*RUN, f"encoder={{{BLOCKS}}}", f"decoder={{{BLOCKS}, z_to: [slots, norms, softmax]}}"),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run computed in the usual way."""
    return train(config(*MODELS[model]), tmp_path_factory.mktemp(model) / "plain")


def test_padding_and_order_within_a_batch(
    plain: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TextBatchSource._make_batch

    def wider(feed: TextBatchSource, rows: Rows, step: int, epoch: int) -> TextBatch:
        batch, none = whole(feed, rows[::-1].copy(), step, epoch), feed.data.tokenizer.special.pad

        def wide(ids: Tensor) -> Tensor:
            return pad(ids, (0, 1 + step % 7), value=none)

        return batch.replace(
            source=wide(batch.source), inputs=wide(batch.inputs), targets=wide(batch.targets)
        )

    monkeypatch.setattr(TextBatchSource, "_make_batch", wider)
    assert_close_runs(plain, train(config(*MODELS[model]), tmp_path / "wider"))


def test_chunks_of_the_output_layer(
    plain: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_layer, "FEWEST", 1)
    monkeypatch.setattr(output_layer, "CHUNK_BYTES", 1 << 14)
    monkeypatch.setattr(output_layer, "KEPT_BYTES", 1 << 14)
    assert_close_runs(plain, train(config(*MODELS[model]), tmp_path / "chunked"))


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler on CPUs"
)
@pytest.mark.filterwarnings("ignore")  # torch's own compiler warns of itself
def test_compiled_blocks(tmp_path: Path) -> None:
    sets = (*MODELS["transformer"], "train.lr=1e-3")  # at ten times that, roundings grow step by step
    plain = train(config(*sets), tmp_path / "plain")
    compiled = train(config(*sets, "train.compile=true"), tmp_path / "compiled")
    assert_close_runs(plain, compiled)
    assert load_file(plain / WEIGHTS).keys() == load_file(compiled / WEIGHTS).keys(), "they load anywhere"
