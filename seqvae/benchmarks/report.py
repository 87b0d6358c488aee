"""The figures of `seqvae bench`, each with the limit set by the matrix products of the same work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from seqvae.benchmarks.clock import clock_name, measure_bandwidth, peak_mb, reset_peak, time_in_turns
from seqvae.benchmarks.cold_start import time_cold_starts
from seqvae.benchmarks.presets import overrides_by_preset, preset_trainer
from seqvae.benchmarks.roofline import Limit, record
from seqvae.benchmarks.workloads import BEAM, MANY, SAMPLES, SENTENCES, WORDS, Workload, make_workload
from seqvae.training.trainer import Trainer

FIGURES = (
    "train_tokens_per_s",
    "train_limit_ratio",
    "decode_tokens_per_s",
    "encode_sentences_per_s",
    "iw_token_samples_per_s",
    "peak_mb",
    "precision",
    "device",
)
ADAM_PASSES = 7  # reads weight, gradient and two moments; writes weight and moments
GPU_UPDATES = 20  # updates per timing: the host prepares the next one while the GPU works


def bench(
    preset: str = "reference",
    overrides: Iterable[str] = (),
    budget: float = 3.0,
    cold: bool = True,
    use: bool = True,
) -> dict[str, Any]:
    """Measure `FIGURES` and more, as a dict of JSON values; each timing takes about `budget` seconds.

    Padding tokens are not counted. A `..._limit_ratio` is the time of the work's matrix products
    alone, at their own shapes and precision and timed in turn with it, over the time of the work. A
    `..._floor_ratio` adds one pass over the gates between two steps of a recurrence. A preset
    for images has `train_pictures_per_s` instead and no text figures. Without `use` only training is
    timed.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    with preset_trainer(preset, overrides) as trainer:
        found = {"preset": preset, **_where(trainer), **_measure(trainer, budget, use)}
        cold = cold and trainer.unit == "tokens"
        return found | {"cold_start_s": time_cold_starts(trainer) if cold else None}


