"""M2: labels that are missing for most examples are summed out.

Shapes: B examples, Y classes of a label.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from seqvae.errors import UserError
from seqvae.interfaces import Batch, Remedy, RunContext
from seqvae.interfaces.outputs import Loss, VAEOutput
from seqvae.models.vae import VAE
from seqvae.objectives.base import Objective, check_single_kl_transform


class SemiSupervised(Objective):
    """Labels that are missing for most examples are summed out: the model M2.

    With -L(x, y) = -E_q(z|x,y) log p(x|y, z) + beta KL(q(z|x, y) || p(z|y)) + ln Y, y uniform over the Y
    classes, an example with its label costs -L(x, y), one without sum_y q(y|x) (-L(x, y) + ln q(y|x)),
    exactly. The classifier q(y|x) learns from the latter, and by `alpha` x the mean of -ln q(y|x) over the
    examples that have a label, as in the authors' code; where alpha is small it may settle on classes of its
    own. Nats an example; the rate and the distortion that are told are means under q(y|x).

    Raises:
        UserError: a remedy that reads one walk of an example, or two that each reshape the whole KL.
    """

    paper = "Kingma et al., Semi-supervised Learning with Deep Generative Models"
    year = 2014

    def __init__(
        self,
        remedies: Iterable[Remedy] = (),
        label: str | None = None,
        alpha: Annotated[float, Field(ge=0)] = 30.0,
    ) -> None:
        """`label` is the one that may be missing: by default the first of `condition`."""
        super().__init__(remedies)
        check_single_kl_transform(self.remedy_list)
        self.alpha, self.share = alpha, 1.0
        seams = [(type(r), (type(r).auxiliary_losses, type(r).discriminator)) for r in self.remedy_list]
        acting = [
            kind.__name__ for kind, own in seams if own != (Remedy.auxiliary_losses, Remedy.discriminator)
        ]
        if acting:
            names = " and ".join(acting)
            raise UserError(f"it walks an example once a class, {names} reads one walk: leave that out")

    def attach(self, vae: VAE, facts: RunContext | None = None) -> None:
        """Learn how many examples have their label.

        Raises:
            UserError: a model without a classifier, or no example with a label.
        """
        if vae.classifier is None:
            raise UserError("objective 'semi_supervised' needs a label to guess: name it in condition")
        if facts is not None and facts.label_coverage:
            self.share = facts.label_coverage[vae.classifier.label.column]
        if not self.share:
            name = vae.classifier.label.name
            raise UserError(f"objective 'semi_supervised' got no example with {name!r}: label some")

    def forward(self, vae: VAE, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch; encoder and classifier run once, the rest once a class."""
        batch, guess = self._apply_input_hooks(batch), vae.classifier
        assert guess is not None
        log_q, known = guess(batch), guess.one_hot(batch.labels)  # (B, Y)
        labelled = known.sum(-1)  # (B,) 1, or 0 where the label is missing
        weight = torch.where(labelled[:, None] > 0, known, log_q.exp())  # (B, Y)
        h, beta = vae.encoder(batch), self.beta(step)
        walks = [self._walk(vae, batch, h, value) for value in guess.label.class_values]
        costs = [out.distortion + beta * self._transformed_kl(out, step).sum(-1) for out in walks]
        bound = torch.stack(costs, -1) + math.log(len(walks))  # (B, Y)
        plain = (weight * bound).sum(-1) + (1 - labelled) * (weight * log_q).sum(-1)
        loss = self._loss(plain.mean(), beta, vae, _average_over_classes(walks, weight), batch)
        missed = -self.alpha / self.share * (known * log_q).sum(-1).mean()
        return replace(loss, total=loss.total + missed, terms={**loss.terms, "classification": missed})

    def _walk(self, vae: VAE, batch: Batch, h: Tensor, value: float) -> VAEOutput:
        """The walk of the batch as if all examples were of one class."""
        assert vae.classifier is not None
        batch = batch.replace(labels=vae.classifier.label.with_values(batch.labels, value))
        q = vae.posterior(batch, h)
        return self._decode(vae, batch, q, q.rsample(1, batch.random))


def _average_over_classes(walks: Sequence[VAEOutput], weight: Tensor) -> VAEOutput:
    """KL and log p(x|z) in the mean over walks with weights (B, Y); all else is that of the first walk."""
    kl = torch.stack([out.kl * w[:, None] for out, w in zip(walks, weight.unbind(-1), strict=True)])
    log_px_z = torch.stack([out.log_px_z * w for out, w in zip(walks, weight.unbind(-1), strict=True)])
    return replace(walks[0], kl=kl.sum(0), log_px_z=log_px_z.sum(0))
