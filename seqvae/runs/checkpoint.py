"""The run folder on disk: what is in it, how it is written whole or not at all, how it is read safely.

config.yaml              the resolved config
config.json              the same for programs: format, sizes, the config, what was selected
model.safetensors        the selected weights, with their own hash in them
tokenizer.json, tokenizer_config.json (text)
modules.json             the class by which sentence-transformers reads the run (text)
golden.json              what a model on pretrained weights made of three sentences, compared at loading
base/PART/               these weights themselves, where a run was exported whole
metrics.jsonl            one line a logged step or validation
checkpoints/step-N/      weights, optimizer, objective and step, to go on from
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
    explain_disk_errors,
    flush_folder,
    list_checkpoints,
    sha256_of,
    write_atomically,
)

FORMAT = 1
TRAINED = "trained"  # the prior of the training
Splits = Mapping[str, Mapping[str, str]]  # of each split, hashes of its examples and of each label
_STATE_KEYS = {"format_version", "progress", "sha256", "sha256_of_progress"}


@dataclass
class TrainState:
    """Where a training stands; saved with every checkpoint."""

    step: int = 0
    inner: int = 0  # updates of the encoder alone, which no schedule counts
    best: float | None = None  # the selected measure, lower is better
    best_step: int | None = None
    worse: int = 0  # validations since the best one
    lr_factor: float = 1.0  # of the plateau rule
    collapsed: bool = False  # the code, at the last validation after the schedules had settled
    seconds: float = 0.0
    tokens: int = 0  # or pictures
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
    prior: str | None = None  # that somebody chose: fitted to the run, or TRAINED


def require_empty(path: Path) -> None:
    """Refuse a folder with something in it, or a place where none can be made.

    Raises:
        UserError: something is there already, nothing is overwritten; or nothing may be written there.
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
    """Make the folder with config and codec in it.

    Raises:
        UserError: something is there already, or the disk is full.
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
    """Write config.json: all that is needed to build the model again, and what its weights are.

    `data` is the fingerprint of the training data, by which a resumed run knows that they are the same;
    `splits` are the hashes of each split, by which everybody does who uses one later.
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


def update_card(path: Path, **told: Any) -> None:
    """Say more in config.json than training does: what was measured or chosen afterwards."""
    _write_json(path, {**read_card(path), **told})


def _write_json(path: Path, card: dict[str, Any]) -> None:
    """config.json; what UTF-8 cannot hold, half a surrogate pair, is escaped."""
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    with suppress(UnicodeEncodeError), explain_disk_errors(path):
        write_atomically(path / "config.json", lambda p: p.write_text(text, encoding="utf-8"))
        return
    escaped = json.dumps(card, indent=2) + "\n"
    with explain_disk_errors(path):
        write_atomically(path / "config.json", lambda p: p.write_text(escaped, encoding="utf-8"))


def load_run(source: str | Path, device: str | torch.device = "cpu") -> Run:
    """A run for use, in evaluation mode.

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
    """config.json of a run.

    Raises:
        UserError: the folder is no run, or a newer seqvae wrote it.
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
    """A line for each value that config.yaml has and the run, which goes by config.json, has not."""
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
    """Nested values by their paths, `a.b` or `a.0`; empty blocks by themselves."""
    inner = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    found = {
        k: v for key, value in inner for k, v in flat(value, f"{path}.{key}" if path else str(key)).items()
    }
    return found or {path: values}


def load_parts(vae: VAE, codec: Processor, source: str | Path, parts: list[str]) -> None:
    """Take the named parts from a finished run, as AE pre-training does (Li et al. 2019).

    Raises:
        UserError: not a run, a part of another shape, or one that reads or writes words by other numbers than
            `codec`, the new run's.
    """
    given = load_run(source)  # built whole: a file of tied weights holds each of them once
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
    """Write checkpoints/step-N whole or not at all, then drop all but the newest `keep`.

    Raises:
        UserError: the disk is full; the last good checkpoint stays and is named.
    """
    target = path / "checkpoints" / f"step-{progress.step}"
    unfinished = target.with_name(f".unfinished-{target.name}")
    with explain_disk_errors(path):
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            write_weights(vae, unfinished / WEIGHTS)
            _save_states(objective.state_dict(), unfinished / "objective.pt")
            _save_states(optimizers, unfinished / "optimizers.pt")
            files = {f.name: sha256_of(f) for f in sorted(unfinished.iterdir())}
            state = {"format_version": FORMAT, "progress": asdict(progress), "sha256": files}
            state["sha256_of_progress"] = _digest_of(state["progress"])
            (unfinished / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
            flush_folder(unfinished)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        shutil.rmtree(target, ignore_errors=True)
        os.replace(unfinished, target)
    for old in list_checkpoints(path)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def load_checkpoint(folder: Path, vae: nn.Module, objective: nn.Module) -> tuple[dict[str, Any], TrainState]:
    """Put weights and remedies back; the optimizers' states and the progress come out.

    Raises:
        UserError: a file of it is missing, truncated or changed.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        for name, known in state["sha256"].items():
            if sha256_of(folder / name) != known:
                raise UserError(f"{folder / name} is damaged: remove {folder} to go on from the one before")
        known = state.get("sha256_of_progress", _digest_of(state["progress"]))  # older ones have none
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
    """A hash of the progress that state.json holds: what is read is what was written."""
    return hashlib.sha256(json.dumps(progress, sort_keys=True).encode()).hexdigest()


def _save_states(states: dict[str, Any], file: Path) -> None:
    """Tensors in host memory, none of them a view: the file is read on any device and holds nothing twice."""
    with file.open("wb") as content:  # given a path, torch hides why the disk refused
        torch.save(own_copies(states), content)


def _load_states(file: Path) -> dict[str, Any]:
    """Tensors and plain values; a pickle that would run code is refused."""
    try:
        states: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{file} holds more than tensors, or is damaged ({reason}): remove it") from None
    return states
