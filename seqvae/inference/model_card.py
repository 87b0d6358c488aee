"""The model card of a run for the Hub: its parts, pretrained models, metrics and example sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from seqvae.build import modality_of
from seqvae.config.schema import Component, RunConfig
from seqvae.evaluation.metrics.keys import label_of
from seqvae.models.pretrained.base import Base, find_base
from seqvae.models.pretrained.golden import pretrained_parts
from seqvae.runs.modules_file import encodes_sentences
from seqvae.utils.tables import markdown_table

CARD = "README.md"
SHOWN = (
    *("neg_elbo", "iw_nll", "ppl", "bits_per_char", "rate", "mi_low", "active_units", "shuffle_gap"),
    *("bleu", "exact_match", "squared_error", "bits_per_dim"),
)
UNMEASURED = "Nothing has been measured yet: `seqvae card RUN` measures a run and writes this card."


@dataclass(frozen=True)
class Measured:
    """Reports of `evaluate` by rate, pairs of a sentence and its reconstruction, and samples."""

    reports: Mapping[str, Mapping[str, Any]]
    pairs: Sequence[tuple[str, str]] = field(default_factory=tuple)
    samples: Sequence[str] = field(default_factory=tuple)


def model_card(run: Any, measured: Measured | None = None) -> ModelCard:
    """The card of a run (`seqvae.runs.run_folder.Run`), with its metrics if they were measured."""
    config: RunConfig = run.config
    bases = {part: _base_of(spec) for part, spec in pretrained_parts(config).items()}
    licences = {base.licence for base in bases.values()}
    data = ModelCardData(
        library_name="seqvae",
        tags=[f"{config.modality}-vae"],
        pipeline_tag="feature-extraction" if encodes_sentences(config) else None,
        base_model=[base.name for base in bases.values() if base.revision] or None,
        license=licences.pop() if len(licences) == 1 else None,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(_lines(run, bases, measured)) + "\n")


def _base_of(spec: Component) -> Base:
    return find_base(str(spec.arguments["model"]), spec.arguments.get("revision"))


def _lines(run: Any, bases: Mapping[str, Base], measured: Measured | None) -> Iterator[str]:
    config: RunConfig = run.config
    yield f"# A {config.modality} VAE of seqvae"
    yield ""
    yield from markdown_table(("part", "what"), [(part, _one_line(spec)) for part, spec in _parts(config)])
    yield ""
    yield f"Trained {run.card['progress']['step']:,} steps of {config.train.batch_size} examples."
    if bases:
        yield from _base_lines(bases)
    yield from ["", "## Measures", ""]
    yield from [UNMEASURED] if measured is None else _measure_lines(measured.reports)
    if measured is not None:
        yield from _examples(measured)
    yield from ["", "## Use", "", *_usage(config)]


def _parts(config: RunConfig) -> list[tuple[str, Component]]:
    names = ("encoder", "latent", "decoder", "objective")
    parts = [(name, getattr(config, name)) for name in names]
    return [*parts, *(("remedy", remedy) for remedy in config.remedies)]


def _one_line(spec: Component) -> str:
    """A component in one line; of a local model only the name of its file or folder."""
    given = {key: value for key, value in spec.arguments.items() if value is not None}
    if "model" in given and Path(given["model"]).exists():
        given["model"] = Path(given["model"]).name
    return ", ".join([f"`{spec.name}`", *(f"{key} {value}" for key, value in given.items())])


def _base_lines(bases: Mapping[str, Base]) -> Iterator[str]:
    yield from ["", "## Pretrained models", ""]
    yield "This folder holds the trained weights only; these models are fetched, or must exist, at loading."
    yield ""
    rows = [
        (
            part,
            base.name if base.revision else Path(base.name).name,
            base.revision or "-",
            base.sha256,
            _licence(base),
        )
        for part, base in bases.items()
    ]
    yield from markdown_table(("part", "model", "revision", "SHA-256 of the weights", "licence"), rows)


def _licence(base: Base) -> str:
    return base.licence or "not named in its files"


def _measure_lines(reports: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One table row per rate, in nats per example."""
    first = next(iter(reports.values()))
    keys = [key for key in SHOWN if any(report.get(key) is not None for report in reports.values())]
    yield (
        f"Nats per example over {first['n']:,} examples ({first['data']}), IW-NLL from {first['iw_samples']} "
        "codes each; ± is a standard error."
    )
    yield ""
    head = ["rate", *map(label_of, keys)]
    yield from markdown_table(
        head, [[name, *(_cell(report, key) for key in keys)] for name, report in reports.items()]
    )
    for line in dict.fromkeys(line for report in reports.values() for line in report.get("cautions", ())):
        yield f"\n{line}"


def _cell(report: Mapping[str, Any], key: str) -> str:
    value, spread = report.get(key), report.get(f"{key}_se")
    if value is None:
        return "-"
    written = f"{value:.3g}" if isinstance(value, float) and abs(value) < 1 else f"{value:.2f}"
    written = str(value) if isinstance(value, int) else written
    return written if spread is None else f"{written} ± {spread:.2f}"


def _examples(measured: Measured) -> Iterator[str]:
    if measured.pairs:
        yield from ["", "## Sentences and their reconstructions", ""]
        for text, back in measured.pairs:
            yield from [f"    {text}", f"    {back}", ""]
    if measured.samples:
        yield from ["", "## Samples", "", *(f"    {text}" for text in measured.samples)]


def _usage(config: RunConfig) -> Iterator[str]:
    kind = modality_of(config).vae_class.rpartition(":")[2]
    yield "```python"
    yield f"from seqvae import {kind}"
    yield ""
    yield f'vae = {kind}.from_pretrained("this/repository")'
    yield "vae.sample(5)"
    yield "```"
    if encodes_sentences(config):
        yield ""
        yield "`SentenceTransformer` and `AutoModel` (`trust_remote_code=True`) encode with it too."
