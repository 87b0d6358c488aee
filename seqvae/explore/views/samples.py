"""Draws from the prior or a fitted one: what they decode to, and the training examples nearest to them."""

from __future__ import annotations

from typing import Any

import torch

from seqvae.evaluation.metrics.holes import aggregate_log_density
from seqvae.explore.items import png_address, sampled, show_codes
from seqvae.explore.jobs import Pending
from seqvae.explore.requests import SampleRequest
from seqvae.explore.session import Explorer, Training, rounded
from seqvae.explore.snippets import as_python
from seqvae.inference import TextVAE

NEAREST = 3


def samples(explorer: Explorer, request: SampleRequest) -> dict[str, Any]:
    """Samples with their places on the map, whether they copy a training text, and their neighbours."""
    how = sampled(explorer, request.temperature, request.top_p, request.greedy)
    z = explorer.draw_prior(request.n, request.seed, request.prior)
    found = explorer.holes
    shown = show_codes(explorer, z, how, request.seed)
    answer: dict[str, Any] = {"samples": shown, "xy": explorer.place_on_map(z)}
    try:
        answer["searched"] = _compare(explorer, explorer.training, shown, z)
    except Pending as pending:  # samples are shown at once, their neighbours later
        answer["pending"] = pending.job.progress
    if found is not None:
        density = aggregate_log_density(explorer.points.posteriors, z)
        for row, inside in zip(shown, (density < found.holes.threshold).tolist(), strict=True):
            row["hole"] = inside
    return {**answer, "python": _python(explorer, request)}


def _compare(explorer: Explorer, training: Training, shown: list[dict[str, Any]], z: torch.Tensor) -> int:
    """Add to each sample its neighbours and whether it is a copy; among how many examples they were found."""
    for row, near in zip(shown, _neighbours(training, z), strict=True):
        row["near"] = [_training_example(explorer, training, i, distance) for i, distance in near]
        if explorer.is_text:
            row["copied"] = row["text"] in training.known
    return len(training.codes)


def _neighbours(training: Training, z: torch.Tensor) -> list[list[tuple[int, float]]]:
    """The nearest training codes of each code, with their distances."""
    found = torch.cdist(z, training.codes).topk(min(NEAREST, len(training.codes)), largest=False)
    rows = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return [list(zip(places, distances, strict=True)) for places, distances in rows]


def _training_example(explorer: Explorer, training: Training, i: int, distance: float) -> dict[str, Any]:
    example = training.inputs.x[i]
    shown = {"text": example} if explorer.is_text else {"image": png_address(example)}
    return {**shown, "distance": rounded(distance, 3)}


def _python(explorer: Explorer, request: SampleRequest) -> str:
    vae = explorer.vae
    prior = f".with_prior({request.prior!r})" if request.prior else ""
    lines = [f"vae = vae{prior}"] if prior else []
    lines.append(f"z = sample_prior(vae.vae, {request.n}, {request.seed})")
    if not isinstance(vae, TextVAE):
        return as_python(explorer, [], *lines, "pictures = vae.decode(z)")
    top_p = None if request.top_p >= 1 else request.top_p
    how = f"GenerationConfig(greedy={request.greedy}, temperature={request.temperature!r}, top_p={top_p!r}, "
    how += f"max_length={vae.config.data.max_tokens})"
    lines += [f"how = {how}", f"print(*vae.decode(z, how, {request.seed}), sep='\\n')"]
    return as_python(explorer, [], *lines)
