"""The real sentence-transformers opens text runs and encodes with them, pretrained or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SENTENCES, language_model, tiny_run
from tiny_pretrained import shared_run

from seqvae.errors import UserError
from seqvae.inference import load

st = pytest.importorskip("sentence_transformers")
KINDS = ("gru", "frozen", "lora", "dial")


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run."""
    return (
        tiny_run(tmp_path_factory) if request.param == "gru" else shared_run(tmp_path_factory, request.param)
    )


def test_encodes_as_the_run_does(run: Path) -> None:
    model = st.SentenceTransformer(str(run), device="cpu", trust_remote_code=True)
    known = load(run).encode(SENTENCES).numpy()
    np.testing.assert_allclose(model.encode(SENTENCES, batch_size=3), known, atol=1e-5)
    assert model.get_embedding_dimension() == known.shape[1]
    assert model.similarity(model.encode(SENTENCES), model.encode(SENTENCES)).shape == (4, 4)


def test_saved_by_the_library_it_is_the_same_run(run: Path, tmp_path: Path) -> None:
    from seqvae.integrations import sentence_transformers as door

    model = door.load(run, device="cpu")
    model.save(str(tmp_path / "saved"))
    again = st.SentenceTransformer(str(tmp_path / "saved"), device="cpu", trust_remote_code=True)
    np.testing.assert_array_equal(again.encode(SENTENCES), model.encode(SENTENCES))
    assert torch.equal(load(tmp_path / "saved").encode(SENTENCES), load(run).encode(SENTENCES))


def test_modules_json_is_the_only_file_of_the_library(run: Path) -> None:
    assert (run / "modules.json").is_file()
    assert not (run / "config_sentence_transformers.json").exists()


def test_a_rate_can_be_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = shared_run(tmp_path_factory, "dial")
    model = st.SentenceTransformer(str(run), device="cpu", trust_remote_code=True)
    for rate in (1.0, 8.0):
        np.testing.assert_allclose(
            model.encode(SENTENCES, rate=rate), load(run).encode(SENTENCES, rate=rate).numpy(), atol=1e-5
        )
    with pytest.raises(UserError, match="trained for 1 to 8"):
        model.encode(SENTENCES, rate=100)


def test_codes_have_gradients_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = st.SentenceTransformer(str(tiny_run(tmp_path_factory)), device="cpu", trust_remote_code=True)
    out = model(model.preprocess(SENTENCES))["sentence_embedding"]
    out.square().sum().backward()
    assert float(next(model[0].model.encoder.parameters()).grad.abs().sum()) > 0


def test_a_prompt_precedes_the_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = tiny_run(tmp_path_factory)
    model = st.SentenceTransformer(str(run), device="cpu", trust_remote_code=True)
    np.testing.assert_allclose(
        model.encode(["dog"], prompt="the old "), load(run).encode(["the old dog"]).numpy(), atol=1e-6
    )


def test_runs_that_encode_no_sentences_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    from seqvae.integrations import sentence_transformers as door

    with pytest.raises(UserError, match="latent: none has no code"):
        door.load(language_model(tmp_path_factory))
    with pytest.raises(UserError, match="its encoder reads vectors"):
        door.load(shared_run(tmp_path_factory, "vectors"))
    assert not (language_model(tmp_path_factory) / "modules.json").exists()
