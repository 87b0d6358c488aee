"""The files of a run folder, written atomically and read safely (no pickled code is run).

config.yaml              the resolved config
config.json              the same for programs: format, sizes, the config, what was selected
model.safetensors        the selected weights, with their own hash in them
tokenizer.json, tokenizer_config.json (text)
modules.json             the class by which sentence-transformers reads the run (text)
golden.json              outputs of a model with pretrained weights for three sentences, compared at loading
base/PART/               these pretrained weights, in a run exported with --whole
metrics.jsonl            one line per logged step or validation
checkpoints/step-N/      weights, optimizer, objective and step, to resume from
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqvae.build import build_vae, modality_of
from seqvae.config.loading import dump_config, parse_config
from seqvae.config.schema import RunConfig
from seqvae.config.yaml_files import read_yaml
from seqvae.errors import UserError
from seqvae.interfaces import Processor
from seqvae.models.pretrained.golden import base_facts, check_golden, with_bases
from seqvae.models.vae import VAE
from seqvae.runs.modules_file import automatic_classes, write_modules
from seqvae.runs.weights import WEIGHTS, own_copies, read_weights, write_weights
from seqvae.utils.atomic_files import (
    atomic_folder,
    explain_disk_errors,
    list_checkpoints,
    sha256_of,
    write_atomically,
)

FORMAT = 1
TRAINED = "trained"  # name of the prior of the training
Splits = Mapping[str, Mapping[str, str]]  # per split: hashes of its examples and of each label column
_STATE_KEYS = {"format_version", "progress", "sha256", "sha256_of_progress"}


@dataclass
class TrainState:
    """The progress of a training; saved with every checkpoint."""

    step: int = 0
    inner: int = 0  # updates of the encoder alone, which schedules do not count
    best: float | None = None  # value of the selection metric, lower is better
    best_step: int | None = None
    worse: int = 0  # validations since the best one
    lr_factor: float = 1.0  # of the plateau rule
    collapsed: bool = False  # at the last validation after the end of the schedules
    seconds: float = 0.0
    tokens: int = 0  # or images
    finished: bool = False
    last_validation: dict[str, Any] = field(default_factory=dict)
    unlogged: dict[str, Any] = field(default_factory=dict)  # sums since the last logged line


@dataclass(frozen=True)
class Run:
    """A finished or unfinished run, loaded for use."""

    path: Path
    config: RunConfig
    vae: VAE
    codec: Any  # the tokenizer of a text run
    card: dict[str, Any]  # config.json
    prior: str | None = None  # chosen by name: one fitted to the run, or TRAINED


def require_empty(path: Path) -> None:
    """Reject a path that holds files, or where no folder can be made.

    Raises:
        UserError: the path exists and is not an empty folder, or it is not writable.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(
            f"{path} exists: choose another --out, or go on with it by `seqvae train --resume {path}`"
        )
    home = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        reason = "may not be written to" if home.is_dir() else "is a file"
        raise UserError(f"{path} cannot be made, {home} {reason}: choose another --out")


def create_run(
    path: Path, config: RunConfig, codec: Processor, data: str = "", splits: Splits | None = None
) -> None:
    """Create the run folder with its config and its processor (a text run's tokenizer).

    Raises:
        UserError: the folder is not empty, or the disk is full.
    """
    require_empty(path)
    with explain_disk_errors(path):
        (path / "checkpoints").mkdir(parents=True)
        codec.save(path)
        write_modules(path, config)
        write_atomically(path / "config.yaml", lambda p: p.write_text(dump_config(config), encoding="utf-8"))
        write_card(path, config, codec, TrainState(), "nothing is trained yet", data, splits)


def write_card(
    path: Path,
    config: RunConfig,
    codec: Processor,
    progress: TrainState,
    selected: str,
    data: str,
    splits: Splits | None = None,
) -> None:
    """Write config.json: everything needed to rebuild the model, and which weights were selected.

    `data` is the fingerprint of the training data, which a resumed run compares with its own;
    `splits` holds the hashes of each split, which every later use of a split compares.
    """
    card = {
        "format_version": FORMAT,
        "library_name": "seqvae",
        **automatic_classes(config),
        "sizes": codec.metadata,
        "run": config.model_dump(by_alias=True),
        "data": data,
        **({} if splits is None else {"splits": splits}),
        **({"bases": bases} if (bases := base_facts(config)) else {}),
        "selected": selected,
        "progress": asdict(progress),
    }
    _write_json(path, card)


def update_card(path: Path, **values: Any) -> None:
    """Add values to config.json that were measured or chosen after training."""
    _write_json(path, {**read_card(path), **values})


def _write_json(path: Path, card: dict[str, Any]) -> None:
    """Write config.json; lone surrogates, which UTF-8 cannot encode, are escaped."""
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    with suppress(UnicodeEncodeError), explain_disk_errors(path):
        write_atomically(path / "config.json", lambda p: p.write_text(text, encoding="utf-8"))
        return
    escaped = json.dumps(card, indent=2) + "\n"
    with explain_disk_errors(path):
        write_atomically(path / "config.json", lambda p: p.write_text(escaped, encoding="utf-8"))


def load_run(source: str | Path, device: str | torch.device = "cpu") -> Run:
    """Load a run in evaluation mode.

    Raises:
        UserError: not a run folder, of a newer format, not trained yet, or with damaged weights.
    """
    path = Path(source)
    card = read_card(path)
    config = with_bases(parse_config(card["run"], where=str(path / "config.json"), saved=True), card, path)
    codec = modality_of(config).load_codec(path, card.get("sizes", {}))
    vae = build_vae(config, codec.sizes)
    if not (path / WEIGHTS).is_file():
        raise UserError(f"{path} holds no weights yet: train it with `seqvae train --resume {path}`")
    read_weights(vae, path / WEIGHTS)
    vae = vae.to(device).eval()
    check_golden(path, config, vae, codec)
    return Run(path, config, vae, codec, card)


