"""Lesson memorising: a plain autoencoder overfits a small training set more than a VAE does.

Distortion is -log p(x|z) in nats per image at the encoder's code (one posterior sample for a VAE).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqvae.config.schema import RunConfig
from seqvae.experiments.lessons.plots import log_ticks
from seqvae.experiments.lessons.recipes import KINDS, picture_config
from seqvae.experiments.lessons.runner import LessonArgs, Numbers, Runs, Table
from seqvae.plots.style import INK, colour, label_axes, legend_beside, new_figure
from seqvae.runs.metrics_log import read_metrics

NAME = "memorising"
ABOUT = "a plain autoencoder learns a small training set by heart, a VAE less so"
PAPER = "Kingma & Welling, Auto-Encoding Variational Bayes"
YEAR = 2014
TAKES_DATA = True

EXAMPLES, STEPS, EVERY, DIM = 500, 1000, 25, 16
NOTHING = 0.01  # fraction of the best held-out distortion: a smaller rise is no reason to stop


def configs(material: LessonArgs) -> dict[str, RunConfig]:
    """An autoencoder and a VAE on the first 500 training images, which differ only in the latent."""
    data = {"name": "shapes", "examples": EXAMPLES}
    often: dict[str, Any] = {
        "validate_every": EVERY,
        "log_every": EVERY,
        "save_every": STEPS,
        "decay": "none",
    }
    return {
        name: picture_config(material, data, {"name": latent, "dim": DIM}, steps=STEPS, **often)
        for name, latent in KINDS.items()
    }


def measure(runs: Runs, material: LessonArgs) -> Numbers:
    """The `validation_curve` of each training log."""
    return {name: validation_curve(list(read_metrics(run))) for name, run in runs.items()}


def validation_curve(lines: list[dict[str, Any]]) -> Numbers:
    """Training distortion (means between two logged steps) and held-out distortion over the steps.

    `stop`: the step of the lowest held-out distortion, whose weights early stopping keeps; `rise`: from
    there to the end; `gap`: held out minus training, at the end.
    """
    found = {kind: {m["step"]: m["distortion"] for m in lines if m["kind"] == kind} for kind in KIND}
    heldout, training = found["valid"], found["train"]
    stop, last = min(heldout, key=lambda step: heldout[step]), max(heldout)
    return {
        "steps": list(heldout),
        "heldout": list(heldout.values()),
        "training_steps": list(training),
        "training": list(training.values()),
        "stop": stop,
        "best": heldout[stop],
        "rise": heldout[last] - heldout[stop],
        "gap": heldout[last] - training[max(training)],
    }


KIND = ("train", "valid")


def table(numbers: Numbers) -> Table:
    """Nats per image at the end, and the step of early stopping."""
    head = ("model", "training", "held out", "gap", "best held out", "at step", "rise since")
    nats = {name: (m["training"][-1], m["heldout"][-1], m["gap"], m["best"]) for name, m in numbers.items()}
    rows = [
        (name, *(f"{x:.1f}" for x in nats[name]), str(m["stop"]), f"{m['rise']:.1f}")
        for name, m in numbers.items()
    ]
    return head, rows


def conclude(numbers: Numbers) -> str:
    """Which model has the larger gap, and when each should stop."""
    ae, vae = numbers["autoencoder"], numbers["VAE"]
    gaps = f"({ae['gap']:.1f} nats between training and held-out pictures against {vae['gap']:.1f})"
    if vae["gap"] < ae["gap"]:
        verdict = f"The autoencoder memorises more than the VAE {gaps}"
    else:
        verdict = f"The VAE memorises as much as the autoencoder or more {gaps}"
    return f"{verdict}; {'; '.join(_stopping(name, m) for name, m in numbers.items())}."


def _stopping(name: str, m: Mapping[str, Any]) -> str:
    last = m["steps"][-1]
    if m["rise"] <= NOTHING * abs(m["best"]):
        return f"the {name} has no reason to stop before step {last}"
    return f"early stopping would keep the {name} of step {m['stop']} of {last}"


def draw(numbers: Numbers, runs: Runs, material: LessonArgs) -> Any:
    """Plot training and held-out distortion over the steps, on a log axis, and the early stops."""
    figure = new_figure(7.4, 4.2)
    axes, handles = figure.subplots(), []
    for i, (name, m) in enumerate(numbers.items()):
        look: dict[str, Any] = {"color": colour(i), "linewidth": 1.6}
        handles += axes.plot(m["steps"], m["heldout"], label=f"{name}, held out", **look)
        dashed: dict[str, Any] = {"linestyle": (0, (3, 1.5)), "label": f"{name}, training"}
        handles += axes.plot(m["training_steps"], m["training"], **look, **dashed)
        stop: dict[str, Any] = {
            "marker": "o",
            "color": colour(i),
            "markeredgecolor": INK,
            "linestyle": "none",
        }
        handles += axes.plot(m["stop"], m["best"], label=f"{name}, early stop", **stop)
    log_ticks(axes.yaxis, axes)
    label_axes(axes, "step", "distortion (nats per picture)")
    legend_beside(figure, handles)
    return figure
