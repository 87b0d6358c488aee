"""What every row of every table owes: it builds, trains, saves, loads and names its source.

A new row is tested here without a line of test code.
"""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_backbones import tiny_model
from tiny_pictures import SHAPE, picture_batch
from tiny_text import ATTENTION, ENCODERS, RECURRENT, SIZES, WORDS, Spec, text_batch, tiny_config

from seqvae.build import build_objective, build_vae, catalogue, check_config
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.data.text.batching import with_source
from seqvae.data.text.source import SourceFacts, SourceRows
from seqvae.data.text.tokenizer_training import TOKENIZERS
from seqvae.errors import UserError
from seqvae.interfaces import Citable, RunContext
from seqvae.keyed_noise import KeyedNoise
from seqvae.modalities import MODALITIES
from seqvae.models.latents import LATENTS
from seqvae.models.priors import PRIORS
from seqvae.models.vae import VAE
from seqvae.objectives import ELBO, OBJECTIVES
from seqvae.remedies import REMEDIES
from seqvae.runs.weights import WEIGHTS, read_weights, save_weights
from seqvae.training.optim import make_optimizer

SHARED: dict[str, dict[str, type[Citable]]] = {
    "latent": dict(LATENTS),
    "prior": dict(PRIORS),
    "remedy": dict(REMEDIES),
    "objective": dict(OBJECTIVES),
}
TABLES = {
    name: {"encoder": dict(modality.encoders), "decoder": dict(modality.decoders), **SHARED}
    for name, modality in MODALITIES.items()
}
ROWS = [
    (modality, kind, name)
    for modality, tables in TABLES.items()
    for kind, table in tables.items()
    for name, made in table.items()
    if getattr(made, "batch_type", "any") in ("any", modality)
]
LATENT: Spec = {"name": "gaussian", "dim": 2}
SMALL: dict[str, Spec] = {
    "text": {"decoder": {"name": "gru", **RECURRENT}, "encoder": ENCODERS["gru"]},
    "image": {"decoder": {"name": "mlp", "hidden": [9]}, "encoder": {"name": "mlp", "hidden": [9]}},
}
WIDTH = 5  # of the vectors that an encoder reads
CODECS = {"text": {**SIZES, "source": SourceFacts(WIDTH)}, "image": {"shape": SHAPE}}
TOLD: dict[str, Any] = {"data": {"labels": ["size"]}, "condition": {"size": {"classes": list(range(7))}}}
CONDITIONED = ("conditional", "semi_supervised")  # rows that need a label
rows = pytest.mark.parametrize(("modality", "kind", "name"), ROWS, ids=["-".join(row) for row in ROWS])


def batch_of(modality: str, seed: int = 0, step: int = 0, vae: VAE | None = None) -> Any:
    """A tiny batch, with vectors where the model's encoder reads such; the noise is that of a step."""
    if modality == "text":
        batch = text_batch(seed=seed, step=step).replace(labels=torch.arange(7.0)[:, None])
        if vae is None or not vae.encoder.own_source:
            return batch
        vectors = torch.randn(batch.size, WIDTH, generator=torch.Generator().manual_seed(1))
        return with_source(batch, SourceRows(vectors.numpy()))
    batch = picture_batch(5)
    return batch.replace(random=KeyedNoise(seed, step, batch.index), labels=torch.arange(5.0)[:, None])


def config_of(modality: str, kind: str, name: str) -> RunConfig:
    """Tiny everywhere but in the row itself, which has nothing but its name."""
    parts: dict[str, Any] = {"train": {"lr": 1e-3}}
    if kind == "remedy":
        parts["remedies"] = [{"name": name}]
        parts |= {"encoder": {"name": "vectors"}} if name == "align" else {}
    elif kind == "prior":
        home = next((row for row, made in LATENTS.items() if made.default_prior == name), "gaussian")
        sizes = {"dim": 2} if "dim" in inspect.signature(LATENTS[home]).parameters else {}
        parts["latent"] = {"name": home, **sizes, "prior": {"name": name}}
    else:
        needed = {"model": tiny_model(kind, WORDS)} if name == "pretrained" else {}
        parts[kind] = {"name": name, **needed}
    parts |= TOLD if name in CONDITIONED else {}
    return parse_config({"modality": modality, "latent": LATENT, **SMALL[modality], **parts})


