"""Builds models and objectives from a config; no other module constructs a class from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from seqvae.config.registry import construct, describe, lookup
from seqvae.config.schema import Component, LabelConfig, RunConfig, TextRunConfig
from seqvae.data.labels import label_statistics
from seqvae.data.synthetic import CORPORA
from seqvae.data.text.tokenizer_training import TOKENIZERS
from seqvae.errors import UserError, suggest
from seqvae.interfaces import Data, Prior, Remedy, RunContext
from seqvae.modalities import MODALITIES, Modality
from seqvae.models import pretrained
from seqvae.models.labels import Classifier, LabelEncoder, LabelSpec
from seqvae.models.latents import LATENTS, NoEncoder
from seqvae.models.priors import PRIORS
from seqvae.models.vae import VAE
from seqvae.objectives import OBJECTIVES, Objective
from seqvae.remedies import REMEDIES

ATTRIBUTES = "attribute_regularization"  # the remedy that the config key `attributes` is short for


def modality_of(config: RunConfig) -> Modality:
    """The modality of a config."""
    return MODALITIES[config.modality]


def build_vae(config: RunConfig, sizes: Mapping[str, Any]) -> VAE:
    """Build encoder, latent, prior, decoder and classifier of a config.

    Args:
        config: the run's config.
        sizes: arguments that depend on the data, `Processor.sizes`.

    Raises:
        UserError: a name or an argument does not exist, or sizes do not fit together.

    Example:
        >>> from seqvae.config.loading import parse_config
        >>> from seqvae.data.text.batch import SpecialIds
        >>> config = parse_config(
        ...     {
        ...         "encoder": {"name": "gru", "embed": 8, "hidden": 16},
        ...         "latent": {"name": "gaussian", "dim": 4, "prior": {"name": "mixture", "components": 5}},
        ...         "decoder": {"name": "gru", "embed": 8, "hidden": 16},
        ...     }
        ... )
        >>> special = SpecialIds(pad=0, unk=1, bos=2, eos=3)
        >>> vae = build_vae(config, {"vocab_size": 100, "special": special})
        >>> vae.latent.dim, type(vae.prior).__name__
        (4, 'MixturePrior')
    """
    # keep the order of construction: initial weights are drawn in it, and published losses depend on it
    reads = lookup("latent", LATENTS, config.latent.name).needs_encoder
    modality = modality_of(config)
    encoder = construct("encoder", modality.encoders, config.encoder, **sizes) if reads else NoEncoder()
    spec, prior_spec = _without_prior(config.latent)
    _check_dim(spec)
    labels = build_labels(config)
    label_dim = labels.dim if labels else 0
    latent = construct("latent", LATENTS, spec, features=encoder.out_dim + label_dim)
    condition = label_dim + latent.condition
    given = {"dim": latent.dim, "encoder": encoder, "latent": latent, "condition": condition}
    prior: Prior = construct("prior", PRIORS, prior_spec, **given)
    read = {"latent_dim": latent.dim, "condition": condition}
    decoder = construct("decoder", modality.decoders, config.decoder, **read, **sizes)
    missing = _imputed_label(config)
    if labels is None or missing is None:
        return VAE(encoder, latent, prior, decoder, labels)
    reader = construct("encoder", modality.encoders, config.encoder, **sizes)
    label = next(label for label in labels.specs if label.name == missing)
    return VAE(encoder, latent, prior, decoder, labels, Classifier(reader, label))


def build_labels(config: RunConfig) -> LabelEncoder | None:
    """The label encoder of a config whose label statistics `with_label_statistics` has added; or None.

    Raises:
        UserError: a label is not in `data.labels`.
    """
    found = []
    for name, known in config.condition.items():
        lookup("condition", dict.fromkeys(config.data.labels), name)
        assert known is not None, f"{name}: call with_label_statistics first"
        column = config.data.labels.index(name)
        found.append(LabelSpec(name, column, tuple(known.classes), known.mean, known.sd))
    return LabelEncoder(tuple(found)) if found else None


def with_label_statistics(config: RunConfig, data: Data) -> RunConfig:
    """The config with the training statistics of each label that the model is conditioned on.

    Raises:
        UserError: a label is missing for most examples, or has fewer than two values.
    """
    blocks = dict(config.condition)
    for name, known in blocks.items():
        values = data.train.labels[:, config.data.labels.index(name)]
        missing = int(np.isnan(values).sum())
        if name != _imputed_label(config) and missing > len(values) / 2:
            raise UserError(
                f"condition {name!r} is missing for {missing:,} of {len(values):,} training examples: fix "
                "the data, or take objective semi_supervised"
            )
        if known is None:
            blocks[name] = LabelConfig(**label_statistics(name, values, data.train.categories.get(name, ())))
    return config.model_copy(update={"condition": blocks})


def describe_missing_labels(config: RunConfig, data: Data) -> list[str]:
    """One line per split and label that is missing or unknown for some examples."""
    labels = build_labels(config)
    lines = []
    for name, store in data.splits.items() if labels else ():
        for label in labels.specs if labels else ():
            lost = int(label.values(torch.from_numpy(np.array(store.labels))).isnan().sum())
            if lost and label.name != _imputed_label(config):
                lines.append(
                    f"{name}: {lost:,} of {len(store.labels):,} without a known {label.name!r}, which the "
                    "model treats as missing"
                )
    return lines


def label_coverage(data: Data) -> tuple[float, ...]:
    """Per label, the fraction of training examples that have it."""
    return tuple(float(1 - np.isnan(values).mean()) for values in np.asarray(data.train.labels).T)


def _imputed_label(config: RunConfig) -> str | None:
    """The label that a semi-supervised objective infers: its argument, or the first of `condition`."""
    if config.objective.name != "semi_supervised":
        return None
    return config.objective.arguments.get("label") or next(iter(config.condition), None)


def build_objective(config: RunConfig, vae: VAE, facts: RunContext) -> Objective:
    """Build the objective and its remedies, and attach them to the model.

    Args:
        config: the run's config.
        vae: the model.
        facts: sizes of the run, which remedies read.

    Raises:
        UserError: a remedy or argument is unknown, or parts do not work together.
    """
    specs = [*config.remedies, *_attributes(config)]
    remedies = [construct("remedy", REMEDIES, spec) for spec in specs]
    for remedy, spec in zip(remedies, specs, strict=True):
        _check_remedy(remedy, spec, config.modality)
        remedy.attach(vae, facts)
    objective = construct("objective", OBJECTIVES, config.objective, remedies=remedies)
    objective.attach(vae, facts)
    return objective


def _attributes(config: RunConfig) -> list[Component]:
    """The remedy that the config key `attributes` is short for, if it is set."""
    if not config.attributes:
        return []
    if any(spec.name == ATTRIBUTES for spec in config.remedies):
        raise UserError(f"attributes are short for remedy {ATTRIBUTES!r}, which is there too: keep one")
    return [Component.model_validate({"name": ATTRIBUTES, "attributes": config.attributes})]


def attribute_dims(config: RunConfig) -> dict[str, int]:
    """The regularised dim of each label, {label: dim}, from `attributes` or the remedy of that name."""
    found = dict(config.attributes)
    for spec in config.remedies:
        if spec.name == ATTRIBUTES:
            first = next(iter((*modality_of(config).attributes, *config.data.labels)), "")
            found = spec.arguments.get("attributes") or {0: first}
    return {label: int(dim) for dim, label in found.items()}


def check_config(config: RunConfig) -> None:
    """Reject unknown names before any data are read.

    Raises:
        UserError: a name does not exist; the nearest valid one is suggested.
    """
    modality = modality_of(config)
    tables: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("encoder", modality.encoders),
        ("latent", LATENTS),
        ("decoder", modality.decoders),
        ("objective", OBJECTIVES),
    )
    for kind, table in tables:
        lookup(kind, table, getattr(config, kind).name)
    for spec in config.remedies:
        lookup("remedy", REMEDIES, spec.name)
        construct("remedy", REMEDIES, spec)
    lookup("prior", PRIORS, _without_prior(config.latent)[1].name)
    _check_dim(config.latent)
    _attributes(config)
    _check_condition(config)
    _check_tokenizer(config)


def _check_tokenizer(config: RunConfig) -> None:
    """Reject an unknown tokenizer, and one whose ids a pretrained decoder does not know."""
    if not isinstance(config, TextRunConfig):
        return
    name = config.tokenizer.name
    lookup("tokenizer", {**TOKENIZERS, **pretrained.TOKENIZERS}, name)
    if config.decoder.name in pretrained.DECODERS and name not in ("file", *pretrained.TOKENIZERS):
        model = config.decoder.arguments.get("model")
        raise UserError(
            f"tokenizer got {name!r} and decoder 'pretrained' knows its own ids only: leave tokenizer out, "
            f"or take {{name: pretrained, model: {model}}}"
        )


def _check_condition(config: RunConfig) -> None:
    """Reject unknown condition labels, and parts that cannot be conditioned."""
    for name in config.condition:
        if name not in config.data.labels:
            known = suggest(name, config.data.labels)
            raise UserError(f"condition got {name!r}, which is not in data.labels: {known}")
    prior = _without_prior(config.latent)[1].name
    if config.condition and (config.latent.name == "none" or prior == "vamp"):
        part = "latent 'none'" if config.latent.name == "none" else "prior 'vamp'"
        raise UserError(f"{part} does not support condition: leave it out, or choose another")
    if config.objective.name == "semi_supervised" and _imputed_label(config) not in config.condition:
        raise UserError(
            f"objective 'semi_supervised' infers a label of condition, got "
            f"{_imputed_label(config)!r}: {suggest(str(_imputed_label(config)), config.condition)}"
        )


def _without_prior(latent: Component) -> tuple[Component, Component]:
    """Split a latent's config block into its own arguments and the block of its prior."""
    arguments = latent.arguments
    prior = arguments.pop("prior", None)
    own = Component.model_validate({"name": latent.name, **arguments})
    made = lookup("latent", LATENTS, latent.name)
    chosen = Component.model_validate(prior or {"name": made.default_prior})
    if made.priors and chosen.name not in made.priors:
        raise UserError(f"latent {latent.name!r} got prior {chosen.name!r}: use {' or '.join(made.priors)}")
    return own, chosen


