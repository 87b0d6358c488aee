"""Fills the generated blocks of docs/: configuration, command line, metrics, catalogue, API reference.

python scripts/generate_docs.py

A page holds prose and blocks: `<!-- generated: NAME -->`, what `BLOCKS[NAME]` yields, `<!-- end -->`.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import pkgutil
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from cli_tables import format_table, list_verbs, paragraphs
from pydantic import BaseModel

from seqvae import interfaces
from seqvae.analysis import augmentation, augmentation_gain
from seqvae.build import catalogue
from seqvae.config import schema as config
from seqvae.config.shipped import read_first_comment, shipped_configs
from seqvae.evaluation import metrics
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.metrics.keys import METRICS, Group
from seqvae.experiments.compare.schema import Comparison, Quality, Variant
from seqvae.experiments.lessons import lesson_rows
from seqvae.inference import (
    ImageVAE,
    TextVAE,
    arithmetic,
    code_index,
    directions,
    editing,
    infilling,
    load,
    neighbors,
    projector,
)
from seqvae.interfaces import Remedy
from seqvae.modalities import MODALITIES
from seqvae.models.latents import LATENTS
from seqvae.models.priors import PRIORS
from seqvae.models.vae import VAE
from seqvae.objectives import OBJECTIVES, Objective, TrainStep
from seqvae.remedies import REMEDIES

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
BOUNDS = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
SECTIONS: tuple[tuple[str, type[BaseModel], type[BaseModel] | None], ...] = (  # title, model, keys left out
    ("A run", config.RunConfig, None),
    ("A run on text: further keys", config.TextRunConfig, config.RunConfig),
    ("`data`", config.DataConfig, None),
    ("`data` of text: further keys", config.TextDataConfig, config.DataConfig),
    ("`data` of images: further keys", config.ImageDataConfig, config.DataConfig),
    ("`train`", config.TrainConfig, None),
    ("`init`", config.InitConfig, None),
    ("`condition`: what a run keeps of each label", config.LabelConfig, None),
    ("A comparison (`seqvae compare`)", Comparison, None),
    ("A comparison: `quality`", Quality, None),
    ("A comparison: each of `variants`, besides the blocks of a config", Variant, None),
)


# --- configuration


def list_keys() -> Iterator[str]:
    """Every key of a config and of a comparison, from the pydantic models and their comments."""
    for title, model, base in SECTIONS:
        known = set() if base is None else set(base.model_fields)
        yield from (f"## {title}", "")
        yield from format_table(("key", "type", "default", "meaning"), _key_rows(model, known))


def _key_rows(model: type[BaseModel], known: set[str]) -> Iterator[tuple[str, ...]]:
    schema, notes = model.model_json_schema(), read_comments(model)
    for name, field in model.model_fields.items():
        if name not in known:
            key = field.alias or name
            yield (
                f"`{key}`",
                _describe_schema(schema["properties"][key]),
                _describe_default(model, name),
                notes.get(name, ""),
            )


def _describe_schema(schema: Mapping[str, Any]) -> str:
    """A type of JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_describe_schema(option) for option in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return "block"
    if schema.get("type") == "array":
        return f"list of {_describe_schema(schema['items'])}"
    bounds = "".join(f" {sign} {schema[name]:g}" for name, sign in BOUNDS.items() if name in schema)
    words = {"object": "mapping", "string": "text"}
    return f"{words.get(schema['type'], schema['type'])}{bounds}"


def _describe_default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    if isinstance(field.default, config.Component):
        return f"`{field.default.name}`"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    if isinstance(field.default, list) and len(field.default) > 3:
        return f"{len(field.default)} entries"

    return f"`{json.dumps(field.default).strip(chr(34))}`"  # as in YAML: null, true


