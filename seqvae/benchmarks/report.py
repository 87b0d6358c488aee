"""The figures of `seqvae bench`: each with what the products of the same work, run alone, would allow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from seqvae.benchmarks.clock import clock_name, measure_bandwidth, peak_mb, reset_peak, time_in_turns
from seqvae.benchmarks.cold_start import time_cold_starts
from seqvae.benchmarks.presets import overrides_by_preset, preset_trainer
from seqvae.benchmarks.roofline import count_flops, record_products, replay_products
from seqvae.benchmarks.workloads import BEAM, SAMPLES, SENTENCES, WORDS, Workload, make_workload
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
PIECES = ("data", "encoder", "decoder", "output", "optimizer")
ADAM_PASSES = 7  # reads weight, gradient and two moments; writes weight and moments


def bench(preset: str = "reference", overrides: Iterable[str] = (), budget: float = 3.0,
          cold: bool = True) -> dict[str, Any]:  # fmt: skip
    """`FIGURES` and more as a JSON-able dict; each timing takes about `budget` seconds.

    Tokens are real ones: no padding is counted. A `..._limit_ratio` is the time of the work's matrix
    products alone, at their own shapes and precision and timed in turn with it, over the time of the work.

    Raises:
        UserError: no such preset, or a config that cannot be built.
    """
    with preset_trainer(preset, overrides) as trainer:
        found = {"preset": preset, **_where(trainer), **_measure(trainer, budget)}
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
        found[preset] = {"train_tokens_per_s": speed, "step_ms": pieces}
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


def _measure(trainer: Trainer, budget: float) -> dict[str, Any]:
    made, device = make_workload(trainer), trainer.device
    made.update()
    reset_peak(device)
    found = _training(made, budget)
    found["peak_mb"] = round(peak_mb(device), 1)
    found["step_ms"] = _pieces(made, budget)
    trainer.step_module.eval()
    return found | _use(made, budget)


def _training(made: Workload, budget: float) -> dict[str, Any]:
    """The update of a typical batch with the making of one, and its products."""
    products, device, data = record_products(made.update), made.trainer.device, made.pieces()["data"]

    def step() -> None:
        data()
        made.update()

    times = time_in_turns({"step": step, "limit": replay_products(products, device)}, device, 2 * budget)
    speed, limit = made.batch.num_targets / times["step"], made.batch.num_targets / times["limit"]
    return {
        "train_tokens_per_s": round(speed),
        "train_limit_ratio": round(speed / limit, 3),
        "train_limit_tokens_per_s": round(limit),
        "limit_gflops_per_s": round(count_flops(products) / times["limit"] / 1e9, 1),
    }


def _pieces(made: Workload, budget: float) -> dict[str, float]:
    """Milliseconds of an update and of its parts, and the least that the optimizer's bytes can take.

    `rest` is what the parts do not account for: the latent, the KL, the objective, and what tables that all
    parts want at once cost a cache.
    """
    pieces = made.pieces()

    def whole() -> None:
        pieces["data"]()
        made.update()

    times = time_in_turns({"whole": whole, **pieces}, made.trainer.device, 2 * budget)
    times["rest"] = max(0.0, times["whole"] - sum(times[name] for name in PIECES))
    numbers = sum(p.numel() for p in made.trainer.step_module.parameters())
    times["optimizer_limit"] = ADAM_PASSES * 4 * numbers / measure_bandwidth(made.trainer.device)
    return {name: round(1000 * took, 3) for name, took in times.items()}


def _use(made: Workload, budget: float) -> dict[str, Any]:
    """What a trained model is used for, a row each: what is counted, and the work.

    `beam_cost` is greedy tokens/s over those of a beam, of as many sentences; `iw_speedup` is the time of a
    loop over samples, each a whole pass with the encoder, over ours.
    """
    tokens, words = made.batch.num_targets * SAMPLES, SENTENCES * WORDS
    rows: dict[str, tuple[int, Callable[[], object]]] = {
        "decode_tokens_per_s": (words, made.write),
        "beam5_tokens_per_s": (words, lambda: made.write(beam=BEAM)),
        "encode_sentences_per_s": (made.batch.size, made.encode),
        "iw_token_samples_per_s": (tokens, made.importance),
    }
    found: dict[str, Any] = {}
    for name, (count, work) in rows.items():
        found |= _measure_figure(name, count, work, made.trainer.device, budget)
    loop = time_in_turns({"loop": made.importance_by_loop}, made.trainer.device, budget / 2)["loop"]
    found["decode_sentences_per_s"] = round(found["decode_tokens_per_s"] / WORDS)
    found["beam_cost"] = round(found["decode_tokens_per_s"] / found["beam5_tokens_per_s"], 2)
    found["iw_loop_token_samples_per_s"] = round(tokens / loop)
    found["iw_speedup"] = round(found["iw_token_samples_per_s"] * loop / tokens, 2)
    return found


def _measure_figure(
    name: str, count: int, work: Callable[[], object], device: torch.device, budget: float
) -> Any:
    work()
    times = time_in_turns(
        {"work": work, "limit": replay_products(record_products(work), device)}, device, budget
    )
    ratio = name.partition("_")[0] + "_limit_ratio"
    return {name: round(count / times["work"]), ratio: round(times["limit"] / times["work"], 3)}


def format_table(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Rows for people: what, how much, and the share of its limit."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", f"{number:,}", "") for part, number in value.items())
        elif not name.endswith("_limit_ratio") and value is not None:
            ratio = found.get(name.partition("_")[0] + "_limit_ratio") if name.endswith("_per_s") else None
            first = ratio is not None and name in (*FIGURES, "beam5_tokens_per_s")
            shown = f"{value:,}" if isinstance(value, int | float) else str(value)
            yield name, shown, f"{100 * float(ratio or 0):.0f} %" if first else ""
