"""YAML files as people write them, with the mistakes said that YAML itself passes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from seqvae.errors import UserError


class _Twice(yaml.YAMLError):
    """A key that a block has twice."""


class _OneOfEach(yaml.SafeLoader):
    """Refuses a key that a block has twice, of which YAML would silently take the last."""

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


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises:
        UserError: no such file, or nothing of the kind in it.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _OneOfEach)
    except FileNotFoundError:
        raise UserError(f"no config file {path}: `seqvae list configs` names the shipped ones") from None
    except _Twice as error:
        raise UserError(f"{path}, {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} is not a YAML file: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no key: value pairs; see `seqvae show` for a whole config")
    return values
