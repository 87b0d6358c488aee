"""Weights on disk: safetensors that carry their own hash, read whole or refused.

The entry `sha256` of a file's metadata is the hash of that file with zeros in its place. So file and hash are
one, however the file is copied; files without it, of older runs or other programs, are read unchecked.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from seqvae.errors import UserError
from seqvae.utils.atomic_files import explain_disk_errors, list_checkpoints, sha256_of, write_atomically

WEIGHTS = "model.safetensors"
_BLANK = "0" * 64  # where the hash will be
_LONGEST = 100_000_000  # bytes that safetensors lets a header have


def save_weights(path: Path, vae: nn.Module) -> None:
    """Put the selected weights into the root of the run.

    Raises:
        UserError: the disk is full.
    """
    with explain_disk_errors(path):
        write_atomically(path / WEIGHTS, lambda p: write_weights(vae, p))


def write_weights(module: nn.Module, file: Path) -> None:
    """Every weight once, tied ones too, and the hash of the file in it."""
    save_model(module, str(file), metadata={"sha256": _BLANK})
    known = sha256_of(file)
    with file.open("r+b") as content:
        _, header = _head(content)
        content.seek(8 + header.index(_BLANK.encode()))
        content.write(known.encode())


def is_damaged(file: Path) -> bool:
    """Whether a byte has changed since `write_weights`; False of a file that carries no hash."""
    with file.open("rb") as content:
        size, header = _head(content)
        try:
            known = str(json.loads(header)["__metadata__"]["sha256"])
        except (ValueError, KeyError, TypeError):
            return False
        found = hashlib.sha256(size + header.replace(known.encode(), _BLANK.encode(), 1))
        while part := content.read(1 << 20):
            found.update(part)
    return found.hexdigest() != known


def read_weights(module: nn.Module, file: Path) -> None:
    """Load every weight, none missing and none left over.

    Raises:
        UserError: the file is truncated, damaged or of another model.
    """
    try:
        if is_damaged(file):
            raise UserError(f"{file} is damaged, it has changed since it was written: {_repair_hint(file)}")
        load_model(module, str(file), strict=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{file} cannot be read as this model's weights ({reason}): {_repair_hint(file)}"
        ) from None


def _head(content: BinaryIO) -> tuple[bytes, bytes]:
    """The size of the header as it is written, and the header."""
    size = content.read(8)
    return size, content.read(min(int.from_bytes(size, "little"), _LONGEST))


def _repair_hint(file: Path) -> str:
    """What to do about a file of no use."""
    others = list_checkpoints(file.parent)
    return f"restore it, or copy {others[-1] / WEIGHTS} over it" if others else "restore it"
