"""A run that a page shows: its model, and what is measured of it once for all who look.

Shapes: N examples, M training examples, D latent dims.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.evaluation.metrics.holes import Holes, find_holes
from seqvae.explore.embedding import Embedding, Principal, fit_principal, fit_tsne
from seqvae.explore.jobs import Jobs
from seqvae.explore.points import Points, load_points, require_code
from seqvae.explore.requests import Place
from seqvae.inference import ImageVAE, PretrainedVAE, TextVAE
from seqvae.inference.inputs import Inputs, load_inputs
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.sampling import resample_conditions, sample_prior

HOLE_CODES, HOLE_DRAWS = 2000, 4000  # examples whose density sets the threshold; prior draws compared
TRAINING = 20_000  # training examples among which neighbours are searched
BLOCK = 256  # training examples that are encoded between two reports of progress


@dataclass(frozen=True)
class HoleReport:
    """The prior draws (M, D) and which of them lie in a hole."""

    draws: Tensor
    holes: Holes


@dataclass(frozen=True)
class Training:
    """Training examples and their codes (M, D); `known` are all training texts, of a run of text."""

    inputs: Inputs
    codes: Tensor
    known: frozenset[str]


@dataclass
class Explorer:
    """A run, the examples on its map, and the background work on them.

    Raises:
        UserError: a run without a code, or conditioned on labels that are not fixed.
    """

    vae: PretrainedVAE
    data: str | None = None
    examples: int = 50_000  # on the map, at most
    seed: int = 0
    rate: float | None = None  # that the run was loaded at, for the lines that reproduce it
    prior: str | None = None  # likewise
    jobs: Jobs = field(default_factory=Jobs)
    directions: dict[Any, Any] = field(default_factory=dict)  # see `attributes.find_direction`

    def __post_init__(self) -> None:
        """Refuse what has no page."""
        require_code(self.vae)

    @property
    def is_text(self) -> bool:
        """Whether the examples are sentences."""
        return isinstance(self.vae, TextVAE)

    @property
    def reads_texts(self) -> bool:
        """Whether a typed sentence can be encoded."""
        return isinstance(self.vae, TextVAE) and not self.vae.reads_vectors

    @property
    def points(self) -> Points:
        """The codes on the map.

        Raises:
            Pending: they are being computed.
        """
        found: Points = self.jobs.result("codes", self.load_points)
        return found

    def load_points(self, progress: ProgressCallback) -> Points:
        """Encode the examples of the map; `points` does so once."""
        return load_points(self.vae, self.data, self.examples, progress)

    @property
    def principal(self) -> Principal:
        """The plane of principal components.

        Raises:
            Pending: the codes are being computed.
        """
        points = self.points
        found: Principal = self.jobs.result("pca", lambda _: fit_principal(points.mean))
        return found

    def embedding(self, name: str) -> Embedding:
        """The plane called `name`: pca or tsne.

        Raises:
            Pending: it is being computed.
            UserError: scikit-learn is not installed, or there are too few examples.
        """
        if name == "pca":
            return self.principal
        points = self.points
        found: Embedding = self.jobs.result("t-SNE", lambda _: fit_tsne(points.mean, self.seed))
        return found

    @property
    def holes(self) -> HoleReport | None:
        """Prior draws against the aggregate posterior; None where q(z|x) has no density.

        Raises:
            Pending: they are being compared.
        """
        points = self.points
        if not points.has_density or points.n < 2:
            return None
        found: HoleReport = self.jobs.result("holes", lambda _: self._find_holes(points))
        return found

    def _find_holes(self, points: Points) -> HoleReport:
        draws = self.draw_prior(HOLE_DRAWS, self.seed)
        rows = torch.arange(points.n)
        if points.n > HOLE_CODES:
            order = KeyedNoise(self.seed, 0, rows).uniform("codes of holes").argsort(stable=True)
            rows = order[:HOLE_CODES].sort().values
        return HoleReport(draws, find_holes(points.posteriors, points.z[rows], points.own[rows], draws))

    def draw_prior(self, n: int, seed: int, prior: str = "") -> Tensor:
        """Codes (n, D) from the run's prior, or from the fitted one called `prior`.

        Raises:
            UserError: no such prior.
        """
        vae = self.vae.with_prior(prior).vae if prior else self.vae.vae
        c = resample_conditions(vae, self.points.batches, n) if vae.labels is not None else None
        return sample_prior(vae, n, seed, c=c).cpu()

    @property
    def training(self) -> Training:
        """Codes of training examples.

        Raises:
            Pending: they are being encoded.
            UserError: the training data cannot be read.
        """
        found: Training = self.jobs.result("training codes", self._encode_training)
        return found

    def _encode_training(self, progress: ProgressCallback) -> Training:
        every = load_inputs(self.vae, "train")
        known = frozenset(every.x) if self.is_text else frozenset[str]()
        rows = torch.arange(len(every))
        if len(every) > TRAINING:
            rows = torch.linspace(0, len(every) - 1, TRAINING).long()
        chosen, codes = every.rows(rows), []
        for start in range(0, len(rows), BLOCK):
            codes.append(self.vae.encode(chosen.x[start : start + BLOCK]))
            progress(min(start + BLOCK, len(rows)), len(rows), "training examples encoded")
        return Training(chosen, torch.cat(codes), known)

    def resolve(self, place: Place) -> Tensor:
        """The code (D,) that a request means.

        Raises:
            UserError: an example that does not exist, a text of a run of pictures, or another size of code.
            Pending: the codes are being computed.
        """
        if place.text is not None:
            if not self.reads_texts:
                raise UserError("this run reads no typed text: pick a point on the map instead")
            return self.vae.encode([place.text])[0]
        if place.draw is not None:
            return self.draw_prior(1, place.draw)[0]
        if place.z is not None:
            return self.vae._codes([place.z])[0]
        points = self.points
        if place.index is None or place.index >= points.n:
            raise UserError(f"example {place.index} does not exist: the map shows {points.n:,}, from 0")
        return points.mean[place.index]

    def describe(self, place: Place) -> dict[str, int] | None:
        """How the model reads a typed text: tokens in all, unknown ones and those left out at the end."""
        vae = self.vae
        if place.text is None or not isinstance(vae, TextVAE):
            return None
        tokens, most = len(vae.tokenizer.encode(place.text)), vae.config.data.max_tokens
        return {"tokens": tokens, "unknown": vae.unknown([place.text])[0], "cut": max(0, tokens - most)}

    def example(self, index: int) -> Any:
        """An evaluation example as `encode` takes it."""
        return self.points.inputs.x[index]

    def place_on_map(self, z: Tensor) -> dict[str, list[list[float]]]:
        """Where codes (M, D) lie on each plane that is ready."""
        planes = {"pca": self.principal.place(z)}
        if (ready := self.jobs.ready("t-SNE")) is not None:
            planes["tsne"] = ready.place(z)
        return {name: [[rounded(v) for v in row] for row in xy.tolist()] for name, xy in planes.items()}

    @property
    def pictures(self) -> ImageVAE:
        """The model of a run of pictures."""
        assert isinstance(self.vae, ImageVAE)
        return self.vae


def rounded(value: float, digits: int = 5) -> float:
    """Few digits: a page needs no more, and large answers stay small."""
    return float(f"{value:.{digits}g}")
