"""Label conditioning: labels as features, and a classifier that infers missing ones."""

from seqvae.models.labels.classifier import Classifier
from seqvae.models.labels.encoder import LabelEncoder
from seqvae.models.labels.spec import LabelSpec

__all__ = ["Classifier", "LabelEncoder", "LabelSpec"]
