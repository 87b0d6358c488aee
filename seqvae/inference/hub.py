"""Run folders as Hugging Face Hub models: save, load, push and download."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from seqvae.errors import UserError
from seqvae.inference.model_card import CARD, model_card
from seqvae.inference.posthoc_priors import FOLDER as PRIORS
from seqvae.models.pretrained.golden import FOLDER as BASES
from seqvae.models.pretrained.golden import GOLDEN_FILE, copy_bases
from seqvae.runs.modules_file import MODELING, MODULES
from seqvae.runs.run_folder import Run, load_run, read_card
from seqvae.runs.weights import WEIGHTS
from seqvae.utils.device import pick_device

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
RUN_FILES = ("config.yaml", "config.json", WEIGHTS, *_TOKENIZER, MODULES, MODELING)


def loaded_files(run: Path) -> list[Path]:
    """The files of a run folder that `from_pretrained` reads."""
    named = [run / name for name in (*RUN_FILES, GOLDEN_FILE)]
    inside = [file for folder in (PRIORS, BASES) for file in sorted((run / folder).rglob("*"))]
    return [file for file in (*named, *inside) if file.is_file()]


class RunFolder(ModelHubMixin, library_name="seqvae"):
    """A run and the device it is used on, with `from_pretrained`, `save_pretrained` and `push_to_hub`."""

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        self.run, self.device = run, torch.device(device)

    @classmethod
    def _encode_arg(cls, arg: Any) -> Any:
        """Encode a run as its path: the mixin would deep-copy a dataclass, here the whole model."""
        return str(arg.path) if isinstance(arg, Run) else super()._encode_arg(arg)

    def save_pretrained(self, save_directory: str | Path, whole: bool = False, **options: Any) -> str | None:
        """Copy the files that `from_pretrained` reads to a folder, with the card written by `seqvae card`.

        If the run has no card, one without metrics is written.

        With `whole`, the pretrained models that the run builds on are copied too.

        Raises:
            UserError: the folder is the run itself, or a pretrained model is missing.
        """
        if Path(save_directory).resolve() == self.run.path.resolve():
            raise UserError(f"{save_directory} is this run already: save into another folder")
        if whole:
            copy_bases(self.run.config, Path(save_directory))
        return super().save_pretrained(save_directory, **options)

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """The card of a run that has none, without metrics."""
        return model_card(self.run)

    def _save_pretrained(self, save_directory: Path) -> None:
        card = self.run.path / CARD
        for file in [*loaded_files(self.run.path), *([card] if card.is_file() else [])]:
            target = save_directory / file.relative_to(self.run.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load a run folder or Hub id; options: `device`, and the Hub's `revision`, `token`, `cache_dir` ...

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
        """Load a run folder or download a Hub id; every weight must be present."""
        folder = Path(model_id)
        if not folder.is_dir():
            folder = _download(model_id, revision, cache_dir, force_download, local_files_only, token)
        chosen = pick_device(device)
        return cls(load_run(folder, chosen), chosen)


def _download(
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
        allow_patterns=[*RUN_FILES, GOLDEN_FILE, f"{PRIORS}/*", f"{BASES}/*"],
    )
    return Path(folder)