def read_comments(model: type[BaseModel]) -> dict[str, str]:
    """The comment beside each field, or on the line above it.

    Comments and not attribute docstrings: pydantic reads those by parsing the source whenever a class is
    made, which every start of the command line would pay for.
    """
    source = inspect.getsource(model)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    notes = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    lines, found = source.splitlines(), {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = lines[node.lineno - 2].strip()
            note = notes.get(node.end_lineno or 0) or (above if above.startswith("#") else "")
            found[node.target.id] = note.removeprefix("#").strip()
    return found


# --- catalogue


def list_names() -> Iterator[str]:
    """All that can be named in a config, and the shipped configs: what `seqvae list` prints."""
    rows = catalogue() | {"lessons": lesson_rows()}
    tables: dict[str, Mapping[str, Any]] = {
        "remedies": REMEDIES,
        "latents": LATENTS,
        "priors": PRIORS,
        "objectives": OBJECTIVES,
    }
    for kind in ("remedies", "latents", "priors", "objectives", "tokenizers", "lessons"):
        yield from (f"## {kind.capitalize()}", "", *_format_rows(rows[kind]))
        if kind in tables:
            yield from _explain(kind, tables[kind])
    for kind in ("encoders", "decoders"):
        left = iter(rows[kind])  # one modality after the other
        for modality, made in MODALITIES.items():
            own = [next(left) for _ in getattr(made, kind)]
            yield from (f"## {kind.capitalize()} of {modality}", "", *_format_rows(own))
    about = [{"name": name, "about": read_first_comment(path)} for name, path in shipped_configs().items()]
    yield from ("## Shipped configs", "", *_format_rows(about))


def _explain(kind: str, made: Mapping[str, Any]) -> Iterator[str]:
    """What each row is, the first paragraph of its docstring; of a remedy also the hooks that it uses."""
    # a bare <unk> would be taken for a tag
    about = {name: re.sub(r"<(?=\w)", "&lt;", paragraphs(each)[0]) for name, each in made.items()}
    if kind == "remedies":
        rows = ((name, text, _hooks(made[name])) for name, text in about.items())
        yield from format_table(("name", "what it does", "hooks"), rows)
    else:
        yield from format_table(("name", "what it is"), about.items())


def _hooks(remedy: type[Remedy]) -> str:
    """The hooks that a remedy overrides, without `attach`, which is only preparation."""
    names = [name for name, value in vars(Remedy).items() if callable(value) and not name.startswith("_")]
    used = (name for name in names if getattr(remedy, name) is not getattr(Remedy, name))
    return ", ".join(f"`{name}`" for name in used if name != "attach")


def _format_rows(rows: list[dict[str, Any]]) -> Iterator[str]:
    head = tuple(rows[0])
    yield from format_table(head, [tuple(str(row[name]) for name in head) for row in rows])


# --- metrics


def list_metrics(group: str) -> Iterator[str]:
    """The metrics of one group, from the table that `evaluate`, `compare` and plots read."""
    rows = (metric for metric in METRICS.values() if metric.group == group)
    head = ("key", "label", "unit", "better", "meaning")
    yield from format_table(head, ((f"`{m.key}`", m.label, m.unit, m.better, m.doc) for m in rows))


# --- API reference


def render_api(*things: Any, inherited: bool = False) -> Callable[[], Iterator[str]]:
    """Lines that mkdocstrings renders: a class, a function or a whole module each."""

    def lines() -> Iterator[str]:
        for thing in things:
            whole = inspect.ismodule(thing)
            yield f"::: {thing.__name__ if whole else f'{thing.__module__}.{thing.__qualname__}'}"
            if inherited and inspect.isclass(thing):
                yield from ("    options:", "      inherited_members: true")
            yield ""

    return lines


def import_modules(package: ModuleType) -> list[ModuleType]:
    """The modules of a package, by name."""
    found = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [import_module(f"{package.__name__}.{name}") for name in found]


BLOCKS: dict[str, Callable[[], Iterator[str]]] = {
    "configuration": list_keys,
    "command-line": list_verbs,
    "catalogue": list_names,
    **{f"metrics-{group}": partial(list_metrics, group) for group in get_args(Group)},
    "api-inference": render_api(TextVAE, ImageVAE, load, inherited=True),
    "api-tools": render_api(
        directions,
        editing,
        infilling,
        code_index,
        neighbors,
        arithmetic,
        augmentation,
        augmentation_gain,
        projector,
    ),
    "api-interfaces": render_api(interfaces),
    "api-vae": render_api(VAE),
    "api-latents": render_api(*LATENTS.values()),
    "api-priors": render_api(*PRIORS.values()),
    "api-objectives": render_api(Objective, TrainStep, *OBJECTIVES.values()),
    "api-remedies": render_api(*REMEDIES.values()),
    "api-evaluate": render_api(evaluate),
    "api-metrics": render_api(*import_modules(metrics)),
}


def fill_blocks(page: str) -> str:
    """A page with every block written anew.

    Raises:
        KeyError: a block that nothing writes.
    """

    def block(found: re.Match[str]) -> str:
        return f"{found[1]}\n{chr(10).join(BLOCKS[found[2]]())}\n{found[3]}"

    return BLOCK.sub(block, page)


def main() -> None:
    """Write every page that has a block."""
    for path in sorted(DOCS.rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        if BLOCK.search(page):
            path.write_text(fill_blocks(page), encoding="utf-8")
            print(path.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
