"""Weights as safetensors files that contain their own sha256, checked when they are read.

The metadata entry `sha256` is the hash of the file with zeros in place of that entry. So file and hash stay
together when the file is copied; files without it, of older runs or other programs, are read unchecked.

The file does not depend on how a backend lays out weights: cuDNN keeps all weights of an RNN as views
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

from seqvae.errors import UserError
from seqvae.utils.atomic_files import explain_disk_errors, list_checkpoints, sha256_of, write_atomically

WEIGHTS = "model.safetensors"
_BLANK = "0" * 64  # placeholder of the hash
_LONGEST = 100_000_000  # maximum size of a safetensors header, in bytes


def save_weights(path: Path, vae: nn.Module) -> None:
    """Write the selected weights to the root of the run folder.

    Raises:
        UserError: the disk is full.
    """
    with explain_disk_errors(path):
        write_atomically(path / WEIGHTS, lambda p: write_weights(vae, p))


def write_weights(module: nn.Module, file: Path) -> None:
    """Write every weight once, tied ones included, and the file's hash into its metadata.

    Tied weights are stored under the alphabetically first name; the metadata map each other name to it.
    """
    state = module.state_dict()
    kept = {other: names[0] for names in tied_names(module) for other in names[1:]}
    tensors = {name: own_copy(value) for name, value in state.items() if name not in kept}
    save_file(tensors, str(file), metadata={"sha256": _BLANK, **kept})
    known = sha256_of(file)
    with file.open("r+b") as content:
        _, header = _head(content)
        content.seek(8 + header.index(_BLANK.encode()))
        content.write(known.encode())


def tied_names(module: nn.Module) -> list[list[str]]:
    """Groups of names that share one tensor, each group in alphabetical order.

    Two names are tied if they are the same parameter or the same part of the same memory. Adjacent views of
    one buffer are not tied.
    """
    groups: dict[Hashable, list[str]] = {}
    for name, value in sorted(module.state_dict(keep_vars=True).items()):
        groups.setdefault(_identity(value), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _identity(x: Tensor) -> Hashable:
    storage = x.untyped_storage()._cdata  # not data_ptr(): it is 0 for every storage without memory
    return storage, x.storage_offset(), x.shape, x.stride(), x.dtype


def own_copy(x: Tensor) -> Tensor:
    """A contiguous CPU copy of the tensor that is not a view of a larger buffer."""
    host = x.detach().cpu().contiguous()
    return host if host.untyped_storage().nbytes() == host.nbytes else host.clone()


def own_copies(states: Any) -> Any:
    """The same nested dicts and lists with `own_copy` applied to each tensor."""
    if isinstance(states, dict):
        return {key: own_copies(value) for key, value in states.items()}
    if isinstance(states, list | tuple):
        return type(states)(own_copies(value) for value in states)
    return own_copy(states) if isinstance(states, Tensor) else states


def _with_tied_names(found: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Add the tied names that a file leaves out, with the weight of the name that it holds.

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
    """Whether the file has changed since `write_weights`; False for a file without a hash."""
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
        module.load_state_dict(_with_tied_names(load_file(str(file)), module), strict=True)
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{file} cannot be read as this model's weights ({reason}): {_repair_hint(file)}"
        ) from None


def _head(content: BinaryIO) -> tuple[bytes, bytes]:
    """The 8 bytes with the header's size, and the header."""
    size = content.read(8)
    return size, content.read(min(int.from_bytes(size, "little"), _LONGEST))


def _repair_hint(file: Path) -> str:
    """What the user can do about a damaged file."""
    others = list_checkpoints(file.parent)
    return f"restore it, or copy {others[-1] / WEIGHTS} over it" if others else "restore it"
