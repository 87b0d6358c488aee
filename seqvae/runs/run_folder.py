"""The files of a run folder: its config and what was selected, written atomically, and a run loaded for use.

config.yaml              the resolved config
config.json              the same for programs: format, sizes, the config, what was selected
model.safetensors        the selected weights, with their own hash in them
tokenizer.json, tokenizer_config.json (text)
modules.json             the class by which sentence-transformers reads the run (text)
golden.json              outputs of a model with pretrained weights for three sentences, compared at loading
base/PART/               these pretrained weights, in a run exported with --whole
metrics.jsonl            one line per logged step or validation
checkpoints/step-N/      weights, optimizer, objective and step, to resume from: `seqvae.runs.checkpoint`
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from seqvae.build import build_vae, modality_of
from seqvae.config.loading import dump_config, parse_config
from seqvae.config.schema import RunConfig
from seqvae.config.yaml_files import read_yaml
from seqvae.errors import UserError
from seqvae.interfaces import Processor
from seqvae.models.pretrained.golden import base_facts, check_golden, with_bases
from seqvae.models.vae import VAE
from seqvae.runs.checkpoint import FORMAT, TrainState
from seqvae.runs.modules_file import automatic_classes, write_modules
from seqvae.runs.weights import WEIGHTS, read_weights
from seqvae.utils.atomic_files import (
    NO_PLACE,
    explain_disk_errors,
    write_atomically,
)

TRAINED = "trained"  # name of the prior of the training
Splits = Mapping[str, Mapping[str, str]]  # per split: hashes of its examples and of each label column


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
    with _explain_place(path):  # a name that is too long
        if path.is_symlink() and not path.exists():
            raise UserError(
                f"{path} is a link to {os.readlink(path)}, which is not there: choose another --out"
            )
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise UserError(
                f"{path} exists: choose another --out, or go on with it by `seqvae train --resume {path}`"
            )
        home = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
            reason = "may not be written to" if home.is_dir() else "is a file"
            raise UserError(f"{path} cannot be made, {home} {reason}: choose another --out")


@contextmanager
def _explain_place(path: Path) -> Iterator[None]:
    """Turn the error of a path where no folder can be, as under /proc, into one line.

    Raises:
        UserError: instead of the OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        reason = os.strerror(error.errno).lower()
        raise UserError(f"{str(path)[:80]} cannot be made ({reason}): choose another --out") from None


def create_run(
    path: Path, config: RunConfig, codec: Processor, data: str = "", splits: Splits | None = None
) -> None:
    """Create the run folder with its config and its processor (a text run's tokenizer).

    Raises:
        UserError: the folder is not empty, or the disk is full.
    """
    require_empty(path)
    with explain_disk_errors(path):
        with _explain_place(path):
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
