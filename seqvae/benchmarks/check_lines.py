"""The target figures of a GPU check, and the verdict on each."""

from __future__ import annotations

from dataclasses import dataclass

OK, BELOW, NOT_RUN = "ok", "MISSED", "not run"
PEER_TIMES = "peers.seqvae lstm.times"


@dataclass(frozen=True)
class Target:
    """A figure of a section, and its goal."""

    what: str
    section: str
    figure: str
    goal: float | None  # None: the figure is only shown
    unit: str
    at_most: bool = False


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    what: str
    value: float | str | None
    wanted: str
    unit: str
    verdict: str

    @property
    def shown(self) -> str:
        """The value, with thousands separators."""
        if isinstance(self.value, float | int):
            return f"{self.value:,}"
        return self.value or "-"

    @property
    def good(self) -> bool:
        """Whether the figure reaches its goal, or was not run."""
        return not self.verdict.startswith((BELOW, "failed"))


def judge(target: Target, value: float | str | None, reason: str, counts: bool | str) -> Line:
    """The line of a figure; `reason` says why it is missing, `counts` why it is not judged (else True)."""
    sign = "<=" if target.at_most else ">="
    wanted = "" if target.goal is None else f"{sign} {target.goal:,}"
    return Line(target.what, value, wanted, target.unit, _verdict(target, value, reason, counts))


def _verdict(target: Target, value: float | str | None, reason: str, counts: bool | str) -> str:
    if reason.startswith("failed"):
        return reason
    if value is None:
        return f"{NOT_RUN}: {reason or 'the section gave no such figure'}"
    if counts is not True:
        return f"{NOT_RUN}: {counts}"
    if target.goal is None or isinstance(value, str):
        return ""
    enough = value <= target.goal if target.at_most else value >= target.goal
    return OK if enough else BELOW


def _speed(what: str, preset: str, goal: float | None, figure: str = "train_tokens_per_s") -> Target:
    return Target(what, preset, f"{preset}.{figure}", goal, "tokens/s")


def _shares(what: str, preset: str) -> list[Target]:
    """Ratios to a limit may not exceed 1: otherwise it is not a limit."""
    figures = ("train_limit_ratio", "train_floor_ratio")
    names = (f"  of {what}: share of the products' limit", "  ... and of the floor with sequential steps")
    return [
        Target(name, preset, f"{preset}.{figure}", 1.0, "", at_most=True)
        for name, figure in zip(names, figures, strict=True)
    ]


TARGETS: tuple[Target, ...] = (
    _speed("training, GRU 256, batch 32", "reference", 450_000),
    *_shares("it", "reference"),
    _speed("training, GRU 256, batch 128", "batch128", None),
    _speed("training, LSTM 256, batch 32", "lstm", None),
    Target("training, LSTM 256: times the faster peer", "peers", PEER_TIMES, 4.0, ""),
    _speed("training, GRU 1024, batch 64", "gru1024", 550_000),
    *_shares("it", "gru1024"),
    _speed("training, LSTM 1024, batch 32", "lstm1024", 350_000),
    *_shares("it", "lstm1024"),
    _speed("training, Transformer 6 x 512, batch 64", "transformer", 190_000),
    *_shares("it", "transformer"),
    _speed("greedy decoding, 256 sentences", "reference", 700_000, "decode_tokens_per_s"),
    _speed("greedy decoding, 2,048 sentences", "reference", 2_000_000, "decode2048_tokens_per_s"),
    Target("greedy over beam of 5", "reference", "reference.beam_cost", 6.0, "times", at_most=True),
    Target("IW-NLL, K = 20", "reference", "reference.iw_token_samples_per_s", 6_000_000, "token samples/s"),
    Target(
        "training, convolutions 28 x 28, batch 128", "conv", "conv.train_pictures_per_s", None, "pictures/s"
    ),
    *_shares("it", "conv"),
    Target("20 epochs of PTB's size, GRU 1024", "training", "training.seconds", 90.0, "s", at_most=True),
    Target("evaluate --samples 500, its test part", "evaluate", "evaluate.seconds", 60.0, "s", at_most=True),
    Target("CUDA tests that failed", "tests", "tests.failed", 0, "", at_most=True),
    Target("CUDA tests", "tests", "tests.summary", None, ""),
)
