"""Load the data of a finished run again and check that the splits are those of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqvae.build import modality_of
from seqvae.errors import UserError
from seqvae.interfaces import Data
from seqvae.runs.run_folder import Run
from seqvae.utils.data_paths import missing_source, moved_to
from seqvae.utils.notices import say_once

MEND = "name the corpus as it was with --corpus PATH, or measure a file as it is now with --data FILE"


def load_run_data(run: Run, *used: str) -> Any:
    """Load the data of a run and check that the splits `used` are unchanged since training.

    Raises:
        UserError: the files are missing, cannot be read, or hold other examples or labels than in training.
    """
    if (gone := missing_source(run.config.data)) is not None:
        raise UserError(
            f"{run.path} was trained on {gone}, which is not there: give its new path with --corpus PATH"
        )
    data: Any = modality_of(run.config).load_data(run.config, run.codec)
    for name in used:
        check_split(run.path, run.card, data, name)
    return data


def check_split(path: Path, card: Mapping[str, Any], data: Data, name: str) -> None:
    """Reject a split that differs from that of training; an older run, which stores less, only warns.

    Raises:
        UserError: the split's examples or labels differ.
    """
    if "splits" not in card:
        _check_older(path, card, data)
        return
    known = card["splits"].get(name)
    if name not in data.splits or known is None:
        return  # a missing split is reported by the code that reads it
    found = data.split_fingerprint(name)
    if changed := [key for key in known.keys() & found.keys() if known[key] != found[key]]:
        what = "other examples" if "examples" in changed else f"another {', '.join(sorted(changed))}"
        raise UserError(f"the {name} split of {path} holds {what} now, its source has changed: {MEND}")


def _check_older(path: Path, card: Mapping[str, Any], data: Data) -> None:
    if card.get("data", data.fingerprint) != data.fingerprint:
        say_once(
            path,
            "changed data",
            f"the data of {path} may have changed since it was trained, so that its splits may hold what it "
            f"learned from: {MEND}",
        )


def with_corpus(run: Run, place: str) -> Run:
    """A copy of the run whose corpus is read from `place`: a file, or the folder of its files.

    Raises:
        UserError: nothing is there, or the run was trained on embedded data.
    """
    config = run.config.model_copy(update={"data": moved_to(run.config.data, place)})
    return replace(run, config=config)
