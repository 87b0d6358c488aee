"""Nearest codes against plain comparison of all pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SENTENCES, autoencoder, tiny_run
from torch.distributions import Independent, Normal, kl_divergence

from seqvae.errors import UserError
from seqvae.inference import TextVAE
from seqvae.inference.code_index import CodeIndex, Gaussians, kl_between
from seqvae.inference.neighbors import build_index, encode_gaussians, find_neighbors


def gaussians(n: int, seed: int, dim: int = 5) -> Gaussians:
    noise = torch.randn(2, n, dim, generator=torch.Generator().manual_seed(seed))
    return Gaussians(noise[0] * 3, noise[1])


def normals(codes: Gaussians, rows: Any) -> Independent:
    assert codes.logvar is not None
    return Independent(Normal(codes.mean[rows], (codes.logvar[rows] / 2).exp()), 1)


def test_kl_is_that_of_torch() -> None:
    q, p = gaussians(20, 0), gaussians(20, 1)
    rows = slice(None)
    assert torch.allclose(
        kl_between(q, p).float(), kl_divergence(normals(q, rows), normals(p, rows)), rtol=1e-4
    )


@pytest.mark.parametrize("block", [1, 100, 1 << 24])
def test_the_exact_search_finds_what_comparing_all_finds(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("seqvae.inference.code_index.BLOCK", block)
    codes, queries = gaussians(60, 0), gaussians(7, 1)
    cosine = torch.nn.functional.cosine_similarity(queries.mean[:, None], codes.mean, dim=-1)
    scores, places = CodeIndex(codes).search(queries, 4)
    assert torch.equal(places, cosine.topk(4).indices)
    assert torch.allclose(scores, cosine.topk(4).values, atol=1e-5)
    every = torch.stack(
        [kl_divergence(normals(queries, [i] * 60), normals(codes, slice(None))) for i in range(7)]
    )
    scores, places = CodeIndex(codes, "kl").search(queries, 4)
    assert torch.equal(places, every.topk(4, largest=False).indices)
    assert torch.allclose(scores, every.topk(4, largest=False).values, rtol=1e-4)


def test_many_codes_are_searched_in_blocks() -> None:
    codes = gaussians(200_000, 0, dim=8)
    queries = Gaussians(codes.mean[[5, 199_999]])
    scores, places = CodeIndex(codes).search(queries, 3)
    assert places[:, 0].tolist() == [5, 199_999]
    assert scores[:, 0].tolist() == pytest.approx([1, 1], abs=1e-5)


def test_more_neighbors_than_codes_and_mistakes() -> None:
    index = CodeIndex(Gaussians(torch.eye(3)))
    assert index.search(Gaussians(torch.eye(3)), 9)[1].shape == (3, 3)
    with pytest.raises(UserError, match="holds no code"):
        CodeIndex(Gaussians(torch.zeros(0, 3)))
    with pytest.raises(UserError, match="these codes have no variance"):
        CodeIndex(Gaussians(torch.eye(3)), "kl")


def test_faiss_finds_most_of_them() -> None:
    pytest.importorskip("faiss")
    codes, queries = gaussians(4000, 0), gaussians(20, 1)
    exact = CodeIndex(codes).search(queries, 5)[1]
    found = CodeIndex(codes, backend="faiss").search(queries, 5)[1]
    shared = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert sum(shared) >= 0.8 * 100
    with pytest.raises(UserError, match="search kl exactly"):
        CodeIndex(codes, "kl", "faiss")


def test_a_sentence_is_its_own_nearest(tmp_path_factory: pytest.TempPathFactory) -> None:
    vae = TextVAE.from_pretrained(tiny_run(tmp_path_factory))
    for metric, least in (("cosine", 1.0), ("kl", 0.0)):
        index = build_index(vae, SENTENCES, metric)
        found = find_neighbors(vae, SENTENCES[1:3], index, 2)
        assert [row[0].place for row in found] == [1, 2]
        assert found[0][0].score == pytest.approx(least, abs=1e-4)
    codes = encode_gaussians(vae, SENTENCES)
    assert torch.allclose(codes.mean, vae.encode(SENTENCES))


def test_codes_without_a_density(tmp_path_factory: pytest.TempPathFactory) -> None:
    vae = TextVAE.from_pretrained(autoencoder(tmp_path_factory))
    assert find_neighbors(vae, SENTENCES[:1], build_index(vae, SENTENCES), 1)[0][0].place == 0
    with pytest.raises(UserError, match="use --metric cosine"):
        build_index(vae, SENTENCES, "kl")


def test_nothing_to_search(tmp_path: Path) -> None:
    assert len(Gaussians(torch.zeros(0, 2))) == 0
