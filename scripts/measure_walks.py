"""Compares paths between codes: line, great arc, and the shortest path through codes of real sentences.

`python scripts/measure_walks.py RUN [--pairs 200]` prints a row per path.

Shapes: N codes of the graph, D latent dims, P nodes of a path, T points of a walk.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass, evaluation_mode, run_evaluation_pass
from seqvae.evaluation.metrics.holes import aggregate_log_density
from seqvae.evaluation.metrics.latent_usage import standard_error
from seqvae.inference import TextVAE
from seqvae.inference.inputs import load_inputs
from seqvae.interfaces import Posterior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.sampling import interpolate_codes
from seqvae.utils.tables import align_columns

WalkPath = Literal["linear", "slerp", "graph"]
PATHS: tuple[WalkPath, ...] = ("linear", "slerp", "graph")
NEIGHBOURS = 15
MOST_CODES = 10_000  # in a graph: the search for neighbours takes N^2 distances
ROWS = 1024  # codes whose neighbours are searched at once


class CodeGraph:
    """Codes joined to their nearest neighbours; a step costs its length over the density of its ends.

    The cost of an edge is |u - v| exp(-(l_u + l_v) / 2) with l = (ln q(z) - max ln q) / D, so that a path
    through dense regions is short: the density-weighted distance of Bousquet, Chapelle and Hein 2003
    (Measure Based Regularization), with the density per dim.

    Args:
        codes: (N, D).
        log_density: ln q(z) at each, nats (N,).
        neighbours: to how many others a code is joined.
    """

    def __init__(self, codes: Tensor, log_density: Tensor, neighbours: int = NEIGHBOURS) -> None:
        self.codes = codes
        scaled = (log_density - log_density.max()) / codes.shape[1]
        self.weight = torch.exp(-scaled).sqrt().to(codes)  # of each end of an edge
        self.neighbours = min(neighbours, len(codes) - 1)
        self.edges: list[dict[int, float]] = [{} for _ in range(len(codes))]
        for start in range(0, len(codes), ROWS):
            self._join(start)

    def _join(self, start: int) -> None:
        """Edges of some codes to their nearest others, in both directions."""
        distance, near = self._nearest(self.codes[start : start + ROWS], self.neighbours + 1)
        cost = distance * self.weight[start : start + ROWS, None] * self.weight[near]
        for u, (nodes, costs) in enumerate(zip(near.tolist(), cost.tolist(), strict=True), start):
            for v, c in zip(nodes, costs, strict=True):
                if v != u:
                    self.edges[u][v] = self.edges[v][u] = c

    def _nearest(self, z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Distances (M, k) to the k nearest codes, and which these are."""
        found = torch.cdist(z, self.codes).topk(min(k, len(self.codes)), largest=False)
        return found.values, found.indices

    def shortest(self, a: Tensor, b: Tensor) -> Tensor:
        """(P, D): the nodes of the cheapest path from a (D,) to b (D,), both included.

        The ends join the graph at their nearest codes. Where no path exists (the graph falls apart) they
        are all.
        """
        starts, ends = self._entries(a), self._entries(b)
        nodes = _dijkstra(self.edges, starts, ends)
        inside = [self.codes[node] for node in nodes]
        path = [a, *inside, b]
        return torch.stack([z for i, z in enumerate(path) if i == 0 or not torch.equal(z, path[i - 1])])

    def _entries(self, z: Tensor) -> dict[int, float]:
        """The codes that a new one is joined to, and the cost; the density at the new one counts as there."""
        distance, near = self._nearest(z[None], self.neighbours)
        cost = distance[0] * self.weight[near[0]] ** 2
        return dict(zip(near[0].tolist(), cost.tolist(), strict=True))

    def walk(self, a: Tensor, b: Tensor, points: int) -> Tensor:
        """(T, D): codes at equal distances along the cheapest path, both ends included."""
        return resample_path(self.shortest(a, b), points)


def _dijkstra(
    edges: Sequence[dict[int, float]], starts: dict[int, float], ends: dict[int, float]
) -> list[int]:
    """The nodes from the best start to the best end; none where they are not joined."""
    best, before = dict(starts), {}
    queue = [(cost, node) for node, cost in starts.items()]
    heapq.heapify(queue)
    done: set[int] = set()
    last, total = -1, float("inf")
    while queue and queue[0][0] < total:
        cost, node = heapq.heappop(queue)
        if node in done:
            continue
        done.add(node)
        if node in ends and cost + ends[node] < total:
            last, total = node, cost + ends[node]
        for other, step in edges[node].items():
            if cost + step < best.get(other, float("inf")):
                best[other], before[other] = cost + step, node
                heapq.heappush(queue, (cost + step, other))
    found = []
    while last >= 0:
        found.append(last)
        last = before.get(last, -1)
    return found[::-1]


