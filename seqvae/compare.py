"""Many runs on one protocol, one table: variants of a base config, each with several seeds.

base: text/ptb-gru                     # a shipped config, or a file
set: [train.epochs=5]                  # over the base, for all variants
seeds: [0, 1, 2]
samples: 20                            # K of IW-NLL
variants:
lm: {latent: {name: none}, remedies: []}
annealed: {remedies: [{name: linear_annealing}]}
ae: {latent: {name: deterministic}, remedies: []}
pretrained: {init: {from: ae, parts: [encoder]}}   # `from` may name a variant above: same seed
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seqvae.api import load
from seqvae.build import check_names
from seqvae.checkpoint import Progress, read_card
from seqvae.config import RunConfig, dump_config, load_config, parse_config
from seqvae.disk import write_atomically
from seqvae.progress import Reporter, Silent
from seqvae.registry import UserError, suggest
from seqvae.shipped import find_config
from seqvae.tables import markdown
from seqvae.train import resume, train

# What the table shows, in this order; the JSON holds everything.
COLUMNS = (
    "neg_elbo", "iw_nll", "ppl", "rate", "distortion", "mi_low", "active_units", "shuffle_gap",
    "token_accuracy", "bleu", "distinct_samples", "train_minutes", "train_tokens_per_s",
)  # fmt: skip


class Comparison(BaseModel):
    """What is compared, and how."""

    model_config = ConfigDict(extra="forbid")
    base: str
    set: list[str] = []
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    samples: Annotated[int, Field(gt=0)] = 20
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]


@dataclass(frozen=True)
class Entry:
    """One run of a comparison: where it is, and what it is."""

    variant: str
    seed: int
    path: Path
    config: RunConfig


def load_comparison(source: str | Path) -> Comparison:
    """Read a comparison's YAML.

    Raises:
        UserError: no such file, an unknown key, or nothing to compare.
    """
    try:
        values = yaml.safe_load(Path(find_config(str(source))).read_text(encoding="utf-8"))
        return Comparison.model_validate(values)
    except OSError as error:
        raise UserError(f"cannot read {source} ({error.strerror}): name a comparison's YAML file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not a YAML file: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        known = suggest(place, Comparison.model_fields)
        raise UserError(f"{source}: {place}: {problem['msg']} ({known})") from None


def entries(comparison: Comparison, out: Path) -> list[Entry]:
    """Every run, all configs checked before the first is trained.

    Raises:
        UserError: a config that does not hold, with the variant's name.
    """
    base = load_config(find_config(comparison.base), comparison.set)
    made = []
    for variant, changes in comparison.variants.items():
        for seed in comparison.seeds:
            path = out / variant / f"seed-{seed}"
            config = _varied(base, changes, seed, variant)
            check_names(config)
            if config.init and config.init.run in comparison.variants:
                config.init.run = str(out / config.init.run / f"seed-{seed}")
            made.append(Entry(variant, seed, path, config))
    return made


def compare(comparison: Comparison, out: Path, report: Reporter | None = None) -> list[dict[str, Any]]:
    """Train and evaluate whatever is not done yet, then write table.md and table.json; the rows.

    Raises:
        UserError: a run that cannot be trained; those before it stay, and the next call goes on from them.
    """
    report = report or Silent()
    runs = entries(comparison, out)
    results = []
    for number, entry in enumerate(runs, 1):
        report.note(f"[{number}/{len(runs)}] {entry.variant}, seed {entry.seed}")
        _trained(entry, report)
        results.append(_evaluated(entry, comparison.samples, report))
    rows = summarise(results)
    write_atomically(out / "table.json", lambda p: p.write_text(json.dumps(results, indent=2), "utf-8"))
    write_atomically(out / "table.md", lambda p: p.write_text(as_markdown(rows), "utf-8"))
    return rows


def summarise(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a variant: its seeds, and (mean, s.d. over seeds) of each column; s.d. None for one seed."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        rows.setdefault(result["variant"], []).append(result)
    return [
        {"variant": variant, "seeds": len(runs), **{c: _spread([r.get(c) for r in runs]) for c in COLUMNS}}
        for variant, runs in rows.items()
    ]


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table in Markdown; nats a sentence where nothing else is said."""
    head = ["variant", "seeds", *COLUMNS]
    return "\n".join(markdown(head, [[_cell(row[name]) for name in head] for row in rows])) + "\n"


def _varied(base: RunConfig, changes: dict[str, Any], seed: int, variant: str) -> RunConfig:
    """The base with a variant's blocks laid over it; a block of another name replaces the base's whole."""
    values = yaml.safe_load(dump_config(base))
    for key, change in changes.items():
        old = values.get(key)
        merges = isinstance(old, dict) and isinstance(change, dict)
        same = merges and change.get("name", old.get("name")) == old.get("name")
        values[key] = {**old, **change} if same else change
    return parse_config(values, [f"train.seed={seed}"], where=f"variant {variant!r}")


def _trained(entry: Entry, report: Reporter) -> None:
    """Train, resume or pass over a run."""
    if not (entry.path / "config.json").is_file():
        train(entry.config, entry.path, report)
        return
    card = read_card(entry.path)
    if parse_config(card["run"]) != entry.config:
        raise UserError(f"{entry.path} holds a run of another config: remove it, or choose another --out")
    if not Progress(**card["progress"]).finished:
        resume(entry.path, report)


def _evaluated(entry: Entry, samples: int, report: Reporter) -> dict[str, Any]:
    """The run's evaluation, made once and kept beside it."""
    file = entry.path / "report" / f"evaluation-{samples}.json"
    if not file.is_file():
        numbers = load(entry.path, entry.config.train.device).evaluate(
            samples=samples, progress=report.advance
        )
        report.close()
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, lambda p: p.write_text(json.dumps(numbers), "utf-8"))
    progress = read_card(entry.path)["progress"]
    speed = progress["tokens"] / max(1e-9, progress["seconds"])
    times = {"train_minutes": progress["seconds"] / 60, "train_tokens_per_s": speed}
    named = {"variant": entry.variant, "seed": entry.seed, "run": str(entry.path)}
    return {**named, **json.loads(file.read_text("utf-8")), **times}


def _spread(values: list[Any]) -> tuple[float, float | None] | None:
    known = [float(v) for v in values if v is not None]
    if not known:
        return None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if not isinstance(value, tuple):
        return str(value)
    mean, deviation = value
    digits = 0 if abs(mean) >= 1000 else 2
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")
