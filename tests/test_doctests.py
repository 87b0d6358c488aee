"""Runs the examples in the docstrings of the public modules."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

MODULES = [
    "seqvae.analysis.doctor.ngram",
    "seqvae.analysis.doctor.prescriptions",
    "seqvae.build",
    "seqvae.analysis.augmentation",
    "seqvae.analysis.grammar_edits",
    "seqvae.data.synthetic.sentences",
    "seqvae.data.text.byte_dfa",
    "seqvae.data.text.char_sets",
    "seqvae.data.text.detokenize",
    "seqvae.data.text.information",
    "seqvae.data.text.repetition",
    "seqvae.data.text.similar_spelling",
    "seqvae.errors",
    "seqvae.evaluation.metrics.holes",
    "seqvae.explore.attributes",
    "seqvae.explore.keep",
    "seqvae.explore.static",
    "seqvae.inference.arithmetic",
    "seqvae.inference.code_index",
    "seqvae.inference.constraint",
    "seqvae.inference.directions",
    "seqvae.inference.editing",
    "seqvae.inference.infilling",
    "seqvae.interfaces.kl",
    "seqvae.interfaces.remedy",
    "seqvae.keyed_noise",
    "seqvae.models.conditioning",
    "seqvae.models.coupling_flow",
    "seqvae.models.diagonal_normals",
    "seqvae.models.labels.encoder",
    "seqvae.models.labels.spec",
    "seqvae.models.latent_directions",
    "seqvae.models.latents.categorical",
    "seqvae.models.latents.delta",
    "seqvae.models.latents.exact_normal",
    "seqvae.models.latents.exact_rate",
    "seqvae.models.latents.gaussian",
    "seqvae.models.latents.rate_range",
    "seqvae.models.priors.mixture",
    "seqvae.models.priors.standard",
    "seqvae.models.sampling",
    "seqvae.models.text.filling",
    "seqvae.models.vae",
    "seqvae.numerics",
    "seqvae.objectives.elbo",
    "seqvae.objectives.iwae",
    "seqvae.remedies.aggressive_encoder",
    "seqvae.remedies.controllers",
    "seqvae.remedies.dip",
    "seqvae.remedies.free_bits",
    "seqvae.remedies.mmd",
    "seqvae.remedies.schedules",
    "seqvae.remedies.word_dropout",
    "seqvae.utils.edit_distance",
    "seqvae.utils.progress",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str) -> None:
    outcome = doctest.testmod(import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.attempted > 0, "the module has no example: remove it from MODULES"
    assert outcome.failed == 0, "see the captured output"


def test_every_module_with_an_example_is_listed(root: Path) -> None:
    files = [file for file in (root / "seqvae").rglob("*.py") if ">>> " in file.read_text()]
    names = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
    assert sorted(name.removesuffix(".__init__") for name in names) == sorted(MODULES)
