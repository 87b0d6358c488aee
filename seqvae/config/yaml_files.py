"""YAML files as people write them, with the mistakes said that YAML itself passes over."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from seqvae.errors import UserError


class _Twice(yaml.YAMLError):
    """A key that a block has twice."""


class _OneOfEach(yaml.SafeLoader):
    """Refuses a key that a block has twice, of which YAML would silently take the last.

    Of YAML 1.2's mind in what a plain word is: `no`, `on`, `12:30` and `2020-01-01` are texts.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As usual, when no key is there twice."""
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if (key.tag, key.value) in seen:
                    line = key.start_mark.line + 1
                    raise _Twice(f"line {line} gives {key.value!r} a second time: keep one")
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    """A whole number; beyond a few hundred digits, of which Python reads 4,300, as a float."""
    return float(node.value) if len(node.value) > 300 else loader.construct_yaml_int(node)


_OneOfEach.add_constructor("tag:yaml.org,2002:int", _integer)
_TEXTS = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int")
_OneOfEach.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in _TEXTS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_OneOfEach.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_OneOfEach.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """The value of a text.

    Raises:
        yaml.YAMLError: no YAML, or a key twice.
    """
    return yaml.load(text, _OneOfEach)


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        UserError: no such file, or nothing of the kind in it.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no config file {path}: `seqvae list configs` names the shipped ones") from None
    except _Twice as error:
        raise UserError(f"{path}, {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} is not a YAML file: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no key: value pairs; see `seqvae show` for a whole config")
    return values
