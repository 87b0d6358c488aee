"""What a page asks and what it is answered: one function per view, all in the table `VIEWS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seqvae.explore.requests import (
    EditRequest,
    EmbeddingRequest,
    Empty,
    ExampleRequest,
    RateRequest,
    Request,
    SampleRequest,
    WalkRequest,
)
from seqvae.explore.session import Explorer
from seqvae.explore.views.dims import attributes, edit
from seqvae.explore.views.health import health
from seqvae.explore.views.map import embedding, example, examples, holes, overview
from seqvae.explore.views.rate import rate
from seqvae.explore.views.samples import samples
from seqvae.explore.views.walk import walk

View = Callable[[Explorer, Any], dict[str, Any]]
VIEWS: dict[str, tuple[type[Request], View]] = {
    "overview": (Empty, overview),
    "examples": (Empty, examples),
    "embedding": (EmbeddingRequest, embedding),
    "holes": (Empty, holes),
    "example": (ExampleRequest, example),
    "walk": (WalkRequest, walk),
    "attributes": (Empty, attributes),
    "edit": (EditRequest, edit),
    "rate": (RateRequest, rate),
    "samples": (SampleRequest, samples),
    "health": (Empty, health),
}
__all__ = ["VIEWS", "View"]
