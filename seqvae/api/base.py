"""What a trained model of any modality can do: codes, measures, folders and the Hub.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from torch import Tensor

from seqvae.build import wing_of
from seqvae.checkpoint import WEIGHTS, Run, load_run, read_card
from seqvae.device import autocast, pick_device, pick_precision
from seqvae.distributed import spread
from seqvae.evaluate import Settings, evaluate
from seqvae.fitted import FOLDER as PRIORS
from seqvae.fitted import load_fitted, with_prior
from seqvae.gains import brought
from seqvae.generate import Condition, Rate, asked, asking, codes, path_between, with_condition, with_rate
from seqvae.generate import Path as CodePath
from seqvae.interfaces import Batch, Measures
from seqvae.metrics.by_factor import factor_numbers
from seqvae.metrics.gather import Progress, Walk
from seqvae.metrics.refinement import Refining
from seqvae.metrics.refinement import refine as refinement
from seqvae.registry import UserError, lookup

REFINED = ("neg_elbo_refined", "rate_refined", "amortisation_gap", "amortisation_gap_se")
RUN_FILES = ("config.yaml", "config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json")


class PretrainedVAE(ModelHubMixin, library_name="seqvae"):
    """A trained VAE for use; every modality has its own face below."""

    modality: ClassVar[str]

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        if run.config.modality != self.modality:
            raise UserError(f"{run.path} holds a model of {run.config.modality}, not of {self.modality}")
        self.run, self.device = run, torch.device(device)
        self.vae = run.vae.to(self.device)

    @property
    def latent_dim(self) -> int:
        """D, or 0 for a model without a code."""
        return self.vae.latent.dim

    def encode(
        self,
        examples: Sequence[Any],
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
    ) -> Tensor:
        """Codes (N, D): posterior means, or one draw of each posterior, at `rate` nats (one, or one each).

        `condition`, {label: value}, is what a run that is told labels is told of all of them. Where several
        processes work together all of them must ask, and each encodes its share.

        Raises:
            UserError: an example that cannot be read, a model without a code, a rate out of its range, or
                labels that are missing or unknown.
        """
        face = self if condition is None else self.with_condition(condition)
        return face._coded(examples, sample, seed, rate)[0]

    @torch.no_grad()
    def _coded(
        self, examples: Sequence[Any], sample: bool, seed: int, rate: Rate
    ) -> tuple[Tensor, Tensor | None]:
        """Codes (N, D) of the examples, and what the model was told of them, c (N, C)."""
        self._require_code()

        def coded(batch: Batch) -> tuple[Tensor, Tensor | None]:
            c = self.vae.condition(batch)
            return codes(self.vae.posterior(batch), batch, sample).cpu(), None if c is None else c.cpu()

        batches = list(asked(self._batches(examples, seed), asking(self.vae, rate, len(examples))))
        parts = spread(batches, coded, self.device)
        told = [c for _, c in parts if c is not None]
        found = torch.cat([torch.zeros(0, self.latent_dim), *(z for z, _ in parts)])
        return found, torch.cat(told) if told else None

    def path(self, a: Any, b: Any, steps: int = 8, path: CodePath = "linear") -> Tensor:
        """Codes (steps, D) from the code of `a` to that of `b`.

        Raises:
            UserError: fewer than two steps.
        """
        if steps < 2:
            raise UserError(f"steps got {steps}: a path has at least its 2 ends")
        ends: Tensor = self.encode([a, b])
        return path_between(ends[0], ends[1], steps, path)

    def evaluate(
        self,
        data: str | None = None,
        samples: int = 20,
        progress: Progress | None = None,
        batch_size: int = 64,
        precision: str = "fp32",
        examples: int | None = None,
        rate: float | None = None,
        refine: int = 0,
        factors: bool = False,
    ) -> dict[str, Any]:
        """All measures (`seqvae.evaluate.KEYS` and more) on the test split, or on the file `data`.

        The report says which data and which precision it was: bf16 is faster and rounds. A run without a
        test split is measured on its validation split; `examples` takes only the first so many. With `refine`
        steps of SVI for each example, `amortisation_gap` says what the encoder leaves on the table. With
        `factors`, what `factor_scores` says is there too. Where several processes work together all of them
        must ask, and share the examples out: the numbers are those of one.

        Raises:
            UserError: the file, or the run's own data, cannot be read; a rate out of the run's range; factors
                are asked for and `factor_scores` has none.
        """
        if rate is not None:
            at_rate = self.with_rate(rate)
            return at_rate.evaluate(
                data, samples, progress, batch_size, precision, examples, refine=refine, factors=factors
            )
        told = self.factor_scores(data, progress, batch_size, examples) if factors else {}
        where, batches, measures = self._evaluated(data, batch_size, examples)
        with autocast(pick_precision(precision, self.device), self.device):
            report = evaluate(
                self.vae,
                batches,
                samples=samples,
                measures=measures,
                settings=Settings(together=True),
                progress=progress,
            )
            if refine:
                found = refinement(self.vae, batches, Refining(steps=refine, samples=samples), progress)
                report |= {key: found[key] for key in REFINED}
        return {"data": where, **report, **told}

    def factor_scores(
        self,
        data: str | None = None,
        progress: Progress | None = None,
        batch_size: int = 64,
        examples: int | None = None,
    ) -> dict[str, Any]:
        """Whether each factor of the data has a dim of its own, and its nats: see `factor_numbers`.

        The factors are the run's labels; those of the embedded data where it was trained without any.

        Raises:
            UserError: no labels, labels that are no factors, or the model has no code.
        """
        names = self.run.config.data.labels or self._embedded_factors
        data_block = self.run.config.data.model_copy(update={"labels": list(names)})
        config = self.run.config.model_copy(update={"data": data_block})
        labelled = type(self)(replace(self.run, config=config), self.device)
        batches = labelled._evaluated(data, batch_size, examples)[1]
        return factor_numbers(Walk(self.vae, batches, progress, together=True), names)

    def with_prior(self, name: str) -> Self:
        """The same model under a prior that `seqvae fit-prior` fitted to it.

        Raises:
            UserError: no such prior, or it was fitted to other weights.
        """
        prior = load_fitted(self.run.path, name, self.vae.latent)
        return type(self)(replace(self.run, vae=with_prior(self.vae, prior)), self.device)

    def prior_gains(
        self,
        name: str,
        samples: int = 20,
        examples: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """What a fitted prior brings on the run's evaluation data: see `seqvae.gains.brought`.

        Raises:
            UserError: as `with_prior`, or the data cannot be read.
        """
        batches = self._evaluated(None, 64, examples)[1]
        return brought(self.vae, self.with_prior(name).vae.prior, batches, samples, progress)

    def with_rate(self, nats: float) -> Self:
        """The same model with another default rate, which all that it does then has.

        Raises:
            UserError: a rate outside the range that was trained, or the run has no dial.
        """
        return type(self)(replace(self.run, vae=with_rate(self.vae, nats)), self.device)

    def with_condition(self, condition: Condition) -> Self:
        """The same model, told these labels of whatever it reads and writes then: {label: value}.

        Raises:
            UserError: labels that do not match those it was trained with, or it was trained with none.
        """
        return type(self)(replace(self.run, vae=with_condition(self.vae, condition)), self.device)

    @property
    def _categories(self) -> dict[str, Sequence[str]]:
        """The names of classes in training, by label: other data number theirs alike."""
        return {} if self.vae.labels is None else self.vae.labels.categories

    @abstractmethod
    def decode(self, z: Any) -> Any:
        """What the codes (N, D) stand for."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the run's data say of each example."""
        config = self.run.config
        return wing_of(config).load_data(config, self.run.codec).labels

    def attribute(self, batches: Sequence[Batch], name: str) -> Tensor:
        """A label of each example (N,), NaN where it is missing.

        Raises:
            UserError: no label of that name.
        """
        names = self.label_names
        lookup("label", dict.fromkeys(names), name)
        return torch.cat([batch.labels for batch in batches])[:, names.index(name)]

    @property
    @abstractmethod
    def _embedded_factors(self) -> Sequence[str]:
        """What the embedded data that the run was trained on know of each example; nothing of other data."""

    @abstractmethod
    def _batches(self, examples: Sequence[Any], seed: int) -> Iterator[Batch]:
        """What a user gave, as batches on the device."""

    @abstractmethod
    def _evaluated(
        self, data: str | None, batch_size: int, examples: int | None
    ) -> tuple[str, list[Batch], Measures]:
        """The name of the evaluation data, its batches, and what measures them."""

    def _codes(self, z: Any) -> Tensor:
        """Codes (N, D) as a user gives them.

        Raises:
            UserError: codes of another size.
        """
        given: Tensor = torch.as_tensor(z, dtype=torch.float32)
        if given.ndim != 2 or given.shape[1] != self.latent_dim:
            raise UserError(f"codes have shape {tuple(given.shape)}: this model reads (N, {self.latent_dim})")
        return given

    def _require_code(self) -> None:
        if not self.latent_dim:
            raise UserError("this run is a language model (latent: none): it has no code to encode into")

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Copy what `from_pretrained` reads into a folder, and write a model card beside it.

        Raises:
            UserError: the folder is the run itself.
        """
        if Path(save_directory).resolve() == self.run.path.resolve():
            raise UserError(f"{save_directory} is this run already: save into another folder")
        return super().save_pretrained(save_directory, **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        for name in RUN_FILES:
            if (self.run.path / name).is_file():
                shutil.copy2(self.run.path / name, save_directory / name)
        if (self.run.path / PRIORS).is_dir():
            shutil.copytree(self.run.path / PRIORS, save_directory / PRIORS, dirs_exist_ok=True)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """The model of a run folder or Hub id; `device`, and the Hub's `revision`, `token`, `cache_dir` ...

        Raises:
            UserError: neither a run folder nor a model on the Hub, or damaged.
        """
        source = Path(pretrained_model_name_or_path)
        if source.is_dir():
            read_card(source)
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **options)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{source} is neither a run folder nor a model on the Hub ({reason})") from None

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: str = "cpu",
        **_: Any,
    ) -> Self:
        """A run folder, or a Hub id; every weight must be there."""
        folder = Path(model_id)
        if not folder.is_dir():
            folder = _downloaded(model_id, revision, cache_dir, force_download, local_files_only, token)
        chosen = pick_device(device)
        return cls(load_run(folder, chosen), chosen)


def _downloaded(
    model_id: str,
    revision: str | None,
    cache_dir: str | Path | None,
    force: bool,
    local: bool,
    token: str | bool | None,
) -> Path:
    folder = snapshot_download(
        model_id,
        revision=revision,
        cache_dir=cache_dir,
        force_download=force,
        local_files_only=local,
        token=token,
        allow_patterns=[*RUN_FILES, f"{PRIORS}/*"],
    )
    return Path(folder)
