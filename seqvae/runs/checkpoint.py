"""Checkpoints of a training, written atomically and read safely (no pickled code is run).

checkpoints/step-N/ in a run folder holds weights, the states of objective and optimizers, and the progress.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from seqvae._deprecated import renamed_names
from seqvae.errors import UserError
from seqvae.runs.weights import WEIGHTS, own_copies, read_weights, write_weights
from seqvae.utils.atomic_files import atomic_folder, explain_disk_errors, list_checkpoints, sha256_of

FORMAT = 1
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


if not TYPE_CHECKING:  # with a module `__getattr__` type checkers accept any name
    __getattr__ = renamed_names(__name__)
