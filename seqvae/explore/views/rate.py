"""One example from gist to copy: its reconstruction at a rate."""

from __future__ import annotations

from typing import Any

from seqvae.errors import UserError
from seqvae.evaluation.rate_sweep import resolve_rates
from seqvae.explore.items import png_address, show_example
from seqvae.explore.requests import RateRequest
from seqvae.explore.session import Explorer
from seqvae.explore.snippets import as_python
from seqvae.inference import TextVAE


def rate(explorer: Explorer, request: RateRequest) -> dict[str, Any]:
    """The reconstruction at a rate in nats.

    Raises:
        UserError: the run serves one rate only, the rate lies outside its range, or the place is no example.
    """
    vae, place = explorer.vae, request.place
    resolve_rates(vae.vae.latent, [request.nats])
    if place.text is None and place.index is None:
        raise UserError("a rate needs an example: pick a point of the map, or type a sentence")
    if place.text is not None:
        explorer.resolve(place)  # refuses runs that read no texts
    given: Any = place.text
    if given is None:
        given = explorer.example(_checked(explorer, place.index))
    answer: dict[str, Any] = {
        "nats": request.nats,
        "read": explorer.describe(place),
        "python": _python(explorer, request),
    }
    if isinstance(vae, TextVAE):
        back = vae.reconstruct([given], rate=request.nats)[0]
        return {**answer, "original": back.text, "text": back.reconstruction, "exact": back.exact}
    picture = explorer.pictures.reconstruct(given[None], rate=request.nats)[0]
    return {**answer, "image": png_address(picture), "example": show_example(explorer, int(place.index or 0))}


def _checked(explorer: Explorer, index: int | None) -> int:
    if index is None or index >= explorer.points.n:
        raise UserError(f"example {index} does not exist: the map shows {explorer.points.n:,}, from 0")
    return index


def _python(explorer: Explorer, request: RateRequest) -> str:
    if request.place.text is not None:
        return as_python(
            explorer,
            [request.place],
            f"print(vae.reconstruct([{request.place.text!r}], rate={request.nats!r})[0])",
        )
    i = request.place.index or 0
    return as_python(
        explorer, [request.place], f"print(vae.reconstruct(data[{i} : {i + 1}], rate={request.nats!r})[0])"
    )
