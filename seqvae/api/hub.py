"""A run folder as what the Hub calls a model: saved, loaded, pushed and fetched."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from seqvae.checkpoint import Run, load_run, read_card
from seqvae.device import pick_device
from seqvae.fitted import FOLDER as PRIORS
from seqvae.registry import UserError
from seqvae.weights import WEIGHTS

RUN_FILES = ("config.yaml", "config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json")


class RunFolder(ModelHubMixin, library_name="seqvae"):
    """A run and the device it is used on, with `from_pretrained`, `save_pretrained` and `push_to_hub`."""

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        self.run, self.device = run, torch.device(device)

    @classmethod
    def _encode_arg(cls, arg: Any) -> Any:
        """A run by its folder: of a dataclass the mixin keeps a deep copy, here that of the whole model."""
        return str(arg.path) if isinstance(arg, Run) else super()._encode_arg(arg)

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
