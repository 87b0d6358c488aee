"""The figures of `seqvae bench`: each with what the products of the same work, run alone, would allow."""

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
GPU_UPDATES = 20  # that one timing counts: the host prepares the next one while the GPU works


def bench(
    preset: str = "reference",
    overrides: Iterable[str] = (),
    budget: float = 3.0,
    cold: bool = True,
    use: bool = True,
) -> dict[str, Any]:
    """`FIGURES` and more as a JSON-able dict; each timing takes about `budget` seconds.

    Tokens are real ones: no padding is counted. A `..._limit_ratio` is the time of the work's products
    alone, at their own shapes and precision and timed in turn with it, over the time of the work. A
    `..._floor_ratio` counts with them one pass over the gates between two steps of a recurrence. A preset
    for images has `train_pictures_per_s` instead and nothing for sentences. Without `use` only training is
    timed.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    with preset_trainer(preset, overrides) as trainer:
        found = {"preset": preset, **_where(trainer), **_measure(trainer, budget, use)}
        cold = cold and trainer.unit == "tokens"
        return found | {"cold_start_s": time_cold_starts(trainer) if cold else None}


def profile(presets: Iterable[str], overrides: Iterable[str] = (), budget: float = 3.0) -> dict[str, Any]:
    """Of each preset `train_tokens_per_s` and the `step_ms` of an update's parts.

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
    peak = round(peak_mb(device), 1)  # before the limit takes memory of its own
    found = _training(made, budget) | {"peak_mb": peak}
    found["step_ms"] = _pieces(made, budget)
    trainer.step_module.eval()
    return found | (_use(made, budget) if use and made.is_text else {})


def _training(made: Workload, budget: float) -> dict[str, Any]:
    """The update of a typical batch with the making of one, and its products."""
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
    """Milliseconds of an update and of its parts, and the least that the optimizer's bytes can take.

    `rest` is what the parts do not account for: the latent, the KL, the objective, and what tables that all
    parts want at once cost a cache. The parts are called one by one, the update as training runs it.
    """
    pieces = made.pieces()
    times = time_in_turns({"whole": made.update, **pieces}, made.trainer.device, 2 * budget)
    times["rest"] = max(0.0, times["whole"] - sum(times[name] for name in pieces))
    numbers = sum(p.numel() for p in made.trainer.step_module.parameters())
    times["optimizer_limit"] = ADAM_PASSES * 4 * numbers / measure_bandwidth(made.trainer.device)
    return {name: round(1000 * took, 3) for name, took in times.items()}


def _use(made: Workload, budget: float) -> dict[str, Any]:
    """What a trained model is used for, one row each: what is counted, the work, and what it must compute.

    `beam_cost` is greedy tokens/s over those of a beam, of as many sentences; `iw_speedup` is the time of a
    loop over samples, each a whole pass with the encoder, over ours.
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
    """What one piece of work makes per second, and the ratios to what its products alone take."""
    work()
    limit = Limit(record(plain), device)
    times = time_in_turns({"work": work, **limit.works}, device, budget)
    least = limit.of(times)
    ratios = _ratios(name.partition("_")[0], times["work"], least.limit, least.floor)
    return {name: round(count / times["work"]), **ratios}


def format_table(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Rows for people: what, how much, and the share of its limit."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", f"{number:,}", "") for part, number in value.items())
        elif not name.endswith(("_limit_ratio", "_floor_ratio")) and value is not None:
            ratio = found.get(name.partition("_")[0] + "_limit_ratio")
            shown = f"{value:,}" if isinstance(value, int | float) else str(value)
            yield name, shown, f"{100 * ratio:.0f} %" if ratio is not None and _has_limit(name) else ""


def _has_limit(name: str) -> bool:
    """Whether a figure is what its ratio is of: others with the same first word are made of it."""
    rest = name.partition("_")[2]
    derived = rest.startswith(("limit", "loop")) or name == "decode_sentences_per_s"
    return rest.endswith("_per_s") and not derived
