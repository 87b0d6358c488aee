"""Figures of a finished run: they are measured here, and drawn by `seqvae.plots`.

Shapes: N examples, D latent dims, T steps, C x H x W an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os.path import commonpath
from typing import Any

import torch
from torch import Tensor

from seqvae import plots
from seqvae.analysis.measurements import PlotInputs
from seqvae.analysis.rate_figures import minimum_rates, rate_distortion, sample_quality
from seqvae.config.registry import lookup
from seqvae.errors import UserError
from seqvae.models.latent_directions import rank_dims_by_kl, traverse_dim
from seqvae.models.sampling import interpolate_codes, resample_conditions, sample_prior
from seqvae.runs.metrics_log import read_metrics


def draw_figure(subject: PlotInputs, name: str) -> Any:
    """Draw the figure `name`, one of `FIGURES`.

    Raises:
        UserError: no such figure, or it does not apply to the run.
    """
    made = lookup("plot", FIGURES, name)
    if subject.beside is not None and name != "traversals":
        raise UserError(f"plot {name!r} shows one run: --beside is for traversals")
    for vae in (subject.vae, subject.beside):
        if vae is not None and vae.latent_dim == 0 and name not in WITHOUT_A_CODE:
            raise UserError(f"plot {name!r} shows codes, {vae.run.path} has none (latent: none)")
    return made(subject)


def reconstructions(subject: PlotInputs, n: int = 20) -> Any:
    """Evaluation images above their reconstructions, with their own labels if the model is conditional."""
    originals, c = subject.originals(n), subject.conditions
    return plots.reconstructions(originals, subject.decode(subject.gathered["code"][:n], _rows(c, slice(n))))


def samples(subject: PlotInputs, n: int = 100) -> Any:
    """Images from prior samples, with labels of evaluation examples if the model is conditional."""
    model = subject.pictures.vae
    c = resample_conditions(model, subject.batches, n)
    return plots.samples(subject.decode(sample_prior(model, n, subject.seed, c=c).cpu(), c))


def interpolation(subject: PlotInputs, rows: int = 6, steps: int = 9) -> Any:
    """Paths between the codes of consecutive evaluation images; labels are interpolated too."""
    subject.pictures  # noqa: B018 - raises for a text run
    z, c = subject.gathered["code"], subject.conditions
    pairs = [(i, i + 1) for i in range(0, min(2 * rows, len(z) - 1), 2)]
    paths = [interpolate_codes(z[a], z[b], steps) for a, b in pairs]
    path_labels = [None if c is None else interpolate_codes(c[a], c[b], steps) for a, b in pairs]
    strips = [subject.decode(path, labels) for path, labels in zip(paths, path_labels, strict=True)]
    return plots.interpolation(torch.stack(strips))


def codes(subject: PlotInputs) -> Any:
    """Posterior means in the plane of the two dims with the highest KL, coloured by a label."""
    labels, name = subject.labels
    dims = _two(subject)
    return plots.codes(subject.gathered["mean"][:, dims], labels, name, dims)


def manifold(subject: PlotInputs, side: int = 20) -> Any:
    """Decoded grid over the two dims with the highest KL, at equal prior mass; the other dims are 0."""
    axis, (first, second) = plots.manifold_axis(side), _two(subject)
    z = torch.zeros(side, side, subject.vae.latent_dim)
    z[..., first], z[..., second] = torch.tensor(axis).float(), torch.tensor(axis).float()[:, None]
    drawn = subject.pictures.decode(z.flatten(0, 1))
    return plots.manifold(drawn.reshape(side, side, *drawn.shape[1:]), axis, (first, second))


def tsne(subject: PlotInputs) -> Any:
    """A t-SNE embedding of posterior means, coloured by a label."""
    labels, name = subject.labels
    return plots.tsne(plots.tsne_embedding(subject.gathered["mean"].numpy(), subject.seed), labels, name)


def traversals(subject: PlotInputs, steps: int = 9) -> Any:
    """Traverse each dim from -3 to 3 at the code of the first evaluation image.

    Traversals of the run `beside`, if there is one, are drawn to the right.

    Raises:
        UserError: the two runs are the same.
    """
    values, other = torch.linspace(-3, 3, steps), subject.beside
    if other is None:
        return plots.traversals(*_traverse(subject, steps), values)
    paths = [vae.run.path.resolve() for vae in (subject.vae, other)]
    if paths[0] == paths[1]:
        raise UserError(f"--beside got {other.run.path}, which is shown already: name another run")
    names = [path.relative_to(commonpath(paths)).as_posix() for path in paths]
    both = [_traverse(one, steps) for one in (subject, replace(subject, vae=other, beside=None))]
    return plots.traversals_beside(dict(zip(names, both, strict=True)), values)


def _traverse(subject: PlotInputs, steps: int) -> tuple[Tensor, Tensor]:
    """Images (D, T, C, H, W), one row per dim, and the KL of each dim (D,) in nats."""
    subject.pictures  # noqa: B018 - raises for a text run
    base, c = subject.gathered["code"][0], _rows(subject.conditions, [0] * steps)
    rows = [subject.decode(traverse_dim(base, i, steps=steps)[0], c) for i in range(len(base))]
    return torch.stack(rows), subject.kl


def posterior(subject: PlotInputs) -> Any:
    """The aggregated posterior of each dim against the prior."""
    model, n = subject.vae.vae, 4000
    prior = sample_prior(model, n, subject.seed, c=resample_conditions(model, subject.batches, n)).cpu()
    return plots.posterior(subject.gathered["z"], subject.kl, prior)


def kl_per_dim(subject: PlotInputs) -> Any:
    """KL per dim in nats, sorted."""
    return plots.kl_per_dim(subject.kl)


def gain_by_position(subject: PlotInputs) -> Any:
    """Gain from the code in nats, by token position.

    Raises:
        UserError: not a text run.
    """
    report = subject.vae.evaluate(samples=1, examples=subject.examples)
    if "gain_by_position" not in report:
        raise UserError(
            f"{subject.vae.run.path} is a run of {subject.vae.modality}: its examples have no words"
        )
    return plots.gain_by_position({subject.vae.run.path.name: report["gain_by_position"]})


def curves(subject: PlotInputs) -> Any:
    """Training curves."""
    return plots.curves({subject.vae.run.path.name: list(read_metrics(subject.vae.run.path))})


def _rows(c: Tensor | None, rows: slice | list[int]) -> Tensor | None:
    return None if c is None else c[rows]


def _two(subject: PlotInputs) -> list[int]:
    """The two dims with the highest KL.

    Raises:
        UserError: the code has only one dim.
    """
    if subject.vae.latent_dim < 2:
        raise UserError("a plane needs a code of at least 2 dims: train one with latent.dim=2")
    return [int(dim) for dim in rank_dims_by_kl(subject.kl)[:2]]


WITHOUT_A_CODE = ("curves", "rate-distortion")
FIGURES: dict[str, Callable[[PlotInputs], Any]] = {
    "reconstructions": reconstructions,
    "samples": samples,
    "interpolation": interpolation,
    "codes": codes,
    "manifold": manifold,
    "tsne": tsne,
    "traversals": traversals,
    "posterior": posterior,
    "kl-per-dim": kl_per_dim,
    "gain-by-position": gain_by_position,
    "curves": curves,
    "rate-distortion": rate_distortion,
    "needs": minimum_rates,
    "sample-quality": sample_quality,
}
