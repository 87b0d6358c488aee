"""Base class of remedies: hooks on the batch, the code, the KL, the loss and the training schedule.

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
    """Sizes of the run, which a remedy gets when it is attached."""

    total_steps: int
    examples: int
    batch_size: int
    latent_dim: int
    vocab_size: int | None = None
    labels: tuple[str, ...] = ()  # names of the columns of batch.labels
    label_coverage: tuple[float, ...] = ()  # per label, the fraction of training examples that have it


class Remedy(nn.Module, Citable, Generic[BatchT]):
    """A remedy against posterior collapse; by default every hook is a no-op.

    Only `Objective` calls the hooks. Parameters train with the model and buffers are saved with it. A remedy
    must not keep a reference to the model: its parameters would be registered, and saved, twice.

    Example:
        >>> class HalfKL(Remedy):
        ...     def beta(self, step):
        ...         return 0.5
        >>> from seqvae.objectives import ELBO
        >>> ELBO([HalfKL(), HalfKL()]).beta(step=0)  # factors multiply
        0.25
    """

    batch_type: ClassVar[str] = "any"  # "text" or "image" for remedies that read fields of one modality
    transforms_whole_kl: ClassVar[bool] = False  # transform_kl is not elementwise: at most one per run

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        adopt_old_hooks(cls)

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Create modules and schedules that depend on the model or the run; called once before training.

        Args:
            vae: the model; do not keep it.
            facts: sizes of the run.

        Raises:
            UserError: the remedy does not work with this model or data.
        """

    def on_encoder_input(self, batch: BatchT) -> BatchT:
        """The batch whose `source` the encoder reads (training only)."""
        return batch

    def on_decoder_input(self, batch: BatchT) -> BatchT:
        """The batch whose `inputs` the decoder reads (training only); targets must stay."""
        return batch

    def on_latent(self, z: Tensor, batch: BatchT) -> Tensor:
        """Codes (S, B, D) that the decoder reads in place of z (training only); the KL stays that of z."""
        return z

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """The KL that enters the loss.

        Args:
            kl: nats (B, D), as transformed by the remedies before this one.
            out: the forward pass.
            step: number of the update, from 0.

        Returns:
            Nats (B or 1, any number of columns); the objective sums columns and averages rows.
        """
        return kl

    def beta(self, step: Tensor | int) -> Tensor | float:
        """Weight of the KL at update `step`, counted from 0; in training a tensor () on the device.

        A weight that changes between updates must be a function of that tensor, or a buffer: an update may be
        captured as a CUDA graph and replayed, and a Python number would stay as it was at capture.
        """
        return 1.0

    def schedule_end(self) -> int:
        """The update from which this remedy's schedule is constant; no checkpoint is selected before it."""
        return 0

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: BatchT) -> Mapping[str, Tensor]:
        """Named terms () that are added to the loss, already weighted.

        Args:
            vae: the model.
            out: the forward pass.
            batch: the batch, as the input hooks left it.
        """
        return {}

    def trainable_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """The subset of `parts` that the next update trains.

        `parts` are encoder, latent, prior and decoder, or encoder and latent for an extra encoder update.
        """
        return parts

    def extra_encoder_step(self, losses: Sequence[Tensor]) -> bool:
        """Whether to update the encoder alone once more before the next update.

        `losses` () are those of the extra encoder updates so far, in nats per target.
        """
        return False

    def capture_obstacle(self) -> str:
        """Why the next updates cannot be captured as a CUDA graph; empty if they can.

        They can if all hooks up to `after_step` compute with tensors alone: none reads a value on the host
        (`.item()`, `bool(tensor)`, `.cpu()`, `nonzero`), and no shape depends on a value.
        """
        return ""

    def wants_mi(self) -> bool:
        """Whether the next validation has to estimate `mi_low`, a lower bound of the mutual information."""
        return False

    def after_step(self, loss: Loss) -> None:
        """Called with the loss after every update, except for extra encoder updates."""

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """Called with the metrics after every validation."""

    def discriminator(self) -> nn.Module | None:
        """A module with its own optimizer; `discriminator(out, batch)` is its loss () on detached input."""
        return None
