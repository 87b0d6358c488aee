"""Nearest codes: an exact search in blocks, or an approximate one with faiss.

Shapes: N codes of the index, Q queries, k neighbours of each, D latent dims, F numbers that describe a code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from seqvae.errors import UserError
from seqvae.interfaces import Posterior

Metric = Literal["cosine", "kl"]
Backend = Literal["exact", "faiss"]
BLOCK = 1 << 24  # products at once: 64 MiB
MORE = 32  # candidates beyond k whose KL is computed again in fp64: fp32 products lose what cancels
TRAINED = 100  # codes per cell that faiss learns its cells from


@dataclass(frozen=True)
class Gaussians:
    """Codes as N(mean, diag exp(logvar)), (N, D) each; `logvar` is None for codes without a variance."""

    mean: Tensor
    logvar: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mean)

    def rows(self, chosen: Tensor) -> Gaussians:
        """Those of the chosen places."""
        return Gaussians(self.mean[chosen], None if self.logvar is None else self.logvar[chosen])


def gaussians_of(q: Posterior) -> Gaussians:
    """Mean and log variance of a posterior, on the CPU; only the mean of others than diagonal normals."""
    logvar = getattr(q, "logvar", None)
    return Gaussians(q.mean.cpu(), None if logvar is None else logvar.expand_as(q.mean).cpu())


def code_features(codes: Gaussians, metric: Metric) -> Tensor:
    """(N, F): what describes the codes of an index, so that a metric is a scalar product.

    `cosine`: z / |z|. `kl`: with variance v, (-1 / v, mu / v, -sum mu^2 / v + ln v) / 2, of which
    `query_features` make -KL(q || q_i) up to a number of the query's own.

    Raises:
        UserError: `kl` of codes without a variance.
    """
    if metric == "cosine":
        return normalize(codes.mean.float(), dim=-1)
    mean, logvar = codes.mean.double(), _logvar(codes).double()
    precision = torch.exp(-logvar)
    constant = (mean**2 * precision + logvar).sum(-1, keepdim=True)
    return torch.cat([-precision / 2, mean * precision, -constant / 2], -1).float()


def query_features(codes: Gaussians, metric: Metric) -> Tensor:
    """(Q, F): the other side of the product, see `code_features`.

    Raises:
        UserError: as there.
    """
    if metric == "cosine":
        return normalize(codes.mean.float(), dim=-1)
    mean, logvar = codes.mean.double(), _logvar(codes).double()
    return torch.cat([logvar.exp() + mean**2, mean, torch.ones_like(mean[:, :1])], -1).float()


def kl_between(q: Gaussians, p: Gaussians) -> Tensor:
    """KL(q || p) in nats, (N,), of pairs of diagonal normals, in fp64.

    Example:
        >>> zeros = torch.zeros(1, 2)
        >>> kl_between(Gaussians(zeros, zeros), Gaussians(zeros + 1, zeros))
        tensor([1.], dtype=torch.float64)
    """
    mean_q, logvar_q, mean_p, logvar_p = (x.double() for x in (q.mean, _logvar(q), p.mean, _logvar(p)))
    squares = (logvar_q.exp() + (mean_q - mean_p) ** 2) * torch.exp(-logvar_p)
    return 0.5 * (squares - 1 + logvar_p - logvar_q).sum(-1)


class CodeIndex:
    """N codes that nearest ones are searched in.

    `exact` compares a query with all codes, some at a time: 10^6 codes of 32 dims fit into 128 MB (cosine) or
    260 MB (kl) and take a fraction of a second per query. `faiss` (extra `neighbors`) sorts the codes into
    sqrt(N) cells and looks into `probes` of them: faster for many queries, and may miss a neighbour.

    Args:
        codes: the codes.
        metric: `cosine` of the means, or `kl`, KL(q of the query || q of the code) in nats.
        backend: `exact` or `faiss`.
        probes: cells that faiss looks into.

    Raises:
        UserError: no code, `kl` of codes without a variance, or faiss is not installed.

    Example:
        >>> index = CodeIndex(Gaussians(torch.eye(3)))
        >>> index.search(Gaussians(torch.tensor([[0.1, 1.0, 0.3]])), k=2)[1]
        tensor([[1, 2]])
    """

    def __init__(
        self, codes: Gaussians, metric: Metric = "cosine", backend: Backend = "exact", probes: int = 16
    ) -> None:
        if not len(codes):
            raise UserError("the index holds no code: give at least one example to search in")
        if backend == "faiss" and metric == "kl":  # its cells found 1 in 8 of the true neighbours
            raise UserError("faiss sorts codes by angle, which says little of KL: search kl exactly")
        self.codes, self.metric = codes, metric
        self.features = code_features(codes, metric)
        self.faiss = _build_cells(self.features, probes) if backend == "faiss" else None

    def search(self, queries: Gaussians, k: int = 5) -> tuple[Tensor, Tensor]:
        """Scores (Q, k) and places (Q, k) of the nearest codes, the nearest first.

        Scores are cosines, the higher the nearer, or KL in nats, the lower the nearer.
        """
        k = min(k, len(self.codes))
        asked = query_features(queries, self.metric)
        if self.metric == "cosine":
            return self._largest(asked, k)
        places = self._largest(asked, min(len(self.codes), k + MORE))[1]
        return self._nearest_by_kl(queries, places, k)

    def _largest(self, asked: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k largest products of each query: values (Q, k) and places (Q, k)."""
        if self.faiss is not None:
            found = self.faiss.search(asked.numpy(), k)
            return torch.from_numpy(found[0]), torch.from_numpy(found[1])
        values, places = asked.new_empty(len(asked), 0), torch.empty(len(asked), 0, dtype=torch.long)
        size = max(1, BLOCK // max(1, len(asked)))
        for start in range(0, len(self.features), size):
            products = asked @ self.features[start : start + size].T
            best = products.topk(min(k, products.shape[1]), -1)
            values = torch.cat([values, best.values], -1)
            places = torch.cat([places, best.indices + start], -1)
            values, order = values.topk(min(k, values.shape[1]), -1)
            places = places.gather(1, order)
        return values, places

    def _nearest_by_kl(self, queries: Gaussians, places: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Of candidates (Q, M) the k nearest by KL in fp64."""
        rows = torch.arange(len(queries)).repeat_interleave(places.shape[1])
        nats = kl_between(queries.rows(rows), self.codes.rows(places.flatten())).view_as(places)
        best = nats.topk(k, -1, largest=False)
        return best.values.float(), places.gather(1, best.indices)


def _logvar(codes: Gaussians) -> Tensor:
    if codes.logvar is None:
        raise UserError(
            "kl compares normal posteriors, and these codes have no variance: use --metric cosine, or search "
            "in examples of a run with a gaussian latent"
        )
    return codes.logvar


def _build_cells(features: Tensor, probes: int) -> Any:
    """An inverted file of faiss, by inner product.

    Raises:
        UserError: faiss is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise UserError(
            'faiss is not installed: pip install "seqvae[neighbors]", or use the exact search'
        ) from None
    cells, table = max(1, math.isqrt(len(features))), features.numpy()
    width = features.shape[1]
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(quantizer, width, cells, faiss.METRIC_INNER_PRODUCT)
    index.train(table[: TRAINED * cells])
    index.add(table)
    index.nprobe = min(probes, cells)
    return index
