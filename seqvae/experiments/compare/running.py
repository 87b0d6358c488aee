"""One run of a comparison: trained, gone on with or passed over, then measured, each measurement kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seqvae.build import modality_of
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.errors import UserError
from seqvae.experiments.compare.measuring import Measurement, evaluations_at_rates, measurements
from seqvae.experiments.compare.schema import Comparison, RunSpec
from seqvae.inference import load
from seqvae.runs.checkpoint import TrainState, read_card
from seqvae.training.loop import resume, train
from seqvae.utils.atomic_files import explain_disk_errors, write_atomically
from seqvae.utils.data_paths import with_absolute_paths
from seqvae.utils.device import pick_device
from seqvae.utils.jobs.scheduler import Slot
from seqvae.utils.reporter import Reporter


def execute_run(entry: RunSpec, comparison: Comparison, place: Slot, report: Reporter) -> None:
    """Train and measure whatever of a run is not done yet.

    Raises:
        UserError: it cannot be trained or measured.
        Interrupted: a signal came; what is done is saved.
    """
    entry = _placed(entry, place)
    ensure_trained(entry, report)
    _measure(entry, measurements(comparison, entry.variant, entry.seed), report)
    _measure(entry, [each for each, _ in evaluations_at_rates(entry, comparison).values()], report)


def read_result(entry: RunSpec, comparison: Comparison) -> dict[str, Any] | None:
    """All numbers of a run, those of its training too; None as long as one measurement is missing."""
    wanted = measurements(comparison, entry.variant, entry.seed)
    files = [measurement.file(entry.path) for measurement in wanted]
    if not is_finished(entry.path) or not all(file.is_file() for file in files):
        return None
    result: dict[str, Any] = {"variant": entry.variant, "seed": entry.seed, "run": str(entry.path)}
    for file in files:
        result |= json.loads(file.read_text("utf-8"))
    return result | _training_numbers(entry)


def read_results(entry: RunSpec, comparison: Comparison) -> list[dict[str, Any]]:
    """The numbers of each row that a run has in the table: its own, or one at each of its variant's rates.

    Nothing as long as one measurement is missing.
    """
    result, rates = read_result(entry, comparison), evaluations_at_rates(entry, comparison)
    if result is None or not rates:
        return [] if result is None else [result]
    files = [measurement.file(entry.path) for measurement, _ in rates.values()]
    if not all(file.is_file() for file in files):
        return []
    shared = {key: result[key] for key in result if key in ("seed", "run") or key.startswith("train_")}
    return [
        {"variant": row, "dial": entry.variant, "nats": nats, **shared, **json.loads(file.read_text("utf-8"))}
        for (row, (_, nats)), file in zip(rates.items(), files, strict=True)
    ]


def is_finished(run: Path) -> bool:
    """Whether a folder holds a run that was trained to its end."""
    if not (run / "config.json").is_file():
        return False
    return TrainState(**read_card(run)["progress"]).finished


def require_same_config(entry: RunSpec) -> None:
    """Refuse a folder in which something else was trained.

    Raises:
        UserError: the run there has another config; where it computes makes no difference.
    """
    if not (entry.path / "config.json").is_file():
        return
    there = parse_config(read_card(entry.path)["run"], where=str(entry.path / "config.json"), saved=True)
    if _placeless(there) != _placeless(entry.config):
        raise UserError(f"{entry.path} holds a run of another config: remove it, or choose another --out")


def available_slots(devices: Sequence[str], workers: int) -> list[Slot]:
    """A process a device, or `workers` of them where each config says; none where one run goes at a time.

    Raises:
        UserError: both are asked for, or a device is not there.
    """
    if devices and workers > 1:
        raise UserError(f"got --devices {','.join(devices)} and --workers {workers}: give one of them")
    for name in devices:
        pick_device(name)
    names: list[str | None] = list(devices) or ([None] * workers if workers > 1 else [])
    return [Slot(name, max(1, torch.get_num_threads() // len(names))) for name in names]


def _placed(entry: RunSpec, place: Slot) -> RunSpec:
    """The entry with its device, and this process made ready for it."""
    if place.threads:
        torch.set_num_threads(place.threads)
    if place.device is None:
        return entry
    device = pick_device(place.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # so that the config need not hold a number
    moved = entry.config.train.model_copy(update={"device": device.type})
    return replace(entry, config=entry.config.model_copy(update={"train": moved}))


def _placeless(config: RunConfig) -> dict[str, Any]:
    values = with_absolute_paths(config).model_dump()
    values["train"] |= {"device": None, "threads": None}
    if config.init:
        values["init"]["run"] = str(Path(config.init.run).absolute())
    same: dict[str, Any] = json.loads(json.dumps(values))  # a card's keys are text, YAML's may be numbers
    return same


def ensure_trained(entry: RunSpec, report: Reporter) -> None:
    """Train, resume or pass over a run.

    Raises:
        UserError: it cannot be trained, or its folder holds a run of another config.
        Interrupted: a signal came; what is done is saved.
    """
    require_same_config(entry)
    if not (entry.path / "config.json").is_file():
        train(entry.config, entry.path, report)
    elif not is_finished(entry.path):
        resume(entry.path, report)


def _measure(entry: RunSpec, wanted: Sequence[Measurement], report: Reporter) -> None:
    """Make what is missing; the model is loaded only for that."""
    missing = [measurement for measurement in wanted if not measurement.file(entry.path).is_file()]
    if not missing:
        return
    vae = load(entry.path, entry.config.train.device)
    for measurement in missing:
        _keep(measurement.file(entry.path), measurement.measure(entry, vae, report))


def _keep(file: Path, numbers: dict[str, Any]) -> None:
    with explain_disk_errors(file.parent.parent):
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, lambda p: p.write_text(json.dumps(numbers), "utf-8"))


def _training_numbers(entry: RunSpec) -> dict[str, Any]:
    """What the training took."""
    progress = read_card(entry.path)["progress"]
    unit = modality_of(entry.config).unit
    speed = progress["tokens"] / max(1e-9, progress["seconds"])
    minutes = progress["seconds"] / 60
    return {"train_minutes": minutes, f"train_{unit}_per_s": speed, "train_steps": progress["step"]}
