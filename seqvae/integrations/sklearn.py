"""A text VAE as a scikit-learn transformer: sentences to codes, and codes to sentences.

Shapes: N sentences, D latent dims.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError


class TextVAETransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """`fit` trains a run on sentences, or loads a trained `run`; `transform` returns codes (N, D).

    Args:
        run: the folder of a trained run; `fit` then trains nothing.
        recipe: the shipped config that `fit` trains, as `seqvae list configs` names it.
        sets: `key.path=value` overrides of it.
        out: the folder of the run that `fit` makes; a temporary one by default.
        rate: nats per code of a variable-rate run.
        device: auto, cpu, cuda or cuda:N.

    A pickle contains the run's files, so that it can be opened elsewhere; pretrained models that the run
    builds on are not included. torch is imported only by `fit` or `transform`.

    Example: `make_pipeline(TextVAETransformer("runs/mine"), LogisticRegression()).fit(texts, labels)`.
    """

    def __init__(
        self,
        run: str | None = None,
        recipe: str = "text/default",
        sets: Sequence[str] = (),
        out: str | None = None,
        rate: float | None = None,
        device: str = "auto",
    ) -> None:
        self.run, self.recipe, self.sets, self.out = run, recipe, sets, out
        self.rate, self.device = rate, device

    def fit(self, X: Iterable[str], y: Any = None) -> TextVAETransformer:  # noqa: N803
        """Train a run on sentences, or load the given one.

        Raises:
            UserError: no such run, or any problem with the recipe or the sentences.
        """
        self._vae: Any = None
        self.run_ = self.run if self.run is not None else self._train(X)
        self.n_features_out_ = self._load().latent_dim
        return self

    def _train(self, sentences: Iterable[str]) -> str:
        from seqvae.config.loading import load_config
        from seqvae.config.shipped import find_config
        from seqvae.training.loop import train

        home = Path(self._temporary())
        corpus = home / "sentences.txt"
        # a line is a sentence: line breaks inside one would make two
        corpus.write_text("".join(f"{' '.join(str(s).split())}\n" for s in sentences), encoding="utf-8")
        config = load_config(find_config(self.recipe), [f"data.train={corpus}", *self.sets])
        return str(train(config, self.out or home / "run"))

    def _temporary(self) -> str:
        """A temporary folder that is deleted with this object."""
        home = tempfile.mkdtemp(prefix="seqvae-sklearn-")
        weakref.finalize(self, shutil.rmtree, home, ignore_errors=True)
        return home

    def _load(self) -> Any:
        if not hasattr(self, "run_"):
            raise NotFittedError("this TextVAETransformer is not fitted: call fit, or name a trained run")
        if getattr(self, "_vae", None) is None:
            from seqvae.inference import TextVAE
            from seqvae.utils.device import pick_device

            vae = TextVAE.from_pretrained(self.run_, device=str(pick_device(self.device)))
            self._vae = vae if self.rate is None else vae.with_rate(self.rate)
        return self._vae

    def transform(self, X: Iterable[str]) -> npt.NDArray[np.float32]:  # noqa: N803
        """Codes (N, D), means of q(z|x); if the run encodes vectors, X is a matrix (N, W)."""
        vae = self._load()
        given = np.asarray(X) if vae.reads_vectors else [str(text) for text in X]
        codes: npt.NDArray[np.float32] = vae.encode(given).numpy()
        return codes

    def inverse_transform(self, X: Any) -> npt.NDArray[np.object_]:  # noqa: N803
        """Greedy sentences (N,) of codes (N, D)."""
        return np.array(self._load().decode(np.asarray(X, np.float32)), dtype=object)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names z0, z1 ... (D,)."""
        self._load()
        return np.array([f"z{i}" for i in range(self.n_features_out_)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.input_tags.one_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """The arguments, and the files of the run instead of the loaded model."""
        state = {k: v for k, v in super().__getstate__().items() if k not in ("_vae", "run_")}
        if hasattr(self, "run_"):
            state["_files"] = _pack(Path(self.run_))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpack the run's files into a temporary folder."""
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            self.run_ = self._temporary()
            for name, content in files.items():
                file = Path(self.run_) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)


def _pack(run: Path) -> dict[str, bytes]:
    """The content of the files that `from_pretrained` reads, by name."""
    from seqvae.inference.hub import loaded_files

    return {file.relative_to(run).as_posix(): file.read_bytes() for file in loaded_files(run)}
