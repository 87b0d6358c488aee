"""The Python lines that reproduce what a page shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqvae.explore.requests import Place
from seqvae.explore.session import Explorer

NAMES = {  # what the lines use, and where it is
    "decode_with_words": "seqvae.explore.keep",
    "interpolate_codes": "seqvae.models.sampling",
    "sample_prior": "seqvae.models.sampling",
    "GenerationConfig": "seqvae.models.text.decoding",
}


def as_python(explorer: Explorer, places: Sequence[Place], *lines: str) -> str:
    """Lines that load the run, make the codes z (N, D) of some places, and then do `lines`."""
    head = ["import torch", "", "from seqvae.inference import load", *_imports(places, lines), ""]
    head += [f"vae = {_load(explorer)}"]
    codes = [_code(place) for place in places]
    if not codes:
        return "\n".join([*head, *lines]) + "\n"
    made = codes[0] if len(codes) == 1 else "torch.cat([\n    " + ",\n    ".join(codes) + ",\n])"
    return "\n".join([*head, *_given(explorer, places), f"z = {made}", *lines]) + "\n"


def _imports(places: Sequence[Place], lines: Sequence[str]) -> list[str]:
    code = "\n".join([*lines, *(_code(place) for place in places)])
    reads = ["from seqvae.inference.inputs import load_inputs"] if "data[" in code else []
    return reads + [f"from {module} import {name}" for name, module in NAMES.items() if name in code]


def _load(explorer: Explorer) -> str:
    """How the run is loaded, with the prior, the rate and the labels that were fixed."""
    vae: Any = explorer.vae
    prior = "" if explorer.prior is None else f", prior={explorer.prior!r}"
    loaded = f"load({str(vae.run.path)!r}{prior})"
    loaded += "" if explorer.rate is None else f".with_rate({explorer.rate!r})"
    labels = vae.vae.labels
    if labels is not None and labels.fixed:
        pairs = zip(labels.specs, labels.fixed, strict=True)
        fixed = {spec.name: spec.decode(value) for spec, value in pairs}
        loaded += f".with_condition({fixed!r})"
    return loaded


def _given(explorer: Explorer, places: Sequence[Place]) -> list[str]:
    if all(place.index is None for place in places):
        return []
    return [f"data = load_inputs(vae, {explorer.data!r}).x"]


def _code(place: Place) -> str:
    if place.text is not None:
        return f"vae.encode([{place.text!r}])"
    if place.draw is not None:
        return f"sample_prior(vae.vae, 1, {place.draw})"
    if place.index is not None:
        return f"vae.encode(data[{place.index} : {place.index + 1}])"
    return f"torch.tensor([{place.z!r}])"
