"""Renamed config keys, values and shipped configs: the old names still load, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from seqvae.errors import UserError

Names = Mapping[str, str]

DATA: Names = {"labelled": "num_labeled", "broken": "on_bad_image"}
ARGUMENTS: Mapping[tuple[str, str], Names] = {
    ("latent", "exact_rate"): {"tells": "condition_on", "by": "conditioning", "draw": "rate_sampling"},
    ("remedies", "aggressive_encoder"): {"most": "max_inner_steps"},
}
VALUES = {"conditioning": {"scale_and_shift": "film", "coordinate": "concat"}}
CONFIGS = {
    "text/dial-captions": "text/variable-rate-captions",
    "text/dial-ptb": "text/variable-rate-ptb",
    "text/dial-quickstart": "text/variable-rate-quickstart",
    "compare/dial-ablations": "compare/variable-rate-ablations",
    "compare/dial-captions": "compare/variable-rate-captions",
    "compare/dial-mnist": "compare/variable-rate-mnist",
    "compare/dial-ptb": "compare/variable-rate-ptb",
}


def rename_old_keys(values: dict[str, Any], where: str, warn: bool = True) -> None:
    """Rename the old keys of a run's config in place.

    Args:
        values: the config as nested dicts and lists; it is modified.
        where: the source of the config, for errors and warnings.
        warn: whether to warn; not for configs of saved runs, whose keys no user wrote.

    Raises:
        UserError: a key is given under both names.
    """
    for path, block, names in _blocks(values):
        for old, new in names.items():
            if old not in block:
                continue
            if new in block:
                raise UserError(f"{where}: {path}.{old} is the old name of {path}.{new}: keep {new} alone")
            if warn:
                _warn(f"{where}: {path}.{old}", f"{path}.{new}")
            value = block.pop(old)
            known = VALUES.get(new, {})
            block[new] = known.get(value, value) if isinstance(value, str) else value


def current_config_name(name: str) -> str:
    """The current name of a shipped config, from a name that may be old."""
    if name not in CONFIGS:
        return name
    _warn(f"config {name}", CONFIGS[name])
    return CONFIGS[name]


def _blocks(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Names]]:
    """Each block that may hold old keys: its path, itself and its renamed keys."""
    if isinstance(data := values.get("data"), dict):
        yield "data", data, DATA
    latent, remedies = values.get("latent"), values.get("remedies")
    found = [("latent", "latent", latent)]
    if isinstance(remedies, list):
        found += [("remedies", f"remedies.{i}", remedy) for i, remedy in enumerate(remedies)]
    for kind, path, block in found:
        if isinstance(block, dict) and (kind, block.get("name")) in ARGUMENTS:
            yield path, block, ARGUMENTS[kind, str(block["name"])]


def _warn(old: str, new: str) -> None:
    # shown to users by default, unlike a DeprecationWarning
    warnings.warn(f"{old} is deprecated: use {new}", FutureWarning, stacklevel=4)
