"""Progress output goes to stderr, and is readable in a terminal and in a file."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from seqvae.cli.terminal import Terminal, progress_on_terminal
from seqvae.utils.progress import track
from seqvae.utils.reporter import Silent, format_numbers


def test_numbers_in_a_line() -> None:
    values = {"rate": 4.12345, "tokens_per_s": 12345.6, "n": 2000, "kl_per_dim": [1.0], "why": "text"}
    assert format_numbers(values) == "rate 4.123  tokens_per_s 12,346  n 2,000"
    assert format_numbers({}) == ""


def test_all_goes_to_stderr_word_for_word(capsys: pytest.CaptureFixture[str]) -> None:
    report, long = Terminal(), "word " * 100
    report.note(f"[bold]{long}")
    report.warn("free_bits [0] {nats: 0.25}")
    report.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"[bold]{long}\nWARNING: free_bits [0] {{nats: 0.25}}\n"


def test_a_file_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("seqvae.cli.terminal.time.monotonic", lambda: clock[0])
    report = Terminal(every_seconds=10)
    for done in range(1, 101):
        clock[0] += 1
        report.advance(done, 100, "rate 1")
    lines = capsys.readouterr().err.splitlines()
    assert [int(line.split("/")[0]) for line in lines] == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100]
    assert lines[1] == "11/100  rate 1  eta 1:29"
    assert lines[-1] == "100/100  rate 1"


def test_each_phase_has_a_speed_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("seqvae.cli.terminal.time.monotonic", lambda: clock[0])
    report = Terminal(every_seconds=0)
    for what, seconds in (("slow", 60), ("fast", 1)):
        for done in (1, 2, 3):
            clock[0] += seconds
            report.advance(done, 3, what)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "2/3  slow  eta 1:00"
    assert lines[3:5] == ["1/3  fast  eta ?", "2/3  fast  eta 0:01"]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    report, screen = Terminal(), io.StringIO()
    report.console = Console(file=screen, force_terminal=True, width=100)
    report.advance(1, 4, "rate 1")
    assert report.bar is not None
    report.note("between")
    report.advance(4, 4, "rate 2")
    report.close()
    assert report.bar is None
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "between" in plain
    assert "4/4" in plain
    assert "rate 2" in plain
    report.close()  # twice is once


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Silent()
    silent.note("a")
    silent.warn("b")
    silent.advance(1, 2, "c")
    silent.close()
    assert capsys.readouterr() == ("", "")


def screen_of(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> io.StringIO:
    """What consoles made from now on write to, and a clock that jumps 3 seconds at each look."""
    screen, now = io.StringIO(), [0.0]

    def tick() -> float:
        now[0] += 3
        return now[0]

    monkeypatch.setattr("seqvae.utils.progress.time.monotonic", tick)
    made = Console(file=screen, force_terminal=terminal, width=100)
    monkeypatch.setattr("seqvae.cli.terminal.Console", lambda **settings: made)
    return screen


def test_inner_loops_show_a_bar_with_a_rate_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch, terminal=True)
    with progress_on_terminal():
        assert list(track(range(40), "encoding")) == list(range(40))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "40/40" in shown
    assert "encoding" in shown
    assert re.search(r"[\d,.e+]+/s", shown)
    assert Terminal.open_bars == 0


def test_inner_loops_show_nothing_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch, terminal=False)
    with progress_on_terminal():
        assert list(track(range(4), "encoding")) == [0, 1, 2, 3]
    assert screen.getvalue() == ""


def test_a_bar_of_its_own_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch, terminal=True)
    with progress_on_terminal():
        report = Terminal()
        report.advance(1, 9, "training")
        assert list(track(range(4), "encoding")) == [0, 1, 2, 3]
        report.close()
    assert "encoding" not in screen.getvalue()
    assert Terminal.open_bars == 0
