"""What a page may ask for, with the limits of each value.

Shapes: D latent dims.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seqvae.models.sampling import Path
from seqvae.models.text.decoding import TOP_P

LONGEST = 10_000  # characters of a text
Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Number = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=200)]


class Request(BaseModel):
    """A request; a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class Empty(Request):
    """Nothing to choose."""


class Place(Request):
    """A code: that of an evaluation example, of a text, of a prior draw, or itself; one of the four."""

    index: Index | None = None
    text: Text | None = None
    draw: Seed | None = None
    z: Annotated[list[Number], Field(max_length=4096)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Place:
        given = [name for name in ("index", "text", "draw", "z") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"got {', '.join(given) or 'nothing'}: give one of index, text, draw and z")
        return self


class EmbeddingRequest(Request):
    """Places of all examples on the plane."""

    embedding: Literal["pca", "tsne"] = "pca"


class ExampleRequest(Request):
    """One evaluation example and its reconstruction."""

    place: Place


class WalkRequest(Request):
    """A path between two codes, and how many points of it."""

    a: Place
    b: Place
    path: Path = "linear"
    steps: Annotated[int, Field(ge=2, le=65)] = 9


class Move(Request):
    """One attribute moved: a label of the data, one kind of it, or the difference of two groups of texts."""

    label: Annotated[str, Field(max_length=200)] | None = None
    kind: Annotated[str, Field(max_length=200)] | None = None
    towards: Texts | None = None
    away: Texts | None = None
    strength: Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)] = 0.0
    keep: bool = False

    @model_validator(mode="after")
    def _one(self) -> Move:
        if (self.label is None) == (self.towards is None) or (self.towards is None) != (self.away is None):
            raise ValueError("give a label, or two groups of texts, `towards` and `away`")
        return self


class EditRequest(Request):
    """A code with dims set and attributes moved; words and attributes may be kept."""

    base: Place
    dims: dict[Index, Number] = Field(default_factory=dict, max_length=4096)
    moves: Annotated[list[Move], Field(max_length=24)] = Field(default_factory=list)
    keep_words: Annotated[list[Text], Field(max_length=4)] = Field(default_factory=list)


class RateRequest(Request):
    """The reconstruction of an example at one rate."""

    place: Place
    nats: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)]


class SampleRequest(Request):
    """Draws from a prior."""

    n: Annotated[int, Field(ge=1, le=60)] = 12
    seed: Seed = 0
    prior: Annotated[str, Field(max_length=200)] = ""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = TOP_P
    greedy: bool = False
