"""The socket of every cure: where it may touch a batch, the KL and the loss, and what it may know of the run.

Shapes: S samples, B examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from torch import Tensor, nn

from seqvae._deprecated import adopt_old_hooks
from seqvae.interfaces.batch import BatchT
from seqvae.interfaces.model import Citable

if TYPE_CHECKING:
    from seqvae.interfaces.outputs import Loss, VAEOutput


@dataclass(frozen=True)
class RunContext:
    """What a remedy may know of the run when it is attached."""

    total_steps: int
    examples: int
    batch_size: int
    latent_dim: int
    vocab_size: int | None = None
    labels: tuple[str, ...] = ()  # names of the columns of batch.labels
    label_coverage: tuple[float, ...] = ()  # of each, the share of the training examples that have it


class Remedy(nn.Module, Citable, Generic[BatchT]):
    """One cure; every method is idle by default and `objective.py` is its only caller.

    Parameters train with the model, buffers are saved with it. The model itself is never kept here.
    """

    batch_type: ClassVar[str] = "any"  # "text" or "image" where the remedy reads what only these have
    transforms_whole_kl: ClassVar[bool] = False  # true where transform_kl is not elementwise: one of these a run

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        adopt_old_hooks(cls)

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Create what depends on the model's sizes or on the run's length; called once."""

    def on_encoder_input(self, batch: BatchT) -> BatchT:
        """Change what the encoder reads (training only)."""
        return batch

    def on_decoder_input(self, batch: BatchT) -> BatchT:
        """Change what the decoder reads (training only), never the targets."""
        return batch

    def on_latent(self, z: Tensor, batch: BatchT) -> Tensor:
        """Change the codes (S, B, D) that the decoder reads (training only), never those the KL is of."""
        return z

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """(B, D) -> (B or 1, any): the KL that the optimizer sees."""
        return kl

    def beta(self, step: Tensor | int) -> Tensor | float:
        """A factor of the KL at update `step`, counted from 0; in training a tensor () on the device.

        A factor that changes from update to update is a function of that tensor or lies in a buffer: an
        update may be captured once and replayed.
        """
        return 1.0

    def schedule_end(self) -> int:
        """The first step from which this remedy's schedule does not change any more."""
        return 0

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: BatchT) -> Mapping[str, Tensor]:
        """Further named terms () of the loss, already weighted."""
        return {}

    def trainable_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """Which of `parts` the coming update moves: of all four, or of encoder and latent on their own."""
        return parts

    def extra_encoder_step(self, losses: Sequence[Tensor]) -> bool:
        """Whether the encoder alone takes one more update before the coming one.

        `losses` () are those of the updates that it has taken so far, in nats a token.
        """
        return False

    def capture_obstacle(self) -> str:
        """Why the coming updates cannot be captured as one function of tensors; empty if they can.

        An update is captured if all hooks up to `after_step` compute with tensors alone: none reads a value
        on the host (`.item()`, `bool(tensor)`, `.cpu()`, `nonzero`), and shapes depend on shapes alone.
        """
        return ""

    def wants_mi(self) -> bool:
        """Whether the coming validation is to measure `mi_low`."""
        return False

    def after_step(self, loss: Loss) -> None:
        """Feedback after an update; the encoder's own ones give none."""

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """Feedback after a validation."""

    def discriminator(self) -> nn.Module | None:
        """A second player with its own optimizer; `player(out, batch)` is its loss () on detached input."""
        return None