def built(config: RunConfig) -> tuple[VAE, ELBO]:
    torch.manual_seed(0)
    vae = build_vae(config, CODECS[config.modality])
    words = WORDS if config.modality == "text" else None
    facts = RunContext(10, 50, 5, vae.latent.dim, words, ("size",))
    return vae, build_objective(config, vae, facts)


def trained(config: RunConfig, steps: int, precision: str = "fp32") -> tuple[VAE, ELBO, list[float]]:
    vae, objective = built(config)
    separate = [p for module in objective.discriminators() for p in module.parameters()]
    parameters = torch.nn.ModuleList([vae, objective])
    optimizer, losses = make_optimizer(config.train, parameters, without=separate), []
    for step in range(steps):
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = objective(vae.train(), batch_of(config.modality, 1, step, vae), step)
        loss.total.backward()
        for name, parameter in vae.named_parameters():
            assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), name
        optimizer.step()
        optimizer.zero_grad()
        objective.after_step(loss.detach())
        losses.append(float(loss.total.detach()))
    return vae, objective, losses


@rows
def test_builds_from_its_name_alone(modality: str, kind: str, name: str) -> None:
    config = config_of(modality, kind, name)
    check_config(config)
    vae, _ = built(config)
    made = type(getattr(vae, kind, None))
    if kind in ("latent", "prior", "decoder", "encoder"):
        assert made is TABLES[modality][kind][name]


@rows
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_trains(modality: str, kind: str, name: str, precision: str) -> None:
    vae, _, losses = trained(config_of(modality, kind, name), 3, precision)
    assert all(math.isfinite(loss) for loss in losses)
    before, _ = built(config_of(modality, kind, name))
    moved = [not torch.equal(a, b) for a, b in zip(before.parameters(), vae.parameters(), strict=True)]
    trains = [p.requires_grad for p in vae.parameters()]  # a borrowed model may not
    assert moved == trains, [n for (n, _), m in zip(vae.named_parameters(), moved, strict=True) if not m]


@rows
def test_bf16_computes_nearly_the_same(modality: str, kind: str, name: str) -> None:
    vae, objective = built(config_of(modality, kind, name))
    with torch.no_grad():
        exact = objective(vae.eval(), batch_of(modality, vae=vae), 3)
        with torch.autocast("cpu", torch.bfloat16):
            got = objective(vae.eval(), batch_of(modality, vae=vae), 3)
    for value in ("total", "rate", "distortion"):
        assert getattr(got, value).dtype == torch.float32, value
        torch.testing.assert_close(getattr(got, value), getattr(exact, value), atol=0.02, rtol=0.02)


def saved_and_loaded(vae: VAE, config: RunConfig, folder: Path) -> VAE:
    folder.mkdir(exist_ok=True)
    save_weights(folder, vae)
    torch.manual_seed(77)  # other initial weights
    other = build_vae(config, CODECS[config.modality])
    read_weights(other, folder / WEIGHTS)
    return other


@rows
def test_saves_and_loads(modality: str, kind: str, name: str, tmp_path: Path) -> None:
    config = config_of(modality, kind, name)
    vae, objective, _ = trained(config, 2)
    other = saved_and_loaded(vae, config, tmp_path)
    assert vae.state_dict().keys() == other.state_dict().keys()
    with torch.no_grad():
        batch = batch_of(modality, vae=vae)
        one, same = vae.eval()(batch), other.eval()(batch)
    assert torch.equal(one.log_px_z, same.log_px_z)
    assert torch.equal(one.kl, same.kl)
    _, fresh = built(config)
    torch.save(objective.state_dict(), tmp_path / "objective.pt")
    fresh.load_state_dict(torch.load(tmp_path / "objective.pt", weights_only=True), strict=True)
    assert not any(isinstance(module, VAE) for module in objective.modules())  # or it would be saved twice


