"""A classifier that infers missing labels, as semi-supervised training does.

Shapes: B examples of a batch, L columns of labels, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seqvae.interfaces import Batch, Encoder
from seqvae.models.labels.spec import LabelSpec
from seqvae.numerics import constant


class Classifier(nn.Module):
    """q(y|x) of a label y that may be missing: an encoder, a linear layer and a softmax.

    Args:
        encoder: an encoder of its own, since that of the VAE learns features for z.
        label: the label, which has classes.
    """

    def __init__(self, encoder: Encoder, label: LabelSpec) -> None:
        super().__init__()
        self.label, self.encoder = label, encoder
        self.logits = nn.Linear(encoder.out_dim, label.width)

    def forward(self, batch: Batch) -> Tensor:
        """Log q(y|x), (B, K) nats, fp32."""
        h = self.encoder(batch)
        with torch.autocast(h.device.type, enabled=False):
            return torch.log_softmax(self.logits(h.float()), -1)

    def one_hot(self, labels: Tensor) -> Tensor:
        """(B, K) from labels (B, L): one-hot, or zeros where the label is missing."""
        return self.label.features(self.label.values(labels))

    def impute(self, batch: Batch) -> Tensor:
        """Labels (B, L) of a batch, with the most likely class where this label is missing."""
        values = self.label.values(batch.labels)
        if not bool(values.isnan().any()):
            labels: Tensor = batch.labels
            return labels
        guess = constant(tuple(self.label.class_values), values.device)[self(batch).argmax(-1)]
        return self.label.with_values(batch.labels, torch.where(values.isnan(), guess, values))
