"""The scikit-learn transformer fits, transforms, inverts, is cloned, pickled and put into pipelines."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import SENTENCES, tiny_run
from tiny_pretrained import LINES, shared_run

from seqvae.errors import UserError
from seqvae.inference import load

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

from seqvae.integrations.sklearn import TextVAETransformer  # noqa: E402


@pytest.fixture(params=["gru", "frozen", "dial"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run."""
    return (
        tiny_run(tmp_path_factory) if request.param == "gru" else shared_run(tmp_path_factory, request.param)
    )


def test_transforms_as_the_run_encodes(run: Path) -> None:
    door, vae = TextVAETransformer(str(run), device="cpu").fit(SENTENCES), load(run)
    codes = door.transform(SENTENCES)
    np.testing.assert_array_equal(codes, vae.encode(SENTENCES).numpy())
    assert door.inverse_transform(codes).tolist() == vae.decode(vae.encode(SENTENCES))
    assert door.get_feature_names_out().tolist() == [f"z{i}" for i in range(vae.latent_dim)]


def test_a_pickle_works_where_the_run_is_gone(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run, tmp_path / "run")
    door = TextVAETransformer(str(tmp_path / "run"), device="cpu").fit(None)
    known = door.transform(SENTENCES)
    content = pickle.dumps(door)
    shutil.rmtree(tmp_path / "run")
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.transform(SENTENCES), known)
    home = again.run_
    del again
    assert not Path(home).exists()


def test_in_a_pipeline_with_names_of_columns(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = str(shared_run(tmp_path_factory, "frozen"))
    place = ["park" in line for line in LINES]
    pipeline = make_pipeline(TextVAETransformer(run, device="cpu"), LogisticRegression(C=100.0))
    assert pipeline.fit(LINES, place).score(LINES, place) > 0.5
    frame = TextVAETransformer(run, device="cpu").set_output(transform="pandas").fit_transform(LINES[:3])
    assert list(frame.columns) == ["z0", "z1", "z2"]


def test_is_cloned_and_says_that_it_is_not_fitted(run: Path) -> None:
    door = TextVAETransformer(str(run), rate=None, device="cpu").fit(None)
    other = clone(door)
    assert other.get_params() == door.get_params()
    with pytest.raises(NotFittedError):
        other.transform(SENTENCES)


def test_a_rate_is_a_parameter(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = shared_run(tmp_path_factory, "dial")
    low, high = (TextVAETransformer(str(run), rate=r, device="cpu").fit_transform(LINES[:3]) for r in (1, 8))
    np.testing.assert_allclose(low, load(run).encode(LINES[:3], rate=1.0).numpy(), atol=1e-6)
    assert np.linalg.norm(high) > np.linalg.norm(low)


def test_fit_trains_on_the_sentences_it_is_given(tmp_path: Path) -> None:
    small = ["encoder={name: gru, embed: 8, hidden: 8}", "latent={name: gaussian, dim: 2}", "train.steps=2"]
    small += ["decoder={name: gru, embed: 8, hidden: 8}", "train.device=cpu", "remedies=[]"]
    door = TextVAETransformer(sets=small, out=str(tmp_path / "run"), device="cpu").fit([*LINES, "a\nb"])
    assert door.transform(LINES[:5]).shape == (5, 2)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_vectors_are_transformed_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = shared_run(tmp_path_factory, "vectors")
    matrix = np.load(run.parent / "vectors.npy")[:4]
    door = TextVAETransformer(str(run), device="cpu").fit(None)
    np.testing.assert_array_equal(door.transform(matrix), load(run).encode(matrix).numpy())


def test_a_missing_run_is_refused() -> None:
    with pytest.raises(UserError, match="neither a run folder nor a model on the Hub"):
        TextVAETransformer("nowhere/at-all", device="cpu").fit(SENTENCES)


def test_torch_is_imported_late() -> None:
    code = "import sys, seqvae.integrations.sklearn; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
