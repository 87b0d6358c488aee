"""The parts behind the page: planes, directions, kept words, background work and the guard."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from tiny import tiny_run

from seqvae.errors import UserError
from seqvae.explore.attributes import attribute_values, split_by_value, without_kept
from seqvae.explore.embedding import Neighbourly, fit_principal
from seqvae.explore.jobs import JobFailed, Jobs, Pending
from seqvae.explore.keep import decode_with_words
from seqvae.explore.points import Column, _label
from seqvae.explore.requests import EditRequest
from seqvae.explore.views.dims import edited_code
from seqvae.inference import TextVAE
from seqvae.inference.directions import fit_direction


def test_principal_components_of_a_known_cloud() -> None:
    axes = torch.tensor([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]])
    random = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 2, generator=random) * torch.tensor([3.0, 1.0]) @ axes + 5
    found = fit_principal(z)
    assert torch.allclose(found.axes.T.abs(), axes.abs().double(), atol=0.02)
    assert found.share.tolist() == pytest.approx([0.9, 0.1], abs=0.01)
    assert torch.allclose(found.place(z).mean(0), torch.zeros(2).double(), atol=1e-5)
    assert torch.equal(found.axes, fit_principal(z.flip(0)).axes) or torch.allclose(
        found.axes, fit_principal(z.flip(0)).axes
    )


def test_one_dim_lies_on_a_line() -> None:
    found = fit_principal(torch.arange(5.0)[:, None])
    assert found.place(torch.tensor([[4.0]])).tolist() == [[2.0, 0.0]]


def test_other_codes_go_between_their_neighbours() -> None:
    plane = Neighbourly(
        torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 9.0]]).double()
    )
    assert torch.allclose(plane.place(torch.tensor([[1.0]])), torch.tensor([[4.0, 0.0]]).double(), atol=1e-6)
    (x, y) = plane.place(torch.tensor([[0.5]]))[0].tolist()
    assert 1.8 < x < 2
    assert 0 < y < 0.5


def test_values_fall_into_two_groups() -> None:
    nan = float("nan")
    high, low = split_by_value(torch.tensor([1.0, 0.0, nan, 1.0, 1.0]))
    assert high.tolist() == [True, False, False, True, True]
    assert low.tolist() == [False, True, False, False, False]
    high, low = split_by_value(torch.arange(10.0))
    assert (int(high.sum()), int(low.sum())) == (5, 5)
    with pytest.raises(UserError, match="no two values"):
        split_by_value(torch.tensor([1.0, 1.0, nan]))


def test_kept_directions_do_not_change() -> None:
    change, kept = torch.randn(6), [torch.randn(6), torch.randn(6)]
    left = without_kept(change, kept)
    assert all(abs(float(left @ each)) < 1e-5 for each in kept)
    assert torch.equal(without_kept(change, []), change)
    assert torch.allclose(without_kept(left, kept), left, atol=1e-5)


def test_a_kept_attribute_keeps_its_score() -> None:
    random = torch.Generator().manual_seed(0)
    wide = torch.randn(2, 80, 5, generator=random) @ torch.randn(5, 5, generator=random)
    kept = fit_direction(wide[0] + 2, wide[1])
    other = fit_direction(wide[0] + torch.tensor([3.0, 1, 0, 0, 0]), wide[1])
    base = wide[1, 0]
    request = EditRequest.model_validate(
        {
            "base": {"index": 0},
            "dims": {0: 4.0},
            "moves": [{"label": "a", "keep": True}, {"label": "b", "strength": 2}],
        }
    )
    moved = edited_code(base, request, [kept, other])
    assert float(kept.score(moved[None])) == pytest.approx(float(kept.score(base[None])), abs=1e-4)
    assert float(other.score(moved[None])) > float(other.score(base[None])) + 0.1


def test_labels_become_kinds_or_quantities() -> None:
    kinds = _label("digit", torch.tensor([7.0, 3.0, float("nan"), 7.0]), ())
    assert kinds.names == ("3", "7")
    assert kinds.values[:2].tolist() == [1, 0]
    assert bool(kinds.values[2].isnan())
    assert not _label("x", torch.tensor([0.5, 1.0, 2.0]), ()).is_kind
    assert not _label("year", torch.arange(100.0), ()).is_kind


def test_values_of_one_kind() -> None:
    column = Column("tense", torch.tensor([0.0, 2.0, float("nan")]), names=("past", "present", "future"))

    class Some:
        labels = (column,)

    some: Any = Some()
    assert attribute_values(some, "tense", "future").tolist()[:2] == [0, 1]
    with pytest.raises(UserError, match="it has past, present, future"):
        attribute_values(some, "tense", "never")


def test_words_are_kept_where_they_fit_best(tmp_path_factory: pytest.TempPathFactory) -> None:
    vae = TextVAE.from_pretrained(tiny_run(tmp_path_factory))
    z = vae.encode(["the old dog sees a ball ."])
    (plain,) = vae.decode(z)
    assert decode_with_words(vae, z[0], plain.split()[:1]) == plain  # is written anyway
    kept = decode_with_words(vae, z[0], ["umbrella"])
    assert "umbrella" in kept.split()
    with pytest.raises(UserError, match="does not fit into 20 tokens"):
        decode_with_words(vae, z[0], ["umbrella " * 21])


def test_jobs_run_once_and_tell_progress() -> None:
    jobs, go, runs = Jobs(), threading.Event(), []

    def work(progress: Any) -> int:
        runs.append(1)
        progress(1, 2, "half")
        go.wait(10)
        return 42

    with pytest.raises(Pending) as pending:
        jobs.result("slow", work, patience=0.05)
    assert pending.value.job.progress["total"] in (0, 2)
    assert jobs.ready("slow") is None
    go.set()
    jobs.wait("slow")
    assert jobs.result("slow", work) == jobs.ready("slow") == 42
    assert runs == [1]
    assert [job["state"] for job in jobs.states()] == ["done"]


def test_jobs_hand_on_what_went_wrong() -> None:
    jobs = Jobs()

    def refused(progress: Any) -> None:
        raise UserError("give another file")

    def broken(progress: Any) -> None:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(UserError, match="give another file"):
        jobs.result("refused", refused, patience=5)
    with pytest.raises(JobFailed, match="broken: ZeroDivisionError: division by zero"):
        jobs.result("broken", broken, patience=5)
    assert jobs.ready("broken") is None
