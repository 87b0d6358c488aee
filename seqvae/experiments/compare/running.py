"""Execution of one run of a comparison: train or resume it, then measure and store the numbers."""

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
from seqvae.runs.checkpoint import TrainState
from seqvae.runs.run_folder import read_card
from seqvae.training.loop import resume, train
from seqvae.utils.atomic_files import explain_disk_errors, write_atomically
from seqvae.utils.data_paths import with_absolute_paths
from seqvae.utils.device import pick_device
from seqvae.utils.jobs.scheduler import Slot
from seqvae.utils.reporter import Reporter


def execute_run(entry: RunSpec, comparison: Comparison, place: Slot, report: Reporter) -> None:
    """Train and measure the parts of a run that are not done yet.

    Raises:
        UserError: it cannot be trained or measured.
        Interrupted: a signal arrived; progress is saved.
    """
    entry = _assign_slot(entry, place)
    ensure_trained(entry, report)
    _measure(entry, measurements(comparison, entry.variant, entry.seed), report)
    _measure(entry, [each for each, _ in evaluations_at_rates(entry, comparison).values()], report)


def read_result(entry: RunSpec, comparison: Comparison) -> dict[str, Any] | None:
    """All numbers of a run, including training speed; None while a measurement is missing."""
    wanted = measurements(comparison, entry.variant, entry.seed)
    files = [measurement.file(entry.path) for measurement in wanted]
    if not is_finished(entry.path) or not all(file.is_file() for file in files):
        return None
    result: dict[str, Any] = {"variant": entry.variant, "seed": entry.seed, "run": str(entry.path)}
    for file in files:
        result |= json.loads(file.read_text("utf-8"))
    return result | _training_numbers(entry)


def read_results(entry: RunSpec, comparison: Comparison) -> list[dict[str, Any]]:
    """The rows of a run in the table: one, or one per rate of its variant.

    Empty while a measurement is missing.
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
    """Whether a folder holds a finished run."""
    if not (run / "config.json").is_file():
        return False
    return TrainState(**read_card(run)["progress"]).finished


def require_same_config(entry: RunSpec) -> None:
    """Reject a folder that holds a run of another config.

    Raises:
        UserError: the configs differ in more than the device and the number of threads.
    """
    if not (entry.path / "config.json").is_file():
        return
    there = parse_config(read_card(entry.path)["run"], where=str(entry.path / "config.json"), saved=True)
    if _without_device(there) != _without_device(entry.config):
        raise UserError(f"{entry.path} holds a run of another config: remove it, or choose another --out")


def available_slots(devices: Sequence[str], workers: int) -> list[Slot]:
    """One slot per device, or `workers` slots on the configs' own devices; none to run serially in-process.

    Raises:
        UserError: both are given, or a device does not exist.
    """
    if devices and workers > 1:
        raise UserError(f"got --devices {','.join(devices)} and --workers {workers}: give one of them")
    for name in devices:
        pick_device(name)
    names: list[str | None] = list(devices) or ([None] * workers if workers > 1 else [])
    return [Slot(name, max(1, torch.get_num_threads() // len(names))) for name in names]


def _assign_slot(entry: RunSpec, place: Slot) -> RunSpec:
    """Set up this process for a slot; returns the entry with the slot's device."""
    if place.threads:
        torch.set_num_threads(place.threads)
    if place.device is None:
        return entry
    device = pick_device(place.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # so that the config says `cuda`, not the index of this machine
    moved = entry.config.train.model_copy(update={"device": device.type})
    return replace(entry, config=entry.config.model_copy(update={"train": moved}))


def _without_device(config: RunConfig) -> dict[str, Any]:
    values = with_absolute_paths(config).model_dump()
    values["train"] |= {"device": None, "threads": None}
    if config.init:
        values["init"]["run"] = str(Path(config.init.run).absolute())
    same: dict[str, Any] = json.loads(json.dumps(values))  # JSON keys are strings, YAML's may be numbers
    return same


def ensure_trained(entry: RunSpec, report: Reporter) -> None:
    """Train a run or resume it, unless it is finished.

    Raises:
        UserError: it cannot be trained, or its folder holds a run of another config.
        Interrupted: a signal arrived; progress is saved.
    """
    require_same_config(entry)
    if not (entry.path / "config.json").is_file():
        train(entry.config, entry.path, report)
    elif not is_finished(entry.path):
        resume(entry.path, report)


def _measure(entry: RunSpec, wanted: Sequence[Measurement], report: Reporter) -> None:
    """Make the missing measurements; the model is loaded only if there are any."""
    missing = [measurement for measurement in wanted if not measurement.file(entry.path).is_file()]
    if not missing:
        return
    vae = load(entry.path, entry.config.train.device)
    for measurement in missing:
        _write_numbers(measurement.file(entry.path), measurement.measure(entry, vae, report))


def _write_numbers(file: Path, numbers: dict[str, Any]) -> None:
    with explain_disk_errors(file.parent.parent):
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, lambda p: p.write_text(json.dumps(numbers), "utf-8"))


def _training_numbers(entry: RunSpec) -> dict[str, Any]:
    """Duration, speed and number of steps of the training."""
    progress = read_card(entry.path)["progress"]
    unit = modality_of(entry.config).unit
    speed = progress["tokens"] / max(1e-9, progress["seconds"])
    minutes = progress["seconds"] / 60
    return {"train_minutes": minutes, f"train_{unit}_per_s": speed, "train_steps": progress["step"]}
