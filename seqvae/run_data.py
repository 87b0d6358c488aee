"""The data of a finished run: read again, and compared with what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqvae.build import wing_of
from seqvae.checkpoint import Run
from seqvae.data_paths import missing_source, moved_to
from seqvae.interfaces import Data
from seqvae.notices import say_once
from seqvae.registry import UserError

MEND = "name the corpus as it was with --corpus PATH, or measure a file as it is now with --data FILE"


def load_run_data(run: Run, *used: str) -> Any:
    """The data of a run, of which the splits `used` hold what they held in training.

    Raises:
        UserError: the files are not there any more, cannot be read, or hold other examples or labels now.
    """
    if (gone := missing_source(run.config.data)) is not None:
        raise UserError(
            f"{run.path} was trained on {gone}, which is not there: name where it lies now with --corpus PATH"
        )
    data: Any = wing_of(run.config).load_data(run.config, run.codec)
    for name in used:
        check_split(run.path, run.card, data, name)
    return data


def check_split(path: Path, card: Mapping[str, Any], data: Data, name: str) -> None:
    """Refuse a split that holds something else than in training; of an older run, which keeps less, say so.

    Raises:
        UserError: such a split.
    """
    if "splits" not in card:
        _check_older(path, card, data)
        return
    known = card["splits"].get(name)
    if name not in data.splits or known is None:
        return  # whoever asks for a split that is not there says so
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
    """The run, whose corpus lies at `place` now: a file, or the folder of its files.

    Raises:
        UserError: nothing is there, or the run was trained on embedded data.
    """
    config = run.config.model_copy(update={"data": moved_to(run.config.data, place)})
    return replace(run, config=config)