def profile(presets: Iterable[str], overrides: Iterable[str] = (), budget: float = 3.0) -> dict[str, Any]:
    """`train_tokens_per_s` and `step_ms`, the times of an update's parts, for each preset.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    found = {}
    for preset, own in overrides_by_preset(presets, overrides).items():
        with preset_trainer(preset, own) as trainer:
            made = make_workload(trainer)
            pieces = _pieces(made, budget)
        speed = round(made.batch.num_targets / pieces["whole"] * 1000)
        found[preset] = {f"train_{trainer.unit}_per_s": speed, "step_ms": pieces}
    return found


def _where(trainer: Trainer) -> dict[str, Any]:
    gpu = trainer.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(trainer.device) if gpu else "cpu",
        "threads": torch.get_num_threads(),
        "clock": clock_name(trainer.device),
        "precision": trainer.precision,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in trainer.step_module.parameters()),
    }


def _measure(trainer: Trainer, budget: float, use: bool) -> dict[str, Any]:
    made, device = make_workload(trainer), trainer.device
    made.update()
    reset_peak(device)
    for _ in range(3):
        made.update()
    peak = round(peak_mb(device), 1)  # before the limit allocates memory
    found = _training(made, budget) | {"peak_mb": peak}
    found["step_ms"] = _pieces(made, budget)
    trainer.step_module.eval()
    return found | (_use(made, budget) if use and made.is_text else {})


def _training(made: Workload, budget: float) -> dict[str, Any]:
    """Training speed, including the preparation of batches, and its limit."""
    device, unit = made.trainer.device, made.trainer.unit
    recorded = record(made.plain_update)
    limit, times_each = Limit(recorded, device), GPU_UPDATES if device.type == "cuda" else 1

    def updates() -> None:
        for _ in range(times_each):
            made.update()

    times = time_in_turns({"updates": updates, **limit.works}, device, 2 * budget)
    took, least = times["updates"] / times_each, limit.of(times)
    return {
        f"train_{unit}_per_s": round(made.batch.num_targets / took),
        **_ratios("train", took, least.limit, least.floor),
        f"train_limit_{unit}_per_s": round(made.batch.num_targets / least.limit),
        "train_limit_ms": least.milliseconds(),
        "limit_gflops_per_s": round(recorded.flops / least.limit / 1e9, 1),
    }


def _ratios(name: str, took: float, limit: float, floor: float) -> dict[str, float]:
    return {
        f"{name}_limit_ratio": round(limit / took, 3),
        f"{name}_floor_ratio": round(floor / took, 3),
    }


def _pieces(made: Workload, budget: float) -> dict[str, float]:
    """Milliseconds of an update and of its parts, and the optimizer's limit by memory bandwidth.

    `rest` is the remainder: latent, KL, objective, and cache misses because all parts compete for the cache.
    The parts are called one by one, the update as in training.
    """
    pieces = made.pieces()
    times = time_in_turns({"whole": made.update, **pieces}, made.trainer.device, 2 * budget)
    times["rest"] = max(0.0, times["whole"] - sum(times[name] for name in pieces))
    numbers = sum(p.numel() for p in made.trainer.step_module.parameters())
    times["optimizer_limit"] = ADAM_PASSES * 4 * numbers / measure_bandwidth(made.trainer.device)
    return {name: round(1000 * took, 3) for name, took in times.items()}


def _use(made: Workload, budget: float) -> dict[str, Any]:
    """Speeds of decoding, encoding and likelihoods, and their limits.

    `beam_cost` is greedy tokens/s over beam tokens/s for as many sentences; `iw_speedup` is the time of a
    loop over samples, each with its own encoder pass, over ours.
    """
    tokens, words = made.batch.num_targets * SAMPLES, SENTENCES * WORDS
    rows: dict[str, tuple[int, Callable[[], object], Callable[[], object]]] = {
        "decode_tokens_per_s": (words, made.write, made.plain_write),
        "decode2048_tokens_per_s": (
            MANY * WORDS,
            lambda: made.write(MANY),
            lambda: made.plain_write(MANY),
        ),
        "beam5_tokens_per_s": (words, lambda: made.write(beam=BEAM), lambda: made.plain_write(beam=BEAM)),
        "encode_sentences_per_s": (made.batch.size, made.encode, made.encode),
        "iw_token_samples_per_s": (tokens, made.importance, made.importance),
    }
    found: dict[str, Any] = {}
    for name, (count, work, plain) in rows.items():
        found |= _measure_figure(name, count, work, plain, made.trainer.device, budget)
    loop = time_in_turns({"loop": made.importance_by_loop}, made.trainer.device, budget / 2)["loop"]
    found["decode_sentences_per_s"] = round(found["decode_tokens_per_s"] / WORDS)
    found["beam_cost"] = round(found["decode_tokens_per_s"] / found["beam5_tokens_per_s"], 2)
    found["iw_loop_token_samples_per_s"] = round(tokens / loop)
    found["iw_speedup"] = round(found["iw_token_samples_per_s"] * loop / tokens, 2)
    return found


def _measure_figure(
    name: str,
    count: int,
    work: Callable[[], object],
    plain: Callable[[], object],
    device: torch.device,
    budget: float,
) -> dict[str, float]:
    """Units per second of one workload, and the ratios to its limits."""
    work()
    limit = Limit(record(plain), device)
    times = time_in_turns({"work": work, **limit.works}, device, budget)
    least = limit.of(times)
    ratios = _ratios(name.partition("_")[0], times["work"], least.limit, least.floor)
    return {name: round(count / times["work"]), **ratios}


def format_table(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Table rows: figure, value, and percentage of its limit."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", f"{number:,}", "") for part, number in value.items())
        elif not name.endswith(("_limit_ratio", "_floor_ratio")) and value is not None:
            ratio = found.get(name.partition("_")[0] + "_limit_ratio")
            shown = f"{value:,}" if isinstance(value, int | float) else str(value)
            yield name, shown, f"{100 * ratio:.0f} %" if ratio is not None and _has_limit(name) else ""


def _has_limit(name: str) -> bool:
    """Whether a ratio belongs to this figure; others with the same first word are derived from it."""
    rest = name.partition("_")[2]
    derived = rest.startswith(("limit", "loop")) or name == "decode_sentences_per_s"
    return rest.endswith("_per_s") and not derived
