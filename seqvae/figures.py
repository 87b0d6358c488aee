"""Pictures of a finished run: what each needs is measured here, and drawn by `seqvae.plots`.

Shapes: N examples, D latent dims, T steps, C x H x W a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os.path import commonpath
from typing import Any

import torch
from torch import Tensor

from seqvae import plots
from seqvae.asked import Asked
from seqvae.checkpoint import read_metrics
from seqvae.generate import prior_codes
from seqvae.rate_figures import needs, rate_distortion, sample_quality
from seqvae.registry import UserError, lookup
from seqvae.traverse import most_used_dims, traversal


def draw(asked: Asked, name: str) -> Any:
    """The figure called `name`, one of `DRAWN`.

    Raises:
        UserError: no such figure, or the run has nothing to show in it.
    """
    made = lookup("plot", DRAWN, name)
    if asked.beside is not None and name != "traversals":
        raise UserError(f"plot {name!r} shows one run: --beside is for traversals")
    for vae in (asked.vae, asked.beside):
        if vae is not None and vae.latent_dim == 0 and name not in WITHOUT_A_CODE:
            raise UserError(f"plot {name!r} shows codes, {vae.run.path} has none (latent: none)")
    return made(asked)


def reconstructions(asked: Asked, n: int = 20) -> Any:
    """Evaluation pictures above what came back of them."""
    originals = asked.originals(n)
    return plots.reconstructions(originals, asked.pictures.decode(asked.gathered["code"][:n]))


def samples(asked: Asked, n: int = 100) -> Any:
    """Pictures from prior codes."""
    return plots.samples(asked.pictures.sample(n, asked.seed))


def interpolation(asked: Asked, rows: int = 6, steps: int = 9) -> Any:
    """Paths between the codes of consecutive evaluation pictures."""
    vae, originals = asked.pictures, asked.originals(2 * rows)
    strips = [vae.interpolate(a, b, steps) for a, b in zip(originals[::2], originals[1::2], strict=True)]
    return plots.interpolation(torch.stack(strips))


def codes(asked: Asked) -> Any:
    """Posterior means on the plane of the two dims that carry most, coloured by a label."""
    labels, name = asked.labels
    dims = _two(asked)
    return plots.codes(asked.gathered["mean"][:, dims], labels, name, dims)


def manifold(asked: Asked, side: int = 20) -> Any:
    """What the decoder makes of the two dims that carry most, at equal prior mass; the others are 0."""
    axis, (first, second) = plots.manifold_axis(side), _two(asked)
    z = torch.zeros(side, side, asked.vae.latent_dim)
    z[..., first], z[..., second] = torch.tensor(axis).float(), torch.tensor(axis).float()[:, None]
    drawn = asked.pictures.decode(z.flatten(0, 1))
    return plots.manifold(drawn.reshape(side, side, *drawn.shape[1:]), axis, (first, second))


def tsne(asked: Asked) -> Any:
    """A t-SNE map of posterior means, coloured by a label."""
    labels, name = asked.labels
    return plots.tsne(plots.tsne_embedding(asked.gathered["mean"].numpy(), asked.seed), labels, name)


def traversals(asked: Asked, steps: int = 9) -> Any:
    """Each dim moved from -3 to 3 from the code of the first evaluation picture, the others left alone.

    Another run's stand to the right of them, if asked for.

    Raises:
        UserError: a run beside itself.
    """
    values, other = torch.linspace(-3, 3, steps), asked.beside
    if other is None:
        return plots.traversals(*_traversed(asked, steps), values)
    paths = [vae.run.path.resolve() for vae in (asked.vae, other)]
    if paths[0] == paths[1]:
        raise UserError(f"--beside got {other.run.path}, which is shown already: name another run")
    names = [path.relative_to(commonpath(paths)).as_posix() for path in paths]
    both = [_traversed(one, steps) for one in (asked, replace(asked, vae=other, beside=None))]
    return plots.traversals_beside(dict(zip(names, both, strict=True)), values)


def _traversed(asked: Asked, steps: int) -> tuple[Tensor, Tensor]:
    """Pictures (D, T, C, H, W), a row a dim, and the nats of each dim (D,)."""
    vae, base = asked.pictures, asked.gathered["code"][0]
    rows = [vae.decode(traversal(base, dim, steps=steps)[0]) for dim in range(vae.latent_dim)]
    return torch.stack(rows), asked.kl


def posterior(asked: Asked) -> Any:
    """The aggregated posterior of each dim against the prior."""
    prior = prior_codes(asked.vae.vae, 4000, asked.seed).cpu()
    return plots.posterior(asked.gathered["z"], asked.kl, prior)


def kl_per_dim(asked: Asked) -> Any:
    """Nats a dim, sorted."""
    return plots.kl_per_dim(asked.kl)


def gain_by_position(asked: Asked) -> Any:
    """Nats that the code gains at each word of a sentence.

    Raises:
        UserError: the examples have no positions.
    """
    report = asked.vae.evaluate(samples=1, examples=asked.examples)
    if "gain_by_position" not in report:
        raise UserError(f"{asked.vae.run.path} is a run of {asked.vae.modality}: its examples have no words")
    return plots.gain_by_position({asked.vae.run.path.name: report["gain_by_position"]})


def curves(asked: Asked) -> Any:
    """How the training went."""
    return plots.curves({asked.vae.run.path.name: list(read_metrics(asked.vae.run.path))})


def _two(asked: Asked) -> list[int]:
    """The two dims that carry most.

    Raises:
        UserError: the code has one.
    """
    if asked.vae.latent_dim < 2:
        raise UserError("a plane needs a code of at least 2 dims: train one with latent.dim=2")
    return [int(dim) for dim in most_used_dims(asked.kl)[:2]]


WITHOUT_A_CODE = ("curves", "rate-distortion")
DRAWN: dict[str, Callable[[Asked], Any]] = {
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
    "needs": needs,
    "sample-quality": sample_quality,
}
