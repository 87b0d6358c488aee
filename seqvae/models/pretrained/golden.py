"""Golden outputs: a run records hashes of its pretrained weights, and the outputs for a few sentences.

Shapes: B golden sentences, D latent dims, W vector width, C conditions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqvae.config.registry import lookup
from seqvae.config.schema import Component, RunConfig, TextRunConfig
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.batching import batch_from_ids, with_source
from seqvae.data.text.readers import Example
from seqvae.data.text.source import SourceRows
from seqvae.data.text.token_store import TokenStore
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError
from seqvae.interfaces import point_estimate
from seqvae.models.latents import LATENTS
from seqvae.models.pretrained.base import find_base
from seqvae.models.pretrained.sources import source_reader
from seqvae.utils.atomic_files import write_atomically

if TYPE_CHECKING:
    from seqvae.models.vae import VAE

GOLDEN_FILE, FOLDER = "golden.json", "base"
_SENTENCES = 3
_Z_TOLERANCE, _NLL_TOLERANCE = 1e-2, 1e-2  # relative to |z| + 1 and NLL + 1, for other devices and kernels


def pretrained_parts(config: RunConfig) -> dict[str, Component]:
    """The parts of a model with pretrained weights, by name."""
    parts = {"encoder": config.encoder, "decoder": config.decoder}
    if not lookup("latent", LATENTS, config.latent.name).needs_encoder:
        del parts["encoder"]
    return {part: spec for part, spec in parts.items() if spec.name == "pretrained"}


def base_facts(config: RunConfig) -> dict[str, dict[str, str | None]]:
    """Name, revision and SHA-256 of each part's pretrained weights, for config.json.

    Raises:
        UserError: a missing model.
    """
    facts = {}
    for part, spec in pretrained_parts(config).items():
        base = find_base(str(spec.arguments.get("model", "")), spec.arguments.get("revision"))
        facts[part] = {"model": base.name, "revision": base.revision, "sha256": base.sha256}
    return facts


def with_bases(config: RunConfig, card: Mapping[str, Any], path: Path) -> RunConfig:
    """The config of a saved run, with its own copy of the pretrained models or the commit of training.

    Raises:
        UserError: the weights are not those of training.
    """
    known: Mapping[str, Any] = card.get("bases") or {}
    changed = {}
    for part, spec in pretrained_parts(config).items():
        own = path / FOLDER / part  # exported with `whole`
        there = {"model": str(own), "revision": None} if own.is_dir() else {}
        revision = known.get(part, {}).get("revision")
        changed[part] = spec.model_copy(update={"revision": revision, **there})
    config = config.model_copy(update=changed)
    for part, now in base_facts(config).items():
        before = known.get(part, {}).get("sha256")  # absent in runs of older versions
        if before is not None and before != now["sha256"]:
            raise UserError(
                f"the {part}'s base {now['model']} has other weights (sha256 {str(now['sha256'])[:12]}) than "
                f"the run {path} was trained on ({before[:12]}): put the old ones back"
            )
    return config


def copy_bases(config: RunConfig, folder: Path) -> None:
    """Copy a config's pretrained models into a run's folder, where loading looks first.

    Raises:
        UserError: a missing model.
    """
    for part, spec in pretrained_parts(config).items():
        base = find_base(str(spec.arguments["model"]), spec.arguments.get("revision"))
        shutil.copytree(base.folder, folder / FOLDER / part, dirs_exist_ok=True)


def write_golden(path: Path, config: RunConfig, vae: VAE, data: Any) -> None:
    """Record the model's outputs for the first validation sentences, if it has pretrained parts.

    A later change, such as another version of a library, is detected when the run is loaded.
    """
    if not pretrained_parts(config):
        return
    assert isinstance(config, TextRunConfig)
    store: TokenStore = data.valid
    rows = range(min(_SENTENCES, len(store)))
    known: dict[str, Any] = {"ids": [store.tokens(i).tolist() for i in rows]}
    known["labels"] = [[_number(x) for x in row] for row in store.labels[: len(rows)].tolist()]
    if config.encoder.name == "vectors" and store.source is not None:
        known["vectors"] = store.source.rows(torch.tensor(list(rows)).numpy()).values.tolist()
    device = next(vae.parameters()).device
    batch = _batch(known, config, data.codec).to(device)
    training = vae.training
    # recorded, because a later choice of a default rate changes the outputs too
    condition = vae.eval().latent.default_condition(batch.random)
    known["condition"] = None if condition is None else condition.tolist()
    z, nll = _compute(vae, batch)
    vae.train(training)
    known |= {"z": z.tolist(), "nll": nll.tolist(), "versions": _versions()}
    text = json.dumps(known) + "\n"
    write_atomically(path / GOLDEN_FILE, lambda file: file.write_text(text, encoding="utf-8"))


def check_golden(path: Path, config: RunConfig, vae: VAE, codec: Any) -> None:
    """Compare a loaded model's outputs for the golden sentences with the recorded ones.

    Raises:
        UserError: they differ; the message names the versions.
    """
    if not pretrained_parts(config) or not (path / GOLDEN_FILE).is_file():
        return
    assert isinstance(config, TextRunConfig)
    known = json.loads((path / GOLDEN_FILE).read_text(encoding="utf-8"))
    device = next(vae.parameters()).device
    batch = _batch(known, config, codec).to(device)
    if known["condition"] is not None:
        batch = batch.replace(condition=torch.tensor(known["condition"], device=device))
    z, nll = _compute(vae, batch)
    z_off = _largest((z - torch.tensor(known["z"]).view_as(z)).abs() / (1 + z.abs()))
    nll_off = _largest((nll - torch.tensor(known["nll"])).abs() / (1 + nll))
    if z_off <= _Z_TOLERANCE and nll_off <= _NLL_TOLERANCE:
        return
    then, now = _one_line(known["versions"]), _one_line(_versions())
    raise UserError(
        f"{path} no longer does what it did when it was saved: z differs by {z_off:.2g} and NLL by "
        f"{nll_off:.2g} of their size (saved with {then}; here {now}): install the versions it was saved with"
    )


def _batch(known: Mapping[str, Any], config: TextRunConfig, codec: TextTokenizer) -> TextBatch:
    batch = batch_from_ids(known["ids"], codec.special)
    labels = [[float("nan") if x is None else x for x in row] for row in known["labels"]]
    batch = batch.replace(labels=torch.tensor(labels).view(batch.size, -1))
    reader = source_reader(config)
    if reader is None:
        return batch
    if "vectors" in known:
        return with_source(batch, SourceRows(torch.tensor(known["vectors"]).numpy()))
    return with_source(batch, reader.read([Example(text) for text in codec.decode_batch(known["ids"])]))


@torch.no_grad()
def _compute(vae: VAE, batch: TextBatch) -> tuple[Tensor, Tensor]:
    """The code (B, D) of each sentence, and its NLL (B,) given that code; in evaluation mode."""
    q = vae.posterior(batch)
    z = point_estimate(q)
    c = vae.condition(batch)
    nll = -vae.likelihood(z[None], c).log_prob(batch)[0]
    return z.float().cpu(), nll.float().cpu()


def _largest(x: Tensor) -> float:
    return float(x.max()) if x.numel() else 0.0


def _number(x: float) -> float | None:
    """None for NaN, which JSON lacks."""
    return None if x != x else x


def _one_line(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers")}