@rows
def test_goes_on_as_if_it_had_not_stopped(modality: str, kind: str, name: str) -> None:
    """Two steps, a new process, one more step: the loss of the third step is that of three in a row."""
    config = config_of(modality, kind, name)
    vae, objective, losses = trained(config, 3)
    half, half_objective, _ = trained(config, 2)
    fresh, fresh_objective = built(config)
    fresh.load_state_dict(half.state_dict())
    fresh_objective.load_state_dict(half_objective.state_dict())
    torch.manual_seed(2)
    loss = fresh_objective(fresh.train(), batch_of(modality, 1, 2, fresh), 2)
    assert float(loss.total.detach()) == losses[2]
    assert len(list(vae.parameters())) == len(list(fresh.parameters()))
    assert objective.schedule_end() == fresh_objective.schedule_end()


@pytest.mark.parametrize(
    ("name", "sizes"), [("gru", RECURRENT), ("lstm", RECURRENT), ("transformer", ATTENTION)]
)
def test_tied_weights_stay_tied(name: str, sizes: Spec, tmp_path: Path) -> None:
    config = tiny_config(decoder={"name": name, **sizes, "tie": True}, train={"lr": 1e-3})
    vae, _, _ = trained(config, 2)
    assert vae.decoder.head.weight is vae.decoder.embedding.weight
    other = saved_and_loaded(vae, config, tmp_path / "run")
    assert other.decoder.head.weight is other.decoder.embedding.weight
    assert torch.equal(other.decoder.head.weight, vae.decoder.head.weight)
    with torch.no_grad():
        assert torch.equal(other.eval()(text_batch()).log_px_z, vae.eval()(text_batch()).log_px_z)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    vae, _ = built(config_of("text", "decoder", "gru"))
    save_weights(tmp_path, vae)
    other, _ = built(config_of("text", "decoder", "lstm"))
    with pytest.raises(UserError):
        read_weights(other, tmp_path / WEIGHTS)


@rows
def test_names_its_source(modality: str, kind: str, name: str) -> None:
    made = TABLES[modality][kind][name]
    assert len(made.paper) > 20
    assert 1950 < made.year < 2030
    assert "__doc__" in vars(made)
    assert made.__doc__
    assert len(made.__doc__) > 10


@rows
def test_is_a_class_without_a_model_in_its_arguments(modality: str, kind: str, name: str) -> None:
    """Only the build sees a config; models take plain arguments."""
    taken = set(inspect.signature(TABLES[modality][kind][name]).parameters)
    assert taken.isdisjoint({"config", "cfg", "args", "device"})


REMEDY_ROWS = [(modality, name) for modality, kind, name in ROWS if kind == "remedy"]


@pytest.mark.parametrize(("modality", "name"), REMEDY_ROWS, ids=["-".join(row) for row in REMEDY_ROWS])
def test_a_remedy_leaves_rate_and_distortion_plain(modality: str, name: str) -> None:
    """What a remedy made of the KL is never what the log calls KL."""
    vae, objective = built(config_of(modality, "remedy", name))
    batch = batch_of(modality, vae=vae)
    read = batch
    for remedy in objective.remedy_list:
        read = remedy.on_decoder_input(remedy.on_encoder_input(read))
    with torch.no_grad():
        loss, q = objective(vae.eval(), batch, 3), vae.posterior(read)
        z = codes = q.rsample(1, read.random)
        for remedy in objective.remedy_list:
            codes = remedy.on_latent(codes, read)
        plain = vae.decode_from(read, q, z, codes)
    assert torch.equal(loss.rate, plain.rate.mean())
    assert torch.equal(loss.distortion, plain.distortion.mean())
    assert torch.equal(read.targets, batch.targets)


def test_catalogue_lists_every_row_and_no_argument_of_the_build() -> None:
    found = catalogue()
    listed = {"encoder": "encoders", "latent": "latents", "prior": "priors", "decoder": "decoders"}
    listed |= {"remedy": "remedies", "objective": "objectives"}
    for kind, heading in listed.items():
        wanted = list(dict.fromkeys(n for tables in TABLES.values() for n in tables[kind]))
        assert [row["name"] for row in found[heading]] == wanted
        assert all(row["paper"] and row["year"] for row in found[heading])
    shown = json.dumps(found)
    for provided in ("vocab_size, special", "latent_dim", "features", "condition="):
        assert provided not in shown
    assert {row["name"] for row in found["tokenizers"]} == {*TOKENIZERS, "pretrained"}