def read_card(path: Path) -> dict[str, Any]:
    """Read config.json of a run.

    Raises:
        UserError: the folder is not a run, or a newer seqvae wrote it.
    """
    try:
        card: dict[str, Any] = json.loads((path / "config.json").read_text(encoding="utf-8"))
        version = int(card["format_version"])
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is not a run folder: it has no config.json") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path / 'config.json'} was not written by seqvae: give the folder of a run"
        ) from None
    if version > FORMAT:
        raise UserError(f"{path} has format {version}, this seqvae reads up to {FORMAT}: update seqvae")
    if missing := {"run", "progress", "selected"} - card.keys():
        raise UserError(f"{path / 'config.json'} lacks {', '.join(sorted(missing))}: restore the file")
    return card


def ignored_changes(path: Path, config: RunConfig) -> list[str]:
    """One line per value of config.yaml that differs from config.json, which alone counts."""
    file = path / "config.yaml"
    if not file.is_file():
        return []
    try:
        written = parse_config(read_yaml(file), where=str(file)).model_dump(by_alias=True)
    except UserError as error:
        return [f"{error}; the run goes on by config.json"]
    kept = flat(config.model_dump(by_alias=True))
    found = flat(written)
    return [
        f"{file} has {key} {found.get(key)!r}, the run goes on with {kept.get(key)!r}: a config is fixed "
        "when a run begins; train a new run to change it"
        for key in dict.fromkeys([*kept, *found])
        if kept.get(key) != found.get(key)
    ]


def flat(values: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested values to {`a.b` or `a.0`: value}; an empty block counts as a value."""
    inner = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    found = {
        k: v for key, value in inner for k, v in flat(value, f"{path}.{key}" if path else str(key)).items()
    }
    return found or {path: values}


def load_parts(vae: VAE, codec: Processor, source: str | Path, parts: list[str]) -> None:
    """Load the weights of the named parts from a finished run, as in AE pre-training (Li et al. 2019).

    Raises:
        UserError: not a run, a part of another shape, or an encoder or decoder whose vocabulary differs from
            that of `codec`, the new run's.
    """
    given = load_run(source)  # builds all parts: a file of tied weights holds each of them once
    words = given.codec.vocabulary, codec.vocabulary
    if None not in words and words[0] != words[1] and {"encoder", "decoder"} & set(parts):
        raise UserError(
            f"init: {source} has another vocabulary, its weights would mean other words here: take its own, "
            f"tokenizer={{name: file, path: {source}}}"
        )
    for part in parts:
        try:
            getattr(vae, part).load_state_dict(getattr(given.vae, part).state_dict(), strict=True)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"init: {part} of {source} does not fit this config ({reason})") from None


def save_checkpoint(
    path: Path,
    vae: nn.Module,
    objective: nn.Module,
    optimizers: dict[str, Any],
    progress: TrainState,
    keep: int,
) -> Path:
    """Write checkpoints/step-N atomically, then delete all but the newest `keep`.

    Raises:
        UserError: the disk is full; the last good checkpoint is kept, and named in the message.
    """
    target = path / "checkpoints" / f"step-{progress.step}"
    with explain_disk_errors(path), atomic_folder(target) as work:
        write_weights(vae, work / WEIGHTS)
        _save_states(objective.state_dict(), work / "objective.pt")
        _save_states(optimizers, work / "optimizers.pt")
        files = {f.name: sha256_of(f) for f in sorted(work.iterdir())}
        state = {"format_version": FORMAT, "progress": asdict(progress), "sha256": files}
        state["sha256_of_progress"] = _digest_of(state["progress"])
        (work / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
    for old in list_checkpoints(path)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_checkpoint(folder: Path, vae: nn.Module, objective: nn.Module) -> tuple[dict[str, Any], TrainState]:
    """Load weights and the objective's state in place; return the optimizers' states and the progress.

    Raises:
        UserError: a file of it is missing, truncated or changed.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        for name, known in state["sha256"].items():
            if sha256_of(folder / name) != known:
                raise UserError(f"{folder / name} is damaged: remove {folder} to go on from the one before")
        known = state.get(
            "sha256_of_progress", _digest_of(state["progress"])
        )  # checkpoints of older versions have none
        if known != _digest_of(state["progress"]) or not state.keys() <= _STATE_KEYS:
            raise UserError(
                f"{folder / 'state.json'} is damaged: remove {folder} to go on from the one before"
            )
        progress = TrainState(**state["progress"])
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder} is not a whole checkpoint ({error}): remove it") from None
    read_weights(vae, folder / WEIGHTS)
    objective.load_state_dict(_load_states(folder / "objective.pt"))
    return _load_states(folder / "optimizers.pt"), progress


def _digest_of(progress: Any) -> str:
    """The sha256 of the progress, by which a changed state.json is detected."""
    return hashlib.sha256(json.dumps(progress, sort_keys=True).encode()).hexdigest()


def _save_states(states: dict[str, Any], file: Path) -> None:
    """Save with every tensor copied to the CPU: loads on any device, and no shared storage is saved twice."""
    with file.open("wb") as content:  # given a path, torch hides why the disk refused
        torch.save(own_copies(states), content)


def _load_states(file: Path) -> dict[str, Any]:
    """Load tensors and plain values; a pickle that would run code is refused."""
    try:
        states: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{file} holds more than tensors, or is damaged ({reason}): remove it") from None
    return states
