"""The map: places, colours and examples, and the prior draws that lie in holes."""

from __future__ import annotations

import base64
from typing import Any

from torch import Tensor

from seqvae.evaluation.rate_sweep import is_variable_rate, resolve_rates, trained_range
from seqvae.explore.items import sheet_bytes, show_codes, show_example
from seqvae.explore.points import Column
from seqvae.explore.requests import EmbeddingRequest, Empty, ExampleRequest
from seqvae.explore.session import Explorer, rounded
from seqvae.explore.snippets import as_python
from seqvae.inference.posthoc_priors import posthoc_prior_names

MOST_PICTURES = 12_000  # small pictures that a page is given at once
SHEET = 100  # pictures in a row of the sheet


def overview(explorer: Explorer, _: Empty) -> dict[str, Any]:
    """What the run is and what the page can do with it; at once, before anything is measured."""
    vae = explorer.vae
    latent = vae.vae.latent
    rates = None
    if is_variable_rate(latent):
        low, high = trained_range(latent)
        rates = {"low": low, "high": high, "grid": resolve_rates(latent)}
    return {
        "run": vae.run.path.name,
        "modality": vae.modality,
        "dim": vae.latent_dim,
        "latent": vae.run.config.latent.name,
        "reads_texts": explorer.reads_texts,
        "rates": rates,
        "priors": posthoc_prior_names(vae.run.path),
    }


def examples(explorer: Explorer, _: Empty) -> dict[str, Any]:
    """All examples of the map with their colours; pictures come as one sheet."""
    points = explorer.points
    answer: dict[str, Any] = {"where": points.where, "n": points.n}
    answer["columns"] = [_column(column) for column in points.columns.values()]
    answer["kl_per_dim"] = [rounded(kl, 4) for kl in points.kl_per_dim.tolist()]
    if explorer.is_text:
        return {**answer, "texts": points.inputs.x}
    answer["texts"] = [_caption(points.labels, i) for i in range(points.n)]
    if points.n <= MOST_PICTURES:
        sheet = sheet_bytes(points.inputs.x, SHEET)
        _, height, width = points.inputs.x.shape[1:]
        address = "data:image/png;base64," + base64.b64encode(sheet).decode()
        answer["sheet"] = {"address": address, "columns": SHEET, "width": width, "height": height}
    return answer


def _caption(labels: list[Column], i: int) -> str:
    """What the labels say of a picture."""
    said = [f"{column.name} {_shown(column, i)}" for column in labels]
    return ", ".join([f"picture {i}", *said])


def _shown(column: Column, i: int) -> str:
    value = float(column.values[i])
    if value != value:
        return "?"
    return column.names[int(value)] if column.is_kind else f"{value:.4g}"


def _column(column: Column) -> dict[str, Any]:
    values = [None if v != v else rounded(v, 4) for v in column.values.tolist()]
    return {"name": column.name, "unit": column.unit, "names": list(column.names), "values": values}


def embedding(explorer: Explorer, request: EmbeddingRequest) -> dict[str, Any]:
    """The places of all examples on a plane."""
    plane = explorer.embedding(request.embedding)
    where = plane.place(explorer.points.mean)
    answer = {"x": _column_of(where, 0), "y": _column_of(where, 1)}
    if request.embedding == "pca":
        return {**answer, "share": [rounded(v, 3) for v in explorer.principal.share.tolist()]}
    return answer


def _column_of(where: Tensor, column: int) -> list[float]:
    return [rounded(v) for v in where[:, column].tolist()]


def holes(explorer: Explorer, _: Empty) -> dict[str, Any]:
    """The share of prior draws in holes, and where on the plane of principal components these lie."""
    found = explorer.holes
    if found is None:
        return {"share": None}
    where = explorer.principal.place(found.draws)
    inside = found.holes.inside
    return {
        "share": rounded(found.holes.share, 4),
        "draws": len(inside),
        "threshold": rounded(found.holes.threshold),
        "at_codes": rounded(float(found.holes.at_codes.median())),
        "at_draws": rounded(float(found.holes.at_draws.median())),
        "x": _column_of(where, 0),
        "y": _column_of(where, 1),
        "inside": inside.int().tolist(),
    }


def example(explorer: Explorer, request: ExampleRequest) -> dict[str, Any]:
    """A code, what it decodes to, and the example itself where it is one."""
    z = explorer.resolve(request.place)
    answer: dict[str, Any] = {"z": [rounded(v) for v in z.tolist()], "xy": explorer.place_on_map(z[None])}
    answer["decoded"] = show_codes(explorer, z[None])[0]
    if request.place.index is not None:
        answer["example"] = show_example(explorer, request.place.index)
    answer["read"] = explorer.describe(request.place)
    answer["python"] = as_python(explorer, [request.place], "print(vae.decode(z))")
    return answer
