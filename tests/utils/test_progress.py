"""Progress of inner loops: who is told, when, and of which loop."""

from __future__ import annotations

import pytest

from seqvae.utils.progress import show_progress, track, tracked

Said = list[tuple[int, int, str]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("seqvae.utils.progress.time.monotonic", lambda: now[0])
    return now


def test_only_what_takes_long_is_reported(clock: list[float]) -> None:
    said: Said = []
    with show_progress(lambda *line: said.append(line)):
        for _ in track(["ab", "c", "def"], "reading", len):
            clock[0] += 0.9
    assert said == [(6, 6, "reading")]


def test_only_the_outermost_loop_reports(clock: list[float]) -> None:
    said: Said = []

    def slow(item: int) -> int:
        for _ in track(range(3), "inner"):
            clock[0] += 3
        return -item

    with show_progress(lambda *line: said.append(line)):
        for item in track([1, 2], "outer"):
            slow(item)
        assert list(map(tracked(slow, 2, "counted", lambda item: 1), [1, 2])) == [-1, -2]
        slow(1)
    assert [what for _, _, what in said] == ["outer"] * 2 + ["counted"] * 2 + ["inner"] * 3


def test_nobody_is_told_by_default(clock: list[float]) -> None:
    assert list(track([1, 2], "adding")) == [1, 2]


def test_a_loop_that_is_left_early(clock: list[float]) -> None:
    said: Said = []
    with show_progress(lambda *line: said.append(line)):
        for _ in track(range(5), "left"):
            break
        for _ in track(range(1), "next"):
            clock[0] += 5
    assert said == [(1, 1, "next")]
