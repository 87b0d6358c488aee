"""Comparison of training speed with other projects, whose clones the user provides."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from seqvae.benchmarks.presets import WORDS, write_made_up
from seqvae.benchmarks.turns import Candidate, python, take_turns
from seqvae.errors import UserError

PEERS = ("vae-lagging-encoder", "text-autoencoders")  # names of their repositories
WORKER = Path(__file__).with_name("peer_worker.py")
OURS: dict[str, tuple[str, ...]] = {  # a preset, and what is changed in it
    "seqvae reference": ("reference",),
    "seqvae lstm": ("lstm",),
    "seqvae lstm, fp32": ("lstm", "train.precision=fp32"),
}
AS_BY_THEMSELVES = {"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None}  # unset: our commands set them
SENTENCES = 42_068  # of the Penn Treebank's training part


@dataclass(frozen=True)
class Sizes:
    """Sizes that all models share."""

    embed: int = 300
    hidden: int = 256
    dim: int = 16
    batch: int = 32

    def overrides(self) -> list[str]:
        """The sizes as overrides of our presets."""
        parts = [(f"{part}.{key}", getattr(self, key)) for part in ("encoder", "decoder") for key in
                 ("embed", "hidden")]  # fmt: skip
        values = [*parts, ("latent.dim", self.dim), ("train.batch_size", self.batch)]
        return [f"{key}={value}" for key, value in values]


DEFAULT = Sizes()


def peer_speeds(
    folder: Path,
    text: Path | None = None,
    overrides: Iterable[str] = (),
    seconds: float = 3.0,
    rounds: int = 5,
    sizes: Sizes = DEFAULT,
) -> list[dict[str, Any]]:
    """Rows of `name`, `tokens_per_s`, and `times` the fastest peer, of models that train on one text.

    `folder` holds clones of the peers' repositories under their names. Peers are LSTMs in fp32, their
    own default; ours are the GRU of the reference preset and an LSTM, the latter in fp32 too.
    Without a `text` it is made up. `overrides` apply only to ours, except `train.device`.

    Raises:
        UserError: none of the clones is there, or a process ended.
    """
    there = [name for name in PEERS if (folder / name).is_dir()]
    if not there:
        raise UserError(f"{folder} holds none of {', '.join(PEERS)}: clone them there")
    overrides = list(overrides)
    devices = [value for key, _, value in (o.partition("=") for o in overrides) if key == "train.device"]
    with _text_file(text) as file:
        own = [f"data.train={file}", *sizes.overrides(), *overrides]
        ours = [
            Candidate(name, python("-m", "seqvae.benchmarks.worker", preset, *own, *more))
            for name, (preset, *more) in OURS.items()
        ]
        given = (str(file), *map(str, astuple(sizes)), *(devices[-1:] or ["auto"]))
        peers = [
            Candidate(name, python(str(WORKER), name, str(folder / name), *given), AS_BY_THEMSELVES)
            for name in there
        ]
        (speeds,) = take_turns([*ours, *peers], rounds, seconds).values()
    fastest = max(speeds[name] for name in there)
    return [
        {"name": name, "tokens_per_s": round(speed), "times": round(speed / fastest, 2)}
        for name, speed in speeds.items()
    ]


@contextmanager
def _text_file(text: Path | None) -> Iterator[Path]:
    """The text that is given, or one as large as the Penn Treebank."""
    with tempfile.TemporaryDirectory() as folder:
        if text is None:
            text = Path(folder) / "made-up.txt"
            write_made_up(text, WORDS, SENTENCES)
        yield text.resolve()