def resample_path(nodes: Tensor, points: int) -> Tensor:
    """Codes (T, D) at equal distances along the straight pieces between nodes (P, D)."""
    if len(nodes) == 1:
        return nodes.repeat(points, 1)
    length = (nodes[1:] - nodes[:-1]).norm(dim=1)
    along = torch.cat([length.new_zeros(1), length.cumsum(0)])  # (P,)
    wanted = torch.linspace(0, 1, points, dtype=nodes.dtype) * along[-1]
    piece = torch.searchsorted(along, wanted, right=True).clamp(1, len(nodes) - 1) - 1
    share = ((wanted - along[piece]) / length[piece].clamp(min=1e-12)).clamp(0, 1)
    return torch.lerp(nodes[piece], nodes[piece + 1], share[:, None])


def build_graph(posteriors: Sequence[Posterior], codes: Tensor, own: Tensor) -> CodeGraph:
    """The graph of codes (N, D), of the examples `own` (N,), at most `MOST_CODES` of them."""
    if len(codes) > MOST_CODES:
        rows = torch.linspace(0, len(codes) - 1, MOST_CODES).long()
        codes, own = codes[rows], own[rows]
    return CodeGraph(codes, aggregate_log_density(posteriors, codes, own))


def walk_codes(a: Tensor, b: Tensor, points: int, path: WalkPath, graph: CodeGraph) -> Tensor:
    """Codes (T, D) from a (D,) to b (D,), both included."""
    return graph.walk(a, b, points) if path == "graph" else interpolate_codes(a, b, points, path)


@dataclass(frozen=True)
class WalkSettings:
    """How paths are compared."""

    pairs: int = 200
    points: int = 9
    samples: int = 5  # K of IW-NLL
    examples: int = 5000  # of the evaluation split, in the graph
    seed: int = 0


def compare_paths(vae: TextVAE, how: WalkSettings) -> list[dict[str, Any]]:
    """IW-NLL of what is written between the ends of random pairs of evaluation sentences, by path.

    A row per path: `nll_per_step` (nats of a sentence between the ends) and `nll_per_token`, means over
    pairs; `gain` and `gain_se`, nats per step below the line, paired; `distinct`, different sentences per
    walk, and `copies`, the share of steps that are evaluation sentences word by word.
    """
    _, batches, _ = vae.evaluation_inputs(None, 64, how.examples)
    with evaluation_mode(vae.vae):
        found = run_evaluation_pass(EvaluationPass(vae.vae, batches), 1, lambda batch: 1)
    graph = build_graph(found.posteriors, found["mean"], torch.arange(found.n))
    chances = KeyedNoise(how.seed, 0, torch.arange(2 * how.pairs)).uniform("walks")
    pairs = (chances * found.n).long().view(how.pairs, 2)
    known = set(load_inputs(vae, None, how.examples).x)
    measured = {path: _measure_path(vae, found["mean"], pairs, path, graph, how, known) for path in PATHS}
    line = measured["linear"]["nll"]
    return [_row(path, numbers, line) for path, numbers in measured.items()]


def _row(path: str, numbers: dict[str, Tensor], line: Tensor) -> dict[str, Any]:
    gain = line - numbers["nll"]
    names = {"nll": "nll_per_step", "token": "nll_per_token", "distinct": "distinct", "copies": "copies"}
    means = {name: float(numbers[key].mean()) for key, name in names.items()}
    return {"path": path, **means, "gain": float(gain.mean()), "gain_se": standard_error(gain)}


def _measure_path(
    vae: TextVAE,
    codes: Tensor,
    pairs: Tensor,
    path: WalkPath,
    graph: CodeGraph,
    how: WalkSettings,
    known: set[str],
) -> dict[str, Tensor]:
    """Per pair: mean nats of the sentences between the ends, per sentence and per token, and how varied."""
    walks = torch.cat([walk_codes(codes[a], codes[b], how.points, path, graph) for a, b in pairs.tolist()])
    texts = vae.decode(walks, vae.greedy_untruncated())
    written = [text if text.strip() else vae.tokenizer.token(vae.tokenizer.special.unk) for text in texts]
    scores = vae.score(written, how.samples, seed=how.seed)
    nll = torch.tensor([score.distortion if score.iw_nll is None else score.iw_nll for score in scores])
    units = torch.tensor([float(score.units) for score in scores])
    between = slice(1, how.points - 1)
    nll, units = (x.view(len(pairs), how.points)[:, between] for x in (nll, units))
    rows = [texts[i : i + how.points] for i in range(0, len(texts), how.points)]
    return {
        "nll": nll.mean(1).double(),
        "token": (nll.sum(1) / units.sum(1)).double(),
        "distinct": torch.tensor([float(len(set(row))) for row in rows]),
        "copies": torch.tensor(
            [sum(text in known for text in row[between]) / (how.points - 2) for row in rows]
        ),
    }


def main() -> None:
    """Print a row per path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder of text")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--points", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    how = WalkSettings(pairs=given.pairs, points=given.points, seed=given.seed)
    rows = compare_paths(TextVAE.from_pretrained(given.run), how)
    head = tuple(rows[0])
    cells = [tuple(v if isinstance(v, str) else f"{v:.3f}" for v in row.values()) for row in rows]
    print("\n".join(align_columns(head, cells)))


if __name__ == "__main__":
    main()
