"""Load and dump configs: YAML with `--set a.b=c` overrides, validated against the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from seqvae.config.overrides import apply_override
from seqvae.config.registry import lookup
from seqvae.config.renamed_keys import rename_old_keys
from seqvae.config.schema import RUN_CONFIGS, Component, InitConfig, RunConfig
from seqvae.config.yaml_files import read_yaml
from seqvae.errors import UserError, suggest


def load_config(source: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file, apply `key.path=value` overrides and validate the result.

    Raises:
        UserError: no such file, not YAML, an unknown key (the nearest valid one is suggested), a wrong value.
    """
    return parse_config(read_yaml(Path(source)), overrides, where=str(source))


def parse_config(
    values: Mapping[str, Any],
    overrides: Iterable[str] = (),
    where: str = "config",
    saved: bool = False,
) -> RunConfig:
    """Like `load_config`, from values already read; `where` is their source, for error messages.

    If they were `saved` in a run, perhaps by an older version, old keys are renamed without a warning.

    Raises:
        UserError: an unknown key (the nearest valid one is suggested), a wrong value, a malformed override.
    """
    merged: Any = _deep_copy(values)
    for override in overrides:
        if override.partition("=")[0] == "modality":
            apply_override(merged, override, RunConfig)
    modality = str(merged.get("modality", "text"))
    try:
        made = lookup("modality", RUN_CONFIGS, modality)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    _name_components(merged, made)
    for override in overrides:
        apply_override(merged, override, made)
    rename_old_keys(merged, where, warn=not saved)
    try:
        return made.model_validate(merged)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error, made)}") from None


def _deep_copy(value: Any) -> Any:
    """A deep copy in which blocks that share a YAML anchor are separate."""
    if isinstance(value, Mapping):
        return {key: _deep_copy(inner) for key, inner in value.items()}
    return [_deep_copy(inner) for inner in value] if isinstance(value, list | tuple) else value


def dump_config(config: RunConfig) -> str:
    """The YAML of a resolved config; `load_config` reads it back."""
    values = config.model_dump(by_alias=True, exclude_none=False)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _name_components(values: dict[str, Any], made: type[RunConfig]) -> None:
    """Give every open block its default name, so that `--set latent.dim=64` needs no name."""
    for key, field in made.model_fields.items():
        if isinstance(field.default, Component):
            block = values.setdefault(key, {})
            if isinstance(block, dict):
                block.setdefault("name", field.default.name)


def _explain(error: ValidationError, made: type[RunConfig]) -> str:
    """The first problem in one line; for an unknown key, with the nearest valid one."""
    problem = error.errors()[0]
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {path!r}: {suggest(str(problem['loc'][-1]), _keys_at(problem['loc'], made))}"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {said} (got {problem['input']!r})"


def _keys_at(location: tuple[int | str, ...], made: type[RunConfig]) -> list[str]:
    model: type[BaseModel] = made
    for key in location[:-1]:
        field = model.model_fields.get(str(key))
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        elif str(key) == "init":
            model = InitConfig
    return [f.alias or name for name, f in model.model_fields.items()]
