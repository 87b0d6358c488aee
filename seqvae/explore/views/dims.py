"""A code whose dims are set and whose attributes are moved, with words and attributes that are kept.

Shapes: D latent dims.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.explore.attributes import find_direction, list_attributes, without_kept
from seqvae.explore.items import score_texts, show_codes
from seqvae.explore.keep import decode_with_words
from seqvae.explore.requests import EditRequest, Empty
from seqvae.explore.session import Explorer, rounded
from seqvae.explore.snippets import as_python
from seqvae.inference import TextVAE
from seqvae.inference.directions import Direction
from seqvae.models.latent_directions import rank_dims_by_kl


def attributes(explorer: Explorer, _: Empty) -> dict[str, Any]:
    """The dims by the nats they carry, with the range of their codes, and the attributes of the labels."""
    points = explorer.points
    spread, centre = points.mean.std(0), points.mean.mean(0)
    dims = [
        {
            "dim": int(dim),
            "kl": rounded(float(points.kl_per_dim[dim]), 4),
            "mean": rounded(float(centre[dim]), 4),
            "sd": rounded(float(spread[dim]), 4),
        }
        for dim in rank_dims_by_kl(points.kl_per_dim)
    ]
    return {"dims": dims, "attributes": list_attributes(points)}


def edit(explorer: Explorer, request: EditRequest) -> dict[str, Any]:
    """What the edited code decodes to, beside the base."""
    base = explorer.resolve(request.base)
    found = [find_direction(explorer, move) for move in request.moves]
    z = edited_code(base, request, found)
    if request.keep_words and not isinstance(explorer.vae, TextVAE):
        raise UserError("words can be kept in runs of text only")
    original, shown = show_codes(explorer, torch.stack([base, z]))
    if request.keep_words and isinstance(explorer.vae, TextVAE):
        text = decode_with_words(explorer.vae, z, request.keep_words)
        shown = {"text": text, **score_texts(explorer.vae, [text])[0]}
    return {
        "z": [rounded(v) for v in z.tolist()],
        "base": [rounded(v) for v in base.tolist()],
        "xy": explorer.place_on_map(torch.stack([base, z])),
        "read": explorer.describe(request.base),
        "decoded": shown,
        "original": original,
        "moves": [_tested(each) for each in found],
        "python": _python(explorer, request, z),
    }


def _tested(direction: Direction) -> dict[str, Any]:
    """How surely held-out examples show a direction; no accuracy where none could be held out."""
    accuracy, error = (x if x is None else rounded(x, 3) for x in (direction.accuracy, direction.error))
    return {"accuracy": accuracy, "error": error, "n": direction.examples}


def edited_code(base: Tensor, request: EditRequest, found: list[Direction]) -> Tensor:
    """(D,): the base with its dims set and its attributes moved.

    What would change the score of a kept attribute is left out; its own slider moves it all the same.

    Raises:
        UserError: a dim that does not exist.
    """
    z = base.clone()
    for dim, value in request.dims.items():
        if dim >= len(z):
            raise UserError(f"no dim {dim}: the code has {len(z)}, numbered from 0")
        z[dim] = value
    pairs = list(zip(request.moves, found, strict=True))
    kept = [direction.weight for move, direction in pairs if move.keep]
    free = sum((move.strength * each.step for move, each in pairs if not move.keep), torch.zeros_like(z))
    own = sum((move.strength * each.step for move, each in pairs if move.keep), torch.zeros_like(z))
    return base + without_kept(z - base + free, kept) + own


def _python(explorer: Explorer, request: EditRequest, z: Tensor) -> str:
    """Lines that decode the edited code itself: how it was made stands beside as a comment."""
    made = [f"# dim {dim} set to {value:g}" for dim, value in request.dims.items()]
    for move in request.moves:
        if move.strength or move.keep:
            name = "two groups of texts" if move.label is None else move.label
            name += f" = {move.kind}" if move.kind else ""
            made.append(f"# {name!r} {'kept' if move.keep else f'moved by {move.strength:g}'}")
    lines = [*made, f"z = torch.tensor([{[rounded(v) for v in z.tolist()]!r}])"]
    if request.keep_words:
        return as_python(
            explorer, [request.base], *lines, f"print(decode_with_words(vae, z[0], {request.keep_words!r}))"
        )
    return as_python(explorer, [request.base], *lines, "print(vae.decode(z))")
