"""What a comparison's YAML says, and the runs that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from seqvae.build import check_names
from seqvae.config import RunConfig, dump_config, load_config, parse_config
from seqvae.metrics.keys import COMPARED, FACTOR_KEYS, LISTS, METRICS
from seqvae.registry import UserError, suggest
from seqvae.shipped import find_config
from seqvae.yaml_files import read_yaml

COLUMNS = COMPARED  # of a table unless `columns` names others; the JSON holds everything
KNOWN = frozenset(METRICS) - LISTS  # a column is "-" where a measurement does not bring it

Positive = Annotated[int, Field(gt=0)]
Seeds = Annotated[list[int], Field(min_length=1)]


class Variant(BaseModel):
    """The blocks that a variant lays over the base, its own seeds, and the rates at which it is measured."""

    model_config = ConfigDict(extra="allow")
    seeds: Seeds | None = None  # in place of those of the comparison
    sample_seeds: list[int] | None = None  # in place of those of the comparison
    rates: list[Annotated[float, Field(gt=0)]] = []  # nats, of a variable-rate run: one row per rate

    @property
    def changes(self) -> dict[str, Any]:
        """What is laid over the base."""
        return dict(self.model_extra or {})

    def rows(self, name: str) -> dict[str, float | None]:
        """The rows of a table that a variant of this name has, each with its rate, where it has one."""
        return {f"{name} at {nats:g}": nats for nats in self.rates} or {name: None}


class Quality(BaseModel):
    """How prior samples are judged: how many, and by which language model (a variant, or a run folder)."""

    model_config = ConfigDict(extra="forbid")
    scorer: str  # a language model: a variant, or a run folder
    samples: Positive = 2000  # prior samples per run


class Comparison(BaseModel):
    """What is compared, and how."""

    model_config = ConfigDict(extra="forbid")
    base: str  # a config: a file or a shipped one
    set: list[str] = []  # `key.path=value` over the base
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

    def judges(self, variant: str, seed: int) -> bool:
        """Whether the samples and the prior of a run are judged."""
        own = self.variants[variant].sample_seeds
        seeds = self.sample_seeds if own is None else own
        return seeds is None or seed in seeds

    @model_validator(mode="after")
    def _are_measured(self) -> Self:
        for column in self.columns:
            if column in FACTOR_KEYS and not self.factors:
                raise ValueError(f"column {column!r} is measured with `factors: true` alone: add it")
        return self


@dataclass(frozen=True)
class Entry:
    """One run of a comparison: where it is, what it is, and the runs that must be there before it."""

    variant: str
    seed: int
    path: Path
    config: RunConfig
    needs: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """As people read it."""
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
        if problem["type"] == "value_error":  # our own words say what is known
            raise UserError(f"{source}: {place}: {problem['ctx']['error']}") from None
        known = suggest(place, Comparison.model_fields)
        raise UserError(f"{source}: {place}: {problem['msg']} ({known})") from None


def entries(comparison: Comparison, out: Path) -> list[Entry]:
    """Every run, all variants of the first seed before those of the next; all configs are checked here.

    Raises:
        UserError: a config that does not hold, with the variant's name; runs that wait for one another.
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
    _refuse_circles(made)
    return made


def run_folder(out: Path, variant: str, seed: int) -> Path:
    """Where a run of a comparison lies."""
    return out / variant / f"seed-{seed}"


def chosen(runs: Sequence[Entry], only: Sequence[str], finished: frozenset[str]) -> list[Entry]:
    """The runs of the variants `only` names, or all of them.

    Raises:
        UserError: no such variant, or one that needs a run which is neither finished nor named.
    """
    names = {run.variant for run in runs}
    for name in only:
        if name not in names:
            raise UserError(f"--only got {name!r}, which is no variant: {suggest(name, names)}")
    kept = [run for run in runs if not only or run.variant in only]
    there = {run.name for run in kept} | finished
    for run in kept:
        if missing := sorted(run.needs - there):
            raise UserError(f"{run.name} needs {missing[0]}, which is not trained yet: name it in --only too")
    return kept


def _entry(
    comparison: Comparison, base: RunConfig, wanted: dict[str, list[int]], which: tuple[str, int], out: Path
) -> Entry:
    variant, seed = which
    config = _varied(base, comparison.variants[variant].changes, seed, variant)
    check_names(config)
    ranged = isinstance(config.latent.arguments.get("nats"), list | tuple)
    if comparison.variants[variant].rates and not ranged:
        raise UserError(f"variant {variant!r} has rates, its latent no range of them: say nats: [2, 64]")
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
        needs.add((quality.scorer, wanted[quality.scorer][0]))  # one judge for all
    named = {f"{name}, seed {number}" for name, number in needs - {which}}
    return Entry(variant, seed, run_folder(out, variant, seed), config, frozenset(named))


def _varied(base: RunConfig, changes: dict[str, Any], seed: int, variant: str) -> RunConfig:
    """The base with a variant's blocks laid over it; a block of another name replaces the base's whole."""
    values = yaml.safe_load(dump_config(base))
    for key, change in changes.items():
        old = values.get(key)
        merges = isinstance(old, dict) and isinstance(change, dict)
        same = merges and change.get("name", old.get("name")) == old.get("name")
        values[key] = {**old, **change} if same else change
    return parse_config(values, [f"train.seed={seed}"], where=f"variant {variant!r}")


def _refuse_circles(runs: Sequence[Entry]) -> None:
    left = {run.name: set(run.needs) for run in runs}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    if left:
        raise UserError(f"these runs wait for one another: {'; '.join(sorted(left))}: mend init or quality")
