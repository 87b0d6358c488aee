"""What batches of every modality have in common, and how their tensors move to a device together.

Shapes: B examples, L labels, C conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from typing_extensions import TypeVar

from seqvae._deprecated import warn_renamed
from seqvae.keyed_noise import KeyedNoise


class Batch(Protocol):
    """Examples of one modality: all that latents, priors, objectives and the training loop know of them."""

    @property
    def source(self) -> Any:
        """What the encoder reads of the B examples."""
        ...

    @property
    def targets(self) -> Tensor:
        """(B, ...): what the decoder is scored on; no remedy changes it."""
        ...

    @property
    def index(self) -> Tensor:
        """(B,) int64: each example's place in its data, which keys its noise."""
        ...

    @property
    def labels(self) -> Tensor:
        """(B, L), NaN where a label is missing."""
        ...

    @property
    def random(self) -> KeyedNoise:
        """The noise of these examples at this step."""
        ...

    @property
    def condition(self) -> Tensor | None:
        """(B, C): what is asked of the latent, a rate for instance; None takes its default."""
        ...

    @property
    def size(self) -> int:
        """B."""
        ...

    @property
    def num_targets(self) -> int:
        """Predicted tokens, or images: what throughput and losses per target are counted in."""
        ...

    @property
    def target_counts(self) -> Tensor:
        """(B,): how many targets each example has."""
        ...

    @property
    def decoder_positions(self) -> int:
        """What an example costs the decoder, in tokens."""
        ...

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Sizes of all tensors: two batches with the same ones can take each other's place."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device."""
        ...

    def replace(self, **values: Any) -> Self:
        """A copy with some fields replaced."""
        ...

    def pad_to_multiple(self, multiple: int) -> Self:
        """The same examples, padded to a multiple of places where they have any."""
        ...

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory."""
        ...

    def clone_to(self, device: torch.device, step: Tensor) -> Self:
        """A copy on `device` whose noise takes `step` () from there."""
        ...

    def copy_(self, other: Self) -> None:
        """Copy the tensors of another batch of the same shapes into this one's."""
        ...


# what reads batches is generic in their type: a text encoder is an Encoder[TextBatch]
BatchT = TypeVar("BatchT", bound=Batch, default=Any)
ReadBatchT = TypeVar("ReadBatchT", bound=Batch, default=Any, contravariant=True)


class MovableBatch:
    """A frozen dataclass whose tensors move together."""

    def changed(self, **values: Any) -> Self:
        """The old name of `replace`."""
        warn_renamed(f"{type(self).__name__}.changed", "replace")
        return replace(self, **values)  # type: ignore[type-var]

    def _map(self, change: Callable[[Any], Any]) -> Self:
        values = {f.name: change(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(**values)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on `device`; copies from pinned memory do not block."""
        movable = (Tensor, KeyedNoise)
        return self._map(lambda v: v.to(device, non_blocking=True) if isinstance(v, movable) else v)

    def tensors(self) -> list[Tensor]:
        """All tensors of the batch in a fixed order; where the noise's step is one, it is not among them."""
        values = [getattr(self, f.name) for f in fields(self)]  # type: ignore[arg-type]
        return [
            v.index if isinstance(v, KeyedNoise) else v for v in values if isinstance(v, Tensor | KeyedNoise)
        ]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """What two batches have in common if one fits into the tensors of the other."""
        return tuple(tuple(x.shape) for x in self.tensors())

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, from which a GPU copies while the host goes on."""
        return self._map(lambda v: v.pin_memory() if isinstance(v, Tensor) else v)

    def clone_to(self, device: torch.device, step: Tensor) -> Self:
        """A copy on `device` that shares no memory with anything, whose noise takes `step` () from there."""

        def copied(v: Any) -> Any:
            if isinstance(v, KeyedNoise):
                return replace(v, index=v.index.to(device, copy=True), step=step)
            return v.to(device, copy=True) if isinstance(v, Tensor) else v

        return self._map(copied)

    def pad_to_multiple(self, multiple: int) -> Self:
        """The batch itself: its examples all have one size."""
        return self

    def copy_(self, other: Self) -> None:
        """Copy the tensors of another batch of the same shapes into this one's; copies do not block."""
        for mine, given in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(given, non_blocking=True)
