"""Sentence vectors are those of sentence-transformers, whatever the folder; each text is embedded once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_backbones import TEXTS, bert_folder, lm_folder

from seqvae.data.text.readers import Example
from seqvae.errors import UserError
from seqvae.models.pretrained.base import find_base
from seqvae.models.pretrained.embedder import Embedder, FeatureCache, FrozenFeatures
from seqvae.models.pretrained.sentences import recipe_of
from seqvae.models.pretrained.sources import OwnTokens


@pytest.fixture(params=["mean+normalise", "cls+dense", "last", "max"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that sentence-transformers itself wrote, of a tiny BERT."""
    st = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(0)
    kind = request.param
    mode = {"mean+normalise": "mean", "cls+dense": "cls", "last": "lasttoken", "max": "max"}[kind]
    parts = [modules.Transformer(bert_folder()), modules.Pooling(12, pooling_mode=mode)]
    parts += [modules.Normalize()] if "normalise" in kind else []
    parts += [modules.Dense(12, 5)] if "dense" in kind else []
    st.SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "st"))
    return str(tmp_path / "st")


def test_vectors_are_those_of_sentence_transformers(folder: str) -> None:
    st = pytest.importorskip("sentence_transformers")
    known = st.SentenceTransformer(folder, device="cpu").encode(TEXTS)
    found = Embedder(find_base(folder), "auto").embed(TEXTS)
    np.testing.assert_allclose(found, known, atol=1e-5)


def test_company_and_order_change_no_vector() -> None:
    embedder = Embedder(find_base(bert_folder()), "auto")
    together = embedder.embed([*TEXTS, *TEXTS[::-1]])
    single = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together[:4], single, atol=1e-6)
    np.testing.assert_allclose(together[4:], single[::-1], atol=1e-6)


def test_auto_takes_the_mean_of_a_reader_and_the_end_of_a_writer() -> None:
    assert recipe_of(find_base(bert_folder()), "auto").pooling == "mean"
    assert recipe_of(find_base(lm_folder()), "auto").pooling == "last"
    assert Embedder(find_base(lm_folder()), "auto").embed(TEXTS).shape == (4, 16)


def test_a_module_that_is_not_known_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    kinds = [{"idx": i, "path": "", "type": f"x.{name}"} for i, name in enumerate(("Transformer", "LSTM"))]
    (tmp_path / "modules.json").write_text(json.dumps(kinds))
    with pytest.raises(UserError, match=r"made of Transformer, LSTM, and .* are known: choose a pooling"):
        recipe_of(find_base(str(tmp_path)), "auto")


def test_features_are_found_again(tmp_path: Path) -> None:
    cache, vectors = FeatureCache(tmp_path), np.arange(6, dtype=np.float32).reshape(3, 2)
    keys = [bytes([i]) * 16 for i in range(3)]
    cache.add(keys[:2], vectors[:2])
    FeatureCache(tmp_path).add(keys[2:], vectors[2:])
    again = FeatureCache(tmp_path)
    for key, vector in zip(keys, vectors, strict=True):
        np.testing.assert_array_equal(again.get(key), vector)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_embedding_loses_only_its_last_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    features = FrozenFeatures(Embedder(find_base(bert_folder(seed=3)), "auto"))
    texts = [Example(f"the dog sees {i} ball") for i in range(600)]
    features.read(texts[:300])
    monkeypatch.setattr(features.embedder, "embed", lambda texts: 1 / 0)
    assert features.read(texts[:300]).values.shape == (300, 12)
    with pytest.raises(ZeroDivisionError):
        features.read(texts)
    again = FrozenFeatures(features.embedder)
    assert again.read(texts[:300]).values.shape == (300, 12)


def test_a_few_texts_leave_no_file() -> None:
    features = FrozenFeatures(Embedder(find_base(bert_folder(seed=4)), "auto"))
    examples = [Example(text) for text in (*TEXTS, TEXTS[0])]
    found = features.read(examples).values
    np.testing.assert_allclose(found, features.embedder.embed([e.text for e in examples]), atol=1e-6)
    assert not features.cache.folder.exists()


def test_own_tokens_are_the_encoders_with_its_start_and_end() -> None:
    rows = OwnTokens(bert_folder(), None, "auto").read([Example(text) for text in TEXTS])
    source, lengths = rows.tensors()
    assert source[:, 0].tolist() == [2] * 4  # [CLS]
    assert lengths.tolist() == [len(text.split()) + 2 for text in TEXTS]
    assert [int(row[n - 1]) for row, n in zip(source, lengths, strict=True)] == [3] * 4  # [SEP]
    assert source[2, int(lengths[2]) :].unique().tolist() == [0]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config.json: give a folder"):
        find_base(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds no weights \(\*.safetensors or \*.bin\): fetch"):
        find_base(str(tmp_path)).sha256  # noqa: B018
    with pytest.raises(UserError, match="cannot be fetched from the Hub"):
        find_base("nobody/nothing")
    with pytest.raises(UserError, match="give a Hub id"):
        find_base("a b c")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no such type"}')
    with pytest.raises(UserError, match="cannot be read as AutoModel"):
        find_base(str(tmp_path)).load("AutoModel")
