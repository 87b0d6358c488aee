"""Strict YAML: duplicate keys are errors, and words such as `no` are strings as in YAML 1.2."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from seqvae.errors import UserError


class _DuplicateKey(yaml.YAMLError):
    """A key occurs twice in a block."""


class _StrictLoader(yaml.SafeLoader):
    """Rejects duplicate keys, of which PyYAML silently takes the last.

    As in YAML 1.2, the plain scalars `no`, `on`, `12:30` and `2020-01-01` are strings.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the base class, after a check for duplicate keys."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if (key.tag, key.value) in seen:
                    line = key.start_mark.line + 1
                    raise _DuplicateKey(f"line {line} gives {key.value!r} a second time: keep one")
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    """An integer; as a float if it is very long, because Python rejects more than 4,300 digits."""
    return float(node.value) if len(node.value) > 300 else loader.construct_yaml_int(node)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _integer)
_TEXTS = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int")
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in _TEXTS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """Parse YAML.

    Raises:
        yaml.YAMLError: not YAML, or a duplicate key.
    """
    return yaml.load(text, _StrictLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UserError: no such file, or it does not hold a mapping.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no config file {path}: `seqvae list configs` names the shipped ones") from None
    except _DuplicateKey as error:
        raise UserError(f"{path}, {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} is not a YAML file: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no key: value pairs; see `seqvae show` for a whole config")
    return values
