"""Weights on disk: safetensors that carry their own hash, read whole or refused.

The entry `sha256` of a file's metadata is the hash of that file with zeros in its place. So file and hash are
one, however the file is copied; files without it, of older runs or other programs, are read unchecked.

What is written does not depend on how a backend lays weights out: cuDNN keeps all weights of an RNN as views
of one buffer, which `safetensors.torch.save_model` takes for tied weights and refuses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqvae.disk import checkpoints, digest, disk_errors, write_atomically
from seqvae.registry import UserError

WEIGHTS = "model.safetensors"
_BLANK = "0" * 64  # where the hash will be
_LONGEST = 100_000_000  # bytes that safetensors lets a header have


def save_weights(path: Path, vae: nn.Module) -> None:
    """Put the selected weights into the root of the run.

    Raises:
        UserError: the disk is full.
    """
    with disk_errors(path):
        write_atomically(path / WEIGHTS, lambda p: write_weights(vae, p))


def write_weights(module: nn.Module, file: Path) -> None:
    """Every weight once, tied ones too, and the hash of the file in it.

    Of tied weights the first name by the alphabet is kept; the metadata say of each other name which it is.
    """
    state = module.state_dict()
    kept = {other: names[0] for names in tied_names(module) for other in names[1:]}
    tensors = {name: own_copy(value) for name, value in state.items() if name not in kept}
    save_file(tensors, str(file), metadata={"sha256": _BLANK, **kept})
    known = digest(file)
    with file.open("r+b") as content:
        _, header = _head(content)
        content.seek(8 + header.index(_BLANK.encode()))
        content.write(known.encode())


def tied_names(module: nn.Module) -> list[list[str]]:
    """The groups of names under which a module holds one and the same tensor, each in alphabetical order.

    Two names are tied where they are the same parameter or the same part of the same memory. Views of one
    buffer that lie beside each other in it are not tied.
    """
    groups: dict[Hashable, list[str]] = {}
    for name, value in sorted(module.state_dict(keep_vars=True).items()):
        groups.setdefault(_identity(value), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _identity(x: Tensor) -> Hashable:
    storage = x.untyped_storage()._cdata  # an address would be the same for all storages without memory
    return storage, x.storage_offset(), x.shape, x.stride(), x.dtype


def own_copy(x: Tensor) -> Tensor:
    """The tensor in host memory of its own: contiguous, and no view of a larger buffer."""
    host = x.detach().cpu().contiguous()
    return host if host.untyped_storage().nbytes() == host.nbytes else host.clone()


def own_copies(states: Any) -> Any:
    """The same nest of dicts and lists with an `own_copy` in place of each tensor."""
    if isinstance(states, dict):
        return {key: own_copies(value) for key, value in states.items()}
    if isinstance(states, list | tuple):
        return type(states)(own_copies(value) for value in states)
    return own_copy(states) if isinstance(states, Tensor) else states


def _with_tied_names(found: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Add the names that a file leaves out because it holds their weight under another one.

    Raises:
        RuntimeError: the file holds tied weights that differ.
    """
    for names in tied_names(module):
        present = [found[name] for name in names if name in found]
        if not all(torch.equal(value, present[0]) for value in present):
            raise RuntimeError(f"{' and '.join(names)} are one weight here and differ in the file")
        found |= dict.fromkeys(names, present[0]) if present else {}
    return found


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
            raise UserError(f"{file} is damaged, it has changed since it was written: {_mended(file)}")
        module.load_state_dict(_with_tied_names(load_file(str(file)), module), strict=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{file} cannot be read as this model's weights ({reason}): {_mended(file)}"
        ) from None


def _head(content: BinaryIO) -> tuple[bytes, bytes]:
    """The size of the header as it is written, and the header."""
    size = content.read(8)
    return size, content.read(min(int.from_bytes(size, "little"), _LONGEST))


def _mended(file: Path) -> str:
    """What to do about a file of no use."""
    others = checkpoints(file.parent)
    return f"restore it, or copy {others[-1] / WEIGHTS} over it" if others else "restore it"
