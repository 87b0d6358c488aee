"""What batches of every modality share: their tensors move to a device together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from seqvae._deprecated import warn_renamed
from seqvae.keyed_noise import KeyedNoise


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

    def pinned(self) -> Self:
        """The same batch in page-locked memory, from which a GPU copies while the host goes on."""
        return self._map(lambda v: v.pin_memory() if isinstance(v, Tensor) else v)

    def own_copy(self, device: torch.device, step: Tensor) -> Self:
        """A copy on `device` that shares no memory with anything, whose noise takes `step` () from there."""

        def copied(v: Any) -> Any:
            if isinstance(v, KeyedNoise):
                return replace(v, index=v.index.to(device, copy=True), step=step)
            return v.to(device, copy=True) if isinstance(v, Tensor) else v

        return self._map(copied)

    def fill(self, other: Self) -> None:
        """Copy the tensors of another batch of the same shapes into this one's; copies do not block."""
        for mine, given in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(given, non_blocking=True)
