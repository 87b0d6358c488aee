"""What travels: batches into a model, outputs and losses out of it.

Shapes: S samples, B examples, T tokens, C x H x W a picture, D latent dims, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from seqvae.numerics import KeyedNoise

if TYPE_CHECKING:
    from seqvae.interfaces import Likelihood, Posterior, PriorDistribution


@dataclass(frozen=True)
class SpecialIds:
    """The tokenizer's ids of padding, unknown word, start and end; never constants of ours."""

    pad: int
    unk: int
    bos: int
    eos: int


class MovableBatch:
    """A frozen dataclass whose tensors move together."""

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


@dataclass(frozen=True)
class TextBatch(MovableBatch):
    """Sentences padded on the right.

    `source` (B, Ts) is what the encoder reads: the sentence and `</s>`. `inputs` (B, T) is what the
    decoder reads: `<s>` and the sentence. `targets` (B, T) is what it predicts: the sentence and `</s>`.
    Remedies may change what is read, never the targets.
    """

    source: Tensor
    source_lengths: Tensor  # (B,) counts </s>
    inputs: Tensor
    targets: Tensor
    lengths: Tensor  # (B,) predicted tokens: the sentence and </s>
    special: SpecialIds
    index: Tensor  # (B,) the example's place in its corpus
    labels: Tensor  # (B, L), NaN where a label is missing
    random: KeyedNoise  # the noise of these examples at this step
    condition: Tensor | None = None  # (B, C) what is asked of the latent; by default its own

    @property
    def size(self) -> int:
        """B."""
        return len(self.lengths)

    @property
    def num_targets(self) -> int:
        """What is counted when speed is told, and a loss `a unit`: predicted tokens."""
        return int(self.lengths.sum())

    @property
    def target_counts(self) -> Tensor:
        """(B,): how many units each example has."""
        return self.lengths

    @property
    def decoder_positions(self) -> int:
        """How much an example costs the decoder, in tokens: T."""
        return self.targets.shape[1]

    @property
    def mask(self) -> Tensor:
        """(B, T), true where a token is predicted."""
        places = torch.arange(self.targets.shape[1], device=self.targets.device)
        return places < self.lengths[:, None]

    @property
    def source_mask(self) -> Tensor:
        """(B, Ts), true where the encoder reads a token."""
        places = torch.arange(self.source.shape[1], device=self.source.device)
        return places < self.source_lengths[:, None]

    def rounded_up(self, multiple: int) -> TextBatch:
        """The same sentences, padded to a length that is a multiple: a GPU then meets few shapes."""
        names = ("source", "inputs", "targets")
        widths = {name: -getattr(self, name).shape[1] % multiple for name in names}
        return self.replace(
            **{
                name: pad(getattr(self, name), (0, width), value=self.special.pad)
                for name, width in widths.items()
            }
        )

    def replace(self, **values: Any) -> TextBatch:
        """A copy with some fields replaced."""
        return replace(self, **values)


@dataclass(frozen=True)
class ImageBatch(MovableBatch):
    """Pictures of values in [0, 1]: what the encoder reads, and what the decoder is scored on.

    Remedies may change `source`, never `targets`. Binarised pictures hold 0 and 1.
    """

    source: Tensor  # (B, C, H, W)
    targets: Tensor  # (B, C, H, W)
    index: Tensor  # (B,) the example's place in its data set
    labels: Tensor  # (B, L), NaN where a label is missing
    random: KeyedNoise  # the noise of these examples at this step
    condition: Tensor | None = None  # (B, C) what is asked of the latent; by default its own

    @property
    def size(self) -> int:
        """B."""
        return len(self.index)

    @property
    def num_targets(self) -> int:
        """What is counted when speed is told, and a loss `a unit`: pictures."""
        return self.size

    @property
    def target_counts(self) -> Tensor:
        """(B,): how many units each example has: one."""
        return torch.ones_like(self.index)

    @property
    def decoder_positions(self) -> int:
        """How much an example costs the decoder, in tokens: about 128 pixels each."""
        return max(1, self.targets[0].numel() // 128)

    def rounded_up(self, multiple: int) -> ImageBatch:
        """The batch itself: all pictures have one size."""
        return self

    def replace(self, **values: Any) -> ImageBatch:
        """A copy with some fields replaced."""
        return replace(self, **values)


@dataclass(frozen=True)
class VAEOutput:
    """One walk of a batch through encoder, latent and decoder."""

    q: Posterior
    p: PriorDistribution
    z: Tensor  # (S, B, D)
    kl: Tensor  # (S, B, D) or (S, B, 1), nats
    likelihood: Likelihood
    log_px_z: Tensor  # (S, B) nats

    @property
    def rate(self) -> Tensor:
        """(B,): KL(q(z|x) || p(z)) in nats, averaged over samples."""
        return self.kl.sum(-1).mean(0)

    @property
    def distortion(self) -> Tensor:
        """(B,): -E_q log p(x|z) in nats."""
        return -self.log_px_z.mean(0)

    @property
    def log_weights(self) -> Tensor:
        """(S, B): log p(x|z) + log p(z) - log q(z|x), the importance weights of each sample."""
        return self.log_px_z + self.p.log_prob(self.z) - self.q.log_prob(self.z)


@dataclass(frozen=True)
class Loss:
    """What the optimizer minimises (`total`) and what the log tells.

    `rate` and `distortion` are those of the plain ELBO, whatever the remedies made of the total.
    """

    total: Tensor
    rate: Tensor  # () nats a sentence
    distortion: Tensor  # () nats a sentence
    kl_per_dim: Tensor  # (D,) or (1,)
    beta: Tensor | float
    terms: Mapping[str, Tensor] = field(default_factory=dict)  # what `extra` added, already weighted
    adversary: Tensor | float = 0.0  # the second players' loss, on detached input

    def detach(self) -> Loss:
        """The same numbers, without gradients."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {k: v.detach() if isinstance(v, Tensor) else v for k, v in kept.items()}
        return Loss(**kept | {"terms": {name: term.detach() for name, term in self.terms.items()}})


def mean_loss(parts: Sequence[Loss], shares: Sequence[float]) -> Loss:
    """The loss of an update from those of its parts; `shares` of the examples add up to 1."""

    def mean(values: Iterable[Any]) -> Any:
        return sum(value * share for value, share in zip(values, shares, strict=True))

    terms = {name: mean(part.terms[name] for part in parts) for name in parts[0].terms}
    names = ("total", "rate", "distortion", "kl_per_dim", "beta", "adversary")
    return Loss(**{name: mean(getattr(part, name) for part in parts) for name in names}, terms=terms)
