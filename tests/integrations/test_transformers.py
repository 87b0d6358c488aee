"""The real transformers opens text runs by AutoModel, AutoTokenizer and a pipeline."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SENTENCES, tiny_run
from tiny_pretrained import shared_run

from seqvae.errors import UserError
from seqvae.inference import load

transformers = pytest.importorskip("transformers")


@pytest.fixture(params=["gru", "frozen", "lora", "dial"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run."""
    made = tmp_path_factory
    return tiny_run(made) if request.param == "gru" else shared_run(made, request.param)


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a run is copied into a cache of its own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


def opened(run: Path) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own
        model = transformers.AutoModel.from_pretrained(str(run), trust_remote_code=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(run))
    return model, tokenizer


def test_auto_model_encodes_as_the_run_does(run: Path) -> None:
    model, tokenizer = opened(run)
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    known = load(run).encode(SENTENCES)
    torch.testing.assert_close(out.pooler_output, known, atol=1e-5, rtol=0)
    assert out.last_hidden_state.shape == (4, 1, known.shape[1])
    assert not model.training


def test_a_pipeline_extracts_features(run: Path) -> None:
    model, tokenizer = opened(run)
    extract = transformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")
    found = torch.tensor(extract(SENTENCES[0]))
    torch.testing.assert_close(found[0], load(run).encode(SENTENCES[:1]), atol=1e-5, rtol=0)


def test_a_rate_can_be_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = shared_run(tmp_path_factory, "dial")
    model, tokenizer = opened(run)
    ids = tokenizer(SENTENCES[:1], return_tensors="pt")["input_ids"]
    known = load(run).encode(SENTENCES[:1], rate=2.0)
    torch.testing.assert_close(model(ids, rate=2.0).pooler_output.detach(), known, atol=1e-5, rtol=0)


def test_without_weights_there_is_no_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    from seqvae.integrations.transformers import SeqVAEConfig, SeqVAEModel

    with pytest.raises(UserError, match="is loaded with its weights"):
        SeqVAEModel(SeqVAEConfig())
    with pytest.raises(UserError, match="encodes no sentences"):
        SeqVAEModel.from_pretrained(shared_run(tmp_path_factory, "vectors"))
