"""Every verb that takes `--device`, as typed on a command line."""

from __future__ import annotations

import contextlib
import io
import traceback
from pathlib import Path
from unittest import mock

from device_checks import on
from device_rows import Row

from seqvae.analysis.figures import FIGURES
from seqvae.analysis.sample_perplexity import SmallLM
from seqvae.cli import main
from seqvae.training.loop import train

A, B = "the old dog sees a ball .", "she sells eggs"
KINDS: dict[str, Row] = {
    "text": ("text", "latent", "gaussian"),
    "lm": ("text", "latent", "none"),
    "dial": ("text", "variant", "variable rate"),
    "image": ("image", "latent", "gaussian"),
}
TEXT: dict[str, tuple[str, ...]] = {
    "sample": ("sample", "text", "-n", "3"),
    "reconstruct": ("reconstruct", "text", A, B),
    "interpolate": ("interpolate", "text", A, B, "--steps", "3"),
    "encode": ("encode", "text", "--input", "{folder}/in.txt", "--output", "{folder}/z.npy"),
    "decode": ("decode", "text", "--input", "{folder}/z.npy"),
    "score": ("score", "text", A, B, "--samples", "3"),
    "edit": ("edit", "text", A, "--away", "{folder}/in.txt", "--towards", "{folder}/to.txt"),
    "edit by arithmetic": ("edit", "text", A, "--away", "{folder}/in.txt", "--towards", "{folder}/to.txt",
                           "--strength", "0.5,1"),
    "infill": ("infill", "text", "the ___ dog", "--beam", "2", "--rounds", "2", "--refine", "1"),
    "infill of a language model": ("infill", "lm", "the ___ dog"),
    "neighbors": ("neighbors", "text", A, "--examples", "20", "--metric", "kl"),
    "arithmetic": ("arithmetic", "text", f"{A} - {B} + {A}"),
    "export for the projector": ("export", "text", "{folder}/projector", "--projector", "--examples", "9"),
    "traverse": ("traverse", "text", "--dim", "0", "--steps", "3"),
    "fit-prior mixture": ("fit-prior", "text", "--prior", "mixture", "--components", "2", "--examples", "30",
                          "--samples", "2", "--name", "mixture"),
    "sample of a fitted prior": ("sample", "text", "-n", "3", "--prior", "mixture"),
    "evaluate under it": ("evaluate", "text", "--examples", "24", "--samples", "2", "--prior", "mixture"),
    "evaluate in bf16": ("evaluate", "text", "--examples", "24", "--samples", "2", "--precision", "bf16"),
    "evaluate, refined": ("evaluate", "text", "--examples", "24", "--samples", "2", "--refine", "2"),
    "probe": ("probe", "text", "tense", "--labels", "20", "--seeds", "1"),
    "quality": ("quality", "text", "--with", "{folder}/lm", "-n", "10"),
    "evaluate a language model": ("evaluate", "lm", "--examples", "24"),
}  # fmt: skip
OTHERS: dict[str, tuple[str, ...]] = {
    "fit-prior flow": ("fit-prior", "text", "--prior", "flow", "--examples", "30", "--samples", "2"),
    "rate": ("rate", "dial", "--data", "test", "--rates", "2,4", "--examples", "24"),
    "least rates": ("rate", "dial", A, "--rounds", "2"),
    "rate, chosen": ("rate", "dial", "--choose", "--rates", "2,4"),
    "evaluate at a rate": ("evaluate", "dial", "--rate", "3", "--examples", "24", "--samples", "2"),
    "sample at a rate": ("sample", "dial", "--rate", "3", "-n", "2"),
    "evaluate factors": ("evaluate", "image", "--samples", "2", "--factors"),
    "traverse pictures": ("traverse", "image", "--dim", "0", "--output", "{folder}/t.png"),
    "fit-prior of pictures": ("fit-prior", "image", "--components", "2", "--samples", "2"),
}  # fmt: skip
SHOWS = {
    **dict.fromkeys(("reconstructions", "samples", "interpolation", "manifold", "traversals"), ("image",)),
    "gain-by-position": ("text", "dial"),
    "needs": ("dial",),
    "sample-quality": ("text",),
}  # of which kinds of run a figure is; the others are of all
PLOTS = {
    f"plot {name} of {kind}": ("plot", kind, name, "--output", f"{{folder}}/{kind}-{name}.png", *more)
    for name in FIGURES
    for kind in SHOWS.get(name, ("text", "image", "dial"))
    for more in [("--with", "{folder}/lm") if name == "sample-quality" else ("--examples", "12")]
}


def make_runs(folder: Path, device: str) -> Path:
    """The folder with a tiny run of each kind, trained on a device, and sentences."""
    for kind, row in KINDS.items():
        train(on(row, device, "train.steps=2"), folder / kind)
    (folder / "in.txt").write_text(f"{A}\n{B}\n")
    (folder / "to.txt").write_text(f"do the dogs see a ball ?\n{A}\n")
    return folder


def run_verb(folder: Path, device: str, words: tuple[str, ...]) -> str:
    """Run a command on the runs of a folder; what went wrong, or nothing."""
    verb, kind, *rest = (word.format(folder=folder) for word in words)
    out, err = io.StringIO(), io.StringIO()
    small = mock.patch(
        "seqvae.analysis.sample_perplexity.SmallLM", return_value=SmallLM(embed=8, hidden=8, steps=2)
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), small:
        try:
            main([verb, str(folder / kind), *rest, "--device", device])
        except SystemExit as end:
            return "" if end.code == 0 else err.getvalue()
        except Exception as error:
            return "".join(traceback.format_exception(error))
    return "it did not end"
