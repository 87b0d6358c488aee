"""Semi-supervised objective (M2): missing labels are summed out.

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
    """ELBO of the model M2, in which the label of most examples is missing and is summed out.

    With -L(x, y) = -E_q(z|x,y) log p(x|y, z) + beta KL(q(z|x, y) || p(z|y)) + ln Y, y uniform over the Y
    classes, an example with its label costs -L(x, y), one without it sum_y q(y|x) (-L(x, y) + ln q(y|x)),
    which is exact. The classifier q(y|x) learns from the latter, and from `alpha` x the mean of -ln q(y|x)
    over the examples with a label, as in the authors' code; with a small alpha its classes may not match the
    labels. All terms are nats per example; the logged rate and distortion are means under q(y|x).

    Args:
        remedies: applied in this order.
        label: name of the label that may be missing; by default the first of `condition`.
        alpha: weight of the classification loss.

    Raises:
        UserError: a remedy reads a single forward pass per example, or two each transform the whole KL.
    """

    paper = "Kingma et al., Semi-supervised Learning with Deep Generative Models"
    year = 2014

    def __init__(
        self,
        remedies: Iterable[Remedy] = (),
        label: str | None = None,
        alpha: Annotated[float, Field(ge=0)] = 30.0,
    ) -> None:
        super().__init__(remedies)  # build.py reads `label`, since it builds the classifier
        check_single_kl_transform(self.remedy_list)
        self.alpha, self.share = alpha, 1.0
        hooks = [(type(r), (type(r).auxiliary_losses, type(r).discriminator)) for r in self.remedy_list]
        acting = [
            kind.__name__ for kind, own in hooks if own != (Remedy.auxiliary_losses, Remedy.discriminator)
        ]
        if acting:
            names = " and ".join(acting)
            raise UserError(f"it decodes an example once per class, {names} reads one pass: leave that out")

    def attach(self, vae: VAE, facts: RunContext | None = None) -> None:
        """Store the fraction of labelled training examples.

        Raises:
            UserError: the model has no classifier, or no example has the label.
        """
        if vae.classifier is None:
            raise UserError("objective 'semi_supervised' needs a label to infer: name it in condition")
        if facts is not None and facts.label_coverage:
            self.share = facts.label_coverage[vae.classifier.label.column]
        if not self.share:
            name = vae.classifier.label.name
            raise UserError(f"objective 'semi_supervised' got no example with {name!r}: label some")

    def forward(self, vae: VAE, batch: Batch, step: Tensor | int) -> Loss:
        """The loss of one batch; encoder and classifier run once, the rest once per class."""
        batch, classifier = self._apply_input_hooks(batch), vae.classifier
        assert classifier is not None
        log_q, known = classifier(batch), classifier.one_hot(batch.labels)  # (B, Y)
        labelled = known.sum(-1)  # (B,) 1, or 0 where the label is missing
        weight = torch.where(labelled[:, None] > 0, known, log_q.exp())  # (B, Y)
        h, beta = vae.encoder(batch), self.beta(step)
        outputs = [self._forward_with_class(vae, batch, h, v) for v in classifier.label.class_values]
        costs = [out.distortion + beta * self._transformed_kl(out, step).sum(-1) for out in outputs]
        bound = torch.stack(costs, -1) + math.log(len(outputs))  # (B, Y)
        plain = (weight * bound).sum(-1) + (1 - labelled) * (weight * log_q).sum(-1)
        loss = self._loss(plain.mean(), beta, vae, _average_over_classes(outputs, weight), batch)
        # divided by the share of labelled examples: the mean over a batch counts the others as zeros
        error = -self.alpha / self.share * (known * log_q).sum(-1).mean()
        return replace(loss, total=loss.total + error, terms={**loss.terms, "classification": error})

    def _forward_with_class(self, vae: VAE, batch: Batch, h: Tensor, value: float) -> VAEOutput:
        """Forward pass with the same class for all examples, given as its `value` in the label column."""
        assert vae.classifier is not None
        batch = batch.replace(labels=vae.classifier.label.with_values(batch.labels, value))
        q = vae.posterior(batch, h)
        return self._decode(vae, batch, q, q.rsample(1, batch.random))


def _average_over_classes(outputs: Sequence[VAEOutput], weight: Tensor) -> VAEOutput:
    """KL and log p(x|z) averaged over classes with `weight` (B, Y); other fields are those of the first."""
    kl = torch.stack([out.kl * w[:, None] for out, w in zip(outputs, weight.unbind(-1), strict=True)])
    log_px_z = torch.stack([out.log_px_z * w for out, w in zip(outputs, weight.unbind(-1), strict=True)])
    return replace(outputs[0], kl=kl.sum(0), log_px_z=log_px_z.sum(0))