def _check_dim(latent: Component) -> None:
    dim = latent.arguments.get("dim", 1)
    if isinstance(dim, int) and dim < 1:
        raise UserError(f"latent.dim got {dim}: give at least 1, or `latent: {{name: none}}` for no code")


def _check_remedy(remedy: Remedy, spec: Component, modality: str) -> None:
    if remedy.batch_type not in ("any", modality):
        raise UserError(f"remedy {spec.name!r} reads {remedy.batch_type} batches, this run has {modality}")


def catalogue() -> dict[str, list[dict[str, Any]]]:
    """All names that a config may use, one table per kind, with the arguments that it may set."""
    sizes = "vocab_size", "special", "shape", "source", "latent_dim", "condition"
    modalities = MODALITIES.values()
    return {
        "encoders": [row for modality in modalities for row in describe(modality.encoders, sizes)],
        "decoders": [row for modality in modalities for row in describe(modality.decoders, sizes)],
        "latents": describe(LATENTS, ("features",)),
        "priors": describe(PRIORS, ("dim", "encoder", "latent", "condition")),
        "objectives": describe(OBJECTIVES, ("remedies",)),
        "remedies": describe(REMEDIES),
        "tokenizers": describe({**TOKENIZERS, **pretrained.TOKENIZERS}, ("texts",)),
        "corpora": describe(CORPORA),
    }
