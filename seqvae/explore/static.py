"""The page as a folder that opens from disk: its files, and the answers to all that it can ask."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.evaluation.rate_sweep import is_variable_rate, resolve_rates
from seqvae.explore.app import ASSETS
from seqvae.explore.attributes import list_attributes
from seqvae.explore.jobs import Pending
from seqvae.explore.session import Explorer
from seqvae.explore.views import VIEWS
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latent_directions import rank_dims_by_kl
from seqvae.models.sampling import Path as CodePath
from seqvae.models.text.decoding import TOP_P
from seqvae.utils.atomic_files import explain_disk_errors

EXAMPLES = 8  # ringed points of a static page: all paths between two of them, and edits of each
STEPS = 9  # of a path, as the page asks by default
DIMS, VALUES = 6, range(-3, 4)  # that each example can be edited by
ATTRIBUTES, STRENGTHS = 6, (-2, -1, 1, 2)
SEEDS, SAMPLES = 4, 12
TSNE = {"embedding": "tsne"}
PATHS: tuple[CodePath, ...] = ("linear", "slerp")


@dataclass
class Recorder:
    """Asks the views as the page would, and keeps the answers."""

    explorer: Explorer
    answers: dict[str, Any] = field(default_factory=dict)

    def ask(self, view: str, request: dict[str, Any]) -> Any:
        """The answer of a view once all work behind it is done."""
        model, answer = VIEWS[view]
        key = request_key(view, request)
        while key not in self.answers:
            try:
                found = answer(self.explorer, model.model_validate(request))
            except Pending as pending:
                pending.job.finished.wait()
                continue
            if isinstance(found.get("pending"), dict):
                self.explorer.jobs.wait(found["pending"]["job"])
                continue
            self.answers[key] = found
        return self.answers[key]


def request_key(view: str, request: dict[str, Any]) -> str:
    """The name under which the page looks an answer up; as `keyOf` in core.js writes it.

    Example:
        >>> request_key("rate", {"place": {"index": 3}, "nats": 4.0})
        'rate {"nats":4,"place":{"index":3}}'
    """
    return f"{view} {json.dumps(_plain(request), sort_keys=True, separators=(',', ':'), ensure_ascii=False)}"


def _plain(value: Any) -> Any:
    """Whole floats as JavaScript writes them, 4 and not 4.0."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def write_static(explorer: Explorer, folder: Path, progress: ProgressCallback | None = None) -> Path:
    """Write the page with recorded answers into a new folder; its index.html.

    Raises:
        UserError: the folder holds files already, or the disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty: name a new folder with --static")
    recorder = Recorder(explorer)
    chosen, dims, attributes = _choices(recorder)
    requests = list(_requests(explorer, chosen, dims, attributes))
    for done, (view, request) in enumerate(requests, 1):
        with suppress(*((UserError,) if request == TSNE else ())):  # a page without t-SNE is one too
            recorder.ask(view, request)
        if progress is not None:
            progress(done, len(requests), "answers recorded")
    content = {
        "answers": recorder.answers,
        "examples": chosen,
        "dims": dims,
        "attributes": [f"{one['label']} {one['kind'] or 'null'}" for one in attributes],
        "seeds": SEEDS,
    }
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file in ASSETS.iterdir():
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
        (folder / "data.js").write_text(as_script(content), encoding="utf-8")
    return folder / "index.html"


def as_script(content: Any) -> str:
    """JavaScript that sets the recorded answers; no text in it can end the script or break a line."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return "window.SEQVAE_STATIC = " + text.replace("<", "\\u003c") + ";\n"


def _choices(recorder: Recorder) -> tuple[list[int], list[int], list[dict[str, Any]]]:
    """The ringed examples, the dims and the attributes that can be moved."""
    explorer = recorder.explorer
    recorder.ask("examples", {})
    points = explorer.points
    order = KeyedNoise(explorer.seed, 0, torch.arange(points.n)).uniform("static page").argsort(stable=True)
    dims = rank_dims_by_kl(points.kl_per_dim)[:DIMS].tolist()
    return order[:EXAMPLES].sort().values.tolist(), dims, list_attributes(points)[:ATTRIBUTES]


def _requests(
    explorer: Explorer, chosen: list[int], dims: list[int], attributes: list[dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that the page can ask, as it asks it."""
    # t-SNE first, so that all later answers hold their places on it
    yield "embedding", {}
    yield "embedding", TSNE
    for view in ("overview", "holes", "attributes", "health"):
        yield view, {}
    for a, b in combinations(chosen, 2):
        for first, second in ((a, b), (b, a)):
            for path in PATHS:
                yield "walk", {"a": {"index": first}, "b": {"index": second}, "path": path, "steps": STEPS}
    for index in chosen:
        yield from _edits({"index": index}, dims, attributes)
    latent = explorer.vae.vae.latent
    if is_variable_rate(latent):
        for index in chosen:
            yield from (("rate", {"place": {"index": index}, "nats": r}) for r in resolve_rates(latent))
    for seed in range(SEEDS):
        how = {"temperature": 1, "top_p": TOP_P} if explorer.is_text else {}
        yield "samples", {"n": SAMPLES, "seed": seed, "prior": "", **how}


def _edits(
    base: dict[str, Any], dims: list[int], attributes: list[dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "edit", {"base": base}
    for dim in dims:
        yield from (("edit", {"base": base, "dims": {dim: value}}) for value in VALUES)
    for one in attributes:
        move = {"label": one["label"], **({} if one["kind"] is None else {"kind": one["kind"]})}
        yield from (("edit", {"base": base, "moves": [{**move, "strength": s}]}) for s in STRENGTHS)
