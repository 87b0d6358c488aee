"""Aggressive encoder training: extra encoder updates per decoder update, until the MI stops rising."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Remedy, RunContext
from seqvae.remedies.requirements import require_density

Positive = Annotated[int, Field(gt=0)]


def loss_still_falls(losses: Sequence[Tensor], max_inner_steps: int, window: int) -> bool:
    """Whether the encoder should be updated once more.

    True while the mean loss of the last window is not above that of the window before it.

    Args:
        losses: one loss () per extra encoder update so far.
        max_inner_steps: largest number of extra updates.
        window: number of losses in a window; the comparison is made once per window.

    Example:
        >>> falling = [torch.tensor(loss) for loss in (3.0, 2.9, 2.5, 2.4)]
        >>> loss_still_falls(falling, max_inner_steps=100, window=2)
        True
        >>> loss_still_falls(falling[::-1], max_inner_steps=100, window=2)
        False
    """
    count = len(losses)
    if count >= max_inner_steps:
        return False
    if count % window or count < 2 * window:
        return True
    before, last = torch.stack(list(losses[-2 * window :])).view(2, window).mean(1).unbind()
    return bool(last <= before)


class AggressiveEncoder(Remedy):
    """Encoder updates while their loss falls, then one of prior and decoder; later all parts at once.

    The aggressive phase ends at the first validation whose MI is below that of the one before. Schedules and
    steps count decoder updates only.

    Args:
        max_inner_steps: largest number of encoder updates before each decoder update.
        window: number of encoder updates over which losses are averaged.
    """

    paper = "He et al., Lagging Inference Networks and Posterior Collapse in Variational Autoencoders"
    year = 2019

    def __init__(self, max_inner_steps: Positive = 100, window: Positive = 15) -> None:
        super().__init__()
        self.max_inner_steps, self.window = max_inner_steps, window
        self.register_buffer("aggressive", torch.tensor(True))
        self.register_buffer("mi", torch.tensor(float("-inf"), dtype=torch.float64))
        self.aggressive: Tensor
        self.mi: Tensor
        self._known: tuple[Tensor, int, bool] | None = None  # buffer, its version, its value

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Check the latent.

        Raises:
            UserError: its MI is undefined.
        """
        require_density("aggressive_encoder", vae)

    def trainable_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """Encoder and latent, or prior and decoder; all parts after the phase."""
        return parts - {"encoder", "latent"} if "decoder" in parts and self.lasts else parts

    def extra_encoder_step(self, losses: Sequence[Tensor]) -> bool:
        """True while the phase lasts and the losses fall."""
        return self.lasts and loss_still_falls(losses, self.max_inner_steps, self.window)

    def wants_mi(self) -> bool:
        """True while the phase lasts."""
        return self.lasts

    def capture_obstacle(self) -> str:
        """Not empty while the phase lasts."""
        return "aggressive_encoder counts the encoder's own updates by their losses" if self.lasts else ""

    @property
    def lasts(self) -> bool:
        """Whether the phase lasts; read from the buffer only after a change, as reading waits for the GPU."""
        buffer = self.aggressive  # loading a checkpoint may replace it or write into it
        if self._known is None or self._known[0] is not buffer or self._known[1] != buffer._version:
            self._known = (buffer, buffer._version, bool(buffer))
        return self._known[2]

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """End the phase if the MI has fallen."""
        if self.lasts:
            mi = metrics["mi_low"]
            self.aggressive.fill_(mi >= float(self.mi))
            self.mi.fill_(mi)
