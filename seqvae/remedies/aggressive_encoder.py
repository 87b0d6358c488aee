"""Aggressive encoder: while codes gain information, the encoder catches up before each decoder update."""

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
    """Whether to go on after these losses (); checked after each `window`, at most `max_inner_steps` in all.

    They fall while the mean of the last window is not above that of the window before it.
    """
    count = len(losses)
    if count >= max_inner_steps:
        return False
    if count % window or count < 2 * window:
        return True
    before, last = torch.stack(list(losses[-2 * window :])).view(2, window).mean(1).unbind()
    return bool(last <= before)


class AggressiveEncoder(Remedy):
    """Encoder-only updates while their loss falls, then one of prior and decoder; later plain training.

    The phase ends at the first validation whose MI is below that of the one before. Up to `max_inner_steps`
    encoder updates go before each decoder update; schedules and steps count the latter alone.
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
        self._known: tuple[Tensor, int, bool] | None = None  # `aggressive`, its version, its value

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Look at the latent.

        Raises:
            UserError: its codes have no MI.
        """
        require_density("aggressive_encoder", vae)

    def trainable_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """The encoder side on its own, or all but it; all parts once the phase is over."""
        return parts - {"encoder", "latent"} if "decoder" in parts and self.lasts else parts

    def extra_encoder_step(self, losses: Sequence[Tensor]) -> bool:
        """While the phase lasts and the losses fall."""
        return self.lasts and loss_still_falls(losses, self.max_inner_steps, self.window)

    def wants_mi(self) -> bool:
        """While the phase lasts."""
        return self.lasts

    def capture_obstacle(self) -> str:
        """While the phase lasts."""
        return "aggressive_encoder counts the encoder's own updates by their losses" if self.lasts else ""

    @property
    def lasts(self) -> bool:
        """Whether the phase lasts; the buffer is read only when it has changed: a GPU would be waited for."""
        buffer = self.aggressive
        if self._known is None or self._known[0] is not buffer or self._known[1] != buffer._version:
            self._known = (buffer, buffer._version, bool(buffer))
        return self._known[2]

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """End the phase where MI has fallen."""
        if self.lasts:
            mi = metrics["mi_low"]
            self.aggressive.fill_(mi >= float(self.mi))
            self.mi.fill_(mi)
