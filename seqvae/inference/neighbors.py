"""The examples whose codes lie nearest to those of others.

Shapes: N examples to search in, Q queries, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from seqvae.distributed.collectives import map_sharded
from seqvae.inference.code_index import Backend, CodeIndex, Gaussians, Metric, gaussians_of
from seqvae.inference.given import as_examples
from seqvae.inference.pretrained import PretrainedVAE
from seqvae.interfaces import Batch
from seqvae.models.sampling import Condition
from seqvae.utils.progress import tracked


@dataclass(frozen=True)
class Neighbor:
    """An example near a query: its place among those searched in, and its cosine or KL in nats."""

    place: int
    score: float


@torch.no_grad()
def encode_gaussians(
    vae: PretrainedVAE, examples: Sequence[Any], condition: Condition | None = None
) -> Gaussians:
    """The posteriors of examples: means (N, D), and log variances where they are diagonal normals.

    Raises:
        UserError: as `PretrainedVAE.encode`.
    """
    vae._require_code()

    def coded(batch: Batch) -> Gaussians:
        return gaussians_of(vae.vae.posterior(batch))

    examples = as_examples(examples)
    batches = list(vae.conditioned_batches(examples, 0, None, condition))
    work = tracked(coded, len(examples), "encoding", lambda batch: batch.size)
    parts = map_sharded(batches, work, vae.device)
    empty = [torch.zeros(0, vae.latent_dim)]
    logvars = [part.logvar for part in parts if part.logvar is not None]
    known = vae.vae.latent.is_diagonal_gaussian
    return Gaussians(
        torch.cat([*empty, *(part.mean for part in parts)]),
        torch.cat([*empty, *logvars]) if known else None,
    )


def build_index(
    vae: PretrainedVAE,
    examples: Sequence[Any],
    metric: Metric = "cosine",
    backend: Backend = "exact",
    condition: Condition | None = None,
) -> CodeIndex:
    """An index of the codes of N examples.

    Raises:
        UserError: as `PretrainedVAE.encode` and `CodeIndex`.
    """
    return CodeIndex(encode_gaussians(vae, examples, condition), metric, backend)


def find_neighbors(
    vae: PretrainedVAE, queries: Sequence[Any], index: CodeIndex, k: int = 5
) -> list[list[Neighbor]]:
    """For each of Q queries the k examples of the index whose codes are nearest, the nearest first.

    Raises:
        UserError: as `PretrainedVAE.encode`, or codes of another model.
    """
    scores, places = index.search(encode_gaussians(vae, queries), k)
    return [
        [Neighbor(place, score) for place, score in zip(*row, strict=True) if place >= 0]
        for row in zip(places.tolist(), scores.tolist(), strict=True)
    ]
