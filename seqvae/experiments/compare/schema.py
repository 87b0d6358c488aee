"""The schema of a comparison's YAML, and the list of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from seqvae.build import check_config
from seqvae.config.loading import dump_config, load_config, parse_config
from seqvae.config.schema import RunConfig
from seqvae.config.shipped import find_config
from seqvae.config.yaml_files import read_yaml
from seqvae.errors import UserError, suggest
from seqvae.evaluation.metrics.keys import COMPARED, FACTOR_KEYS, LISTS, METRICS

COLUMNS = COMPARED  # default columns of the table; the JSON holds everything
KNOWN = frozenset(METRICS) - LISTS  # a column is "-" if a run does not have it

Positive = Annotated[int, Field(gt=0)]
Seeds = Annotated[list[int], Field(min_length=1)]


class Variant(BaseModel):
    """A variant: config blocks that override the base, its own seeds, and the rates to measure it at."""

    model_config = ConfigDict(extra="allow")
    seeds: Seeds | None = None  # instead of those of the comparison
    sample_seeds: list[int] | None = None  # instead of those of the comparison
    rates: list[Annotated[float, Field(gt=0)]] = []  # nats, of a variable-rate run: one row per rate

    @property
    def changes(self) -> dict[str, Any]:
        """The config blocks that override the base."""
        return dict(self.model_extra or {})

    def rows(self, name: str) -> dict[str, float | None]:
        """The table rows {row name: rate in nats or None} of the variant `name`."""
        return {f"{name} at {nats:g}": nats for nats in self.rates} or {name: None}


class Quality(BaseModel):
    """How prior samples are measured: by which language model, and how many samples."""

    model_config = ConfigDict(extra="forbid")
    scorer: str  # a language model: a variant, or a run folder
    samples: Positive = 2000  # prior samples per run


class Comparison(BaseModel):
    """The variants to compare and the protocol."""

    model_config = ConfigDict(extra="forbid")
    base: str  # a config: a file or a shipped one
    set: list[str] = []  # `key.path=value` overrides of the base
    seeds: Seeds = [0]  # one run per variant and seed
    samples: Positive = 20  # K of IW-NLL
    test_examples: Positive | None = None  # measure on at most the first N test examples
    columns: Annotated[list[str], Field(min_length=1)] = list(COLUMNS)  # of the table: keys of `evaluate`
    quality: Quality | None = None  # measure prior samples too
    fit_prior: Literal["mixture", "flow"] | None = None  # fit a prior to each finished run
    factors: bool = False  # measure codes against the labels
    sample_seeds: list[int] | None = None  # `quality` and `fit_prior` for these seeds only: they take time
    devices: list[str] = []  # one run at a time on each
    variants: Annotated[dict[str, Variant], Field(min_length=1)]  # {name: blocks laid over the base}

    @field_validator("columns")
    @classmethod
    def _are_known(cls, columns: list[str]) -> list[str]:
        for column in columns:
            if column not in KNOWN:
                raise ValueError(f"unknown column {column!r}: {suggest(column, KNOWN)}")
        return columns

    def measures_samples(self, variant: str, seed: int) -> bool:
        """Whether `quality` and `fit_prior` are measured for a run."""
        own = self.variants[variant].sample_seeds
        seeds = self.sample_seeds if own is None else own
        return seeds is None or seed in seeds

    @model_validator(mode="after")
    def _are_measured(self) -> Self:
        for column in self.columns:
            if column in FACTOR_KEYS and not self.factors:
                raise ValueError(f"column {column!r} is measured only with `factors: true`: add it")
        return self


@dataclass(frozen=True)
class RunSpec:
    """One run of a comparison: its folder, its config, and the names of the runs it depends on."""

    variant: str
    seed: int
    path: Path
    config: RunConfig
    depends_on: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The name of the run in messages."""
        return f"{self.variant}, seed {self.seed}"


