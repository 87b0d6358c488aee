"""The batch protocol that every modality implements, and a dataclass mixin that moves all tensors at once.

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
    """A batch of examples of one modality, as latents, priors, objectives and the training loop see it."""

    @property
    def source(self) -> Any:
        """The encoder's input for the B examples."""
        ...

    @property
    def targets(self) -> Tensor:
        """(B, ...): what log p(x|z) is evaluated on; no remedy changes it."""
        ...

    @property
    def index(self) -> Tensor:
        """(B,) int64: the position of each example in its data set, the key of its noise."""
        ...

    @property
    def labels(self) -> Tensor:
        """(B, L) label values, NaN where a label is missing."""
        ...

    @property
    def random(self) -> KeyedNoise:
        """The random numbers of these examples at this step."""
        ...

    @property
    def condition(self) -> Tensor | None:
        """(B, C): the condition requested of the latent, such as a rate; None means its default."""
        ...

    @property
    def size(self) -> int:
        """B, the number of examples."""
        ...

    @property
    def num_targets(self) -> int:
        """Number of predicted tokens, or of images: the unit of throughput and of losses per target."""
        ...

    @property
    def target_counts(self) -> Tensor:
        """(B,): number of targets per example."""
        ...

    @property
    def decoder_positions(self) -> int:
        """Cost of an example in the decoder, in tokens; evaluation sizes its chunks of samples by it."""
        ...

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of all tensors: a captured update accepts any batch with the same shapes."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same batch on `device`."""
        ...

    def replace(self, **values: Any) -> Self:
        """A copy with some fields replaced."""
        ...

    def pad_to_multiple(self, multiple: int) -> Self:
        """The same examples, padded to a multiple of positions where the modality has a length."""
        ...

    def pin_memory(self) -> Self:
        """The same batch in page-locked host memory."""
        ...

    def clone_to(self, device: torch.device, step: Tensor) -> Self:
        """A copy on `device` whose noise reads the step from the tensor `step` ()."""
        ...

    def copy_(self, other: Self) -> None:
        """Copy the tensors of `other`, of the same shapes, into those of this batch."""
        ...


# classes that read batches are generic in the batch type: a text encoder is an Encoder[TextBatch]
BatchT = TypeVar("BatchT", bound=Batch, default=Any)
ReadBatchT = TypeVar("ReadBatchT", bound=Batch, default=Any, contravariant=True)


class MovableBatch:
    """Mixin for frozen dataclasses of tensors: copy, pin or move all of them at once.

    By default each example is one target, as an image is.
    """

    index: Tensor  # (B,)

    @property
    def size(self) -> int:
        """B, the number of examples."""
        return len(self.index)

    @property
    def num_targets(self) -> int:
        """Number of predicted targets."""
        return self.size

    @property
    def target_counts(self) -> Tensor:
        """(B,): number of targets per example."""
        return torch.ones_like(self.index)

    def replace(self, **values: Any) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **values)  # type: ignore[type-var]

    def changed(self, **values: Any) -> Self:
        """Deprecated name of `replace`."""
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
        """All tensors of the batch in a fixed order, except the step of the noise where that is a tensor."""
        values = [getattr(self, f.name) for f in fields(self)]  # type: ignore[arg-type]
        return [
            v.index if isinstance(v, KeyedNoise) else v for v in values if isinstance(v, Tensor | KeyedNoise)
        ]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of all tensors; `copy_` needs them to be equal."""
        return tuple(tuple(x.shape) for x in self.tensors())

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory, from which copies to a GPU run asynchronously."""
        return self._map(lambda v: v.pin_memory() if isinstance(v, Tensor) else v)

    def clone_to(self, device: torch.device, step: Tensor) -> Self:
        """A copy on `device` that owns all of its memory; its noise reads the step from the tensor `step` ().

        A CUDA graph reads these tensors at every replay, so nothing else may write to them.
        """

        def copy_value(v: Any) -> Any:
            if isinstance(v, KeyedNoise):
                return replace(v, index=v.index.to(device, copy=True), step=step)
            return v.to(device, copy=True) if isinstance(v, Tensor) else v

        return self._map(copy_value)

    def pad_to_multiple(self, multiple: int) -> Self:
        """The batch itself: by default all examples have the same size."""
        return self

    def copy_(self, other: Self) -> None:
        """Copy the tensors of `other`, of the same shapes, into those of this batch, without blocking."""
        for mine, given in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(given, non_blocking=True)
