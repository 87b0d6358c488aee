"""Accuracy and NLL of the classifier q(y|x) of a semi-supervised model.

Shapes: B examples of a batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from seqvae.evaluation.metrics.evaluation_pass import detached_float64, device_of
from seqvae.interfaces import Batch
from seqvae.models.vae import VAE


def classifier_metrics(vae: VAE, batches: Sequence[Batch]) -> dict[str, Any]:
    """Metrics over the examples that have a label; empty without a classifier or without labels.

    `label_accuracy`: fraction whose most probable class under q(y|x) is the label. `label_nll`: mean
    -ln q(y|x) in nats. `label_n`: number of these examples.
    """
    classifier = vae.classifier
    if classifier is None:
        return {}
    kept = []
    for batch in (batch.to(device_of(vae)) for batch in batches):
        known = classifier.one_hot(batch.labels)  # (B, K)
        rows, log_q = known.any(-1), classifier(batch)
        kept.append((rows, log_q.argmax(-1) == known.argmax(-1), -detached_float64((known * log_q).sum(-1))))
    labelled, right, cost = (torch.cat(column).cpu() for column in zip(*kept, strict=True))
    right, cost = right[labelled], cost[labelled]
    if not len(right):
        return {}
    return {
        "label_accuracy": float(right.double().mean()),
        "label_nll": float(cost.mean()),
        "label_n": len(right),
    }