def load_comparison(source: str | Path) -> Comparison:
    """Read a comparison's YAML.

    Raises:
        UserError: no such file, an unknown key or column, or nothing to compare.
    """
    values = read_yaml(Path(find_config(str(source))))
    try:
        return Comparison.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        if problem["type"] == "value_error":  # raised by our validators, with its own suggestion
            raise UserError(f"{source}: {place}: {problem['ctx']['error']}") from None
        known = suggest(place, Comparison.model_fields)
        raise UserError(f"{source}: {place}: {problem['msg']} ({known})") from None


def run_specs(comparison: Comparison, out: Path) -> list[RunSpec]:
    """All runs, ordered by seed and then by variant; all configs are checked.

    Raises:
        UserError: an invalid config, with the variant's name, or circular dependencies of runs.
    """
    base = load_config(find_config(comparison.base), comparison.set)
    wanted = {name: variant.seeds or comparison.seeds for name, variant in comparison.variants.items()}
    order = dict.fromkeys([*comparison.seeds, *(seed for seeds in wanted.values() for seed in seeds)])
    made = [
        _entry(comparison, base, wanted, (variant, seed), out)
        for seed in order
        for variant, seeds in wanted.items()
        if seed in seeds
    ]
    _reject_cycles(made)
    return made


def run_folder(out: Path, variant: str, seed: int) -> Path:
    """The folder of a run of a comparison."""
    return out / variant / f"seed-{seed}"


def select_runs(runs: Sequence[RunSpec], only: Sequence[str], finished: frozenset[str]) -> list[RunSpec]:
    """The runs of the variants named in `only`, or all runs.

    Raises:
        UserError: no such variant, or a run that depends on one that is neither finished nor selected.
    """
    names = {run.variant for run in runs}
    for name in only:
        if name not in names:
            raise UserError(f"--only got {name!r}, which is not a variant: {suggest(name, names)}")
    kept = [run for run in runs if not only or run.variant in only]
    there = {run.name for run in kept} | finished
    for run in kept:
        if missing := sorted(run.depends_on - there):
            raise UserError(f"{run.name} needs {missing[0]}, which is not trained yet: name it in --only too")
    return kept


def _entry(
    comparison: Comparison, base: RunConfig, wanted: dict[str, list[int]], which: tuple[str, int], out: Path
) -> RunSpec:
    variant, seed = which
    config = _apply_changes(base, comparison.variants[variant].changes, seed, variant)
    check_config(config)
    ranged = isinstance(config.latent.arguments.get("nats"), list | tuple)
    if comparison.variants[variant].rates and not ranged:
        raise UserError(
            f"variant {variant!r} has rates, but its latent has no range of rates: set nats: [2, 64]"
        )
    needs = set()
    if config.init and (source := config.init.run) in wanted:
        if seed not in wanted[source]:
            raise UserError(
                f"variant {variant!r} starts from {source!r} of the same seed, which has seeds "
                f"{wanted[source]}: give {source!r} seed {seed} too"
            )
        config.init.run = str(run_folder(out, source, seed))
        needs.add((source, seed))
    quality = comparison.quality
    if quality and quality.scorer in wanted:
        needs.add((quality.scorer, wanted[quality.scorer][0]))  # one scorer for all runs
    named = {f"{name}, seed {number}" for name, number in needs - {which}}
    return RunSpec(variant, seed, run_folder(out, variant, seed), config, frozenset(named))


def _apply_changes(base: RunConfig, changes: dict[str, Any], seed: int, variant: str) -> RunConfig:
    """The base with a variant's blocks merged in; a block with another `name` replaces the base's block."""
    values = yaml.safe_load(dump_config(base))
    for key, change in changes.items():
        old = values.get(key)
        merges = isinstance(old, dict) and isinstance(change, dict)
        same = merges and change.get("name", old.get("name")) == old.get("name")
        values[key] = {**old, **change} if same else change
    return parse_config(values, [f"train.seed={seed}"], where=f"variant {variant!r}")


def _reject_cycles(runs: Sequence[RunSpec]) -> None:
    left = {run.name: set(run.depends_on) for run in runs}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    if left:
        raise UserError(
            f"these runs depend on one another: {'; '.join(sorted(left))}: change init or quality"
        )
