"""Location of a pretrained model (a folder, a GGUF file or a Hub id), and the hash of its weights."""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seqvae.data.cache import cache_root, fill_folder
from seqvae.data.content import remembered_hash
from seqvae.errors import UserError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (
    "*.json",
    "*.safetensors",
    "*.txt",
    "*.model",
    "*/*.json",
    "*/*.safetensors",
    "README.md",
)  # of the Hub
_LEFT_OUT = ("onnx/*", "openvino/*", "original/*")
_WEIGHTS = ("*.safetensors", "*.bin")
# in the front matter of a model card
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license: *['\"]?([^'\"\n]+?)['\"]? *\n(?:.*\n)*?---")


@dataclass(frozen=True)
class Base:
    """A pretrained model on this machine.

    Args:
        name: its name in the config.
        folder: the folder with `config.json`, weights and tokenizer that `transformers` reads.
        revision: the commit of a Hub repository, None for a folder or file.
        packed: the file from which the folder was unpacked.
    """

    name: str
    folder: Path
    revision: str | None = None
    packed: Path | None = None

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the weights, or of the packed file; for several files, of their hashes.

        Raises:
            UserError: no weights in the folder.
        """
        if self.packed is not None:
            return remembered_hash(self.packed, sha256_of)
        files = next((found for kind in _WEIGHTS if (found := sorted(self.folder.glob(kind)))), [])
        if not files:
            raise UserError(
                f"{self.folder} holds no weights ({' or '.join(_WEIGHTS)}): fetch the model again"
            )
        hashes = [remembered_hash(file, sha256_of) for file in files]
        if len(hashes) == 1:
            return hashes[0]
        lines = "\n".join(f"{file.name} {known}" for file, known in zip(files, hashes, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def licence(self) -> str | None:
        """The licence according to the model's card or GGUF file; None if neither names one."""
        card = self.folder / "README.md"
        if card.is_file() and (found := _LICENCE.match(card.read_text(encoding="utf-8", errors="replace"))):
            return found[1]
        if self.packed is None or self.packed.suffix != ".gguf":
            return None
        from gguf import GGUFReader

        field = GGUFReader(self.packed).fields.get("general.license")
        return None if field is None else str(field.contents())

    def load(self, kind: str) -> nn.Module:
        """Load the model by the class `kind` of `transformers`, in fp32 and evaluation mode.

        Raises:
            UserError: `transformers` cannot load it with that class.
        """
        try:
            model: nn.Module = getattr(library(), kind).from_pretrained(self.folder, dtype=torch.float32)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise UserError(f"{self.name} cannot be read as {kind} ({first_line(error)})") from None
        return model.eval()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library() -> Any:
    """Import `transformers`, only if a pretrained model is used, because it takes seconds.

    Raises:
        UserError: it is not installed, or older than 5.
    """
    try:
        import transformers
    except ImportError:
        raise UserError("pretrained models need transformers: pip install 'seqvae[pretrained]'") from None
    if int(transformers.__version__.partition(".")[0]) < 5:
        raise UserError(
            f"pretrained models need transformers 5, got {transformers.__version__}: "
            "pip install -U transformers"
        )
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return transformers


def find_base(model: str, revision: str | None = None) -> Base:
    """Find the model of a config: a folder, a Hub id, or a `.gguf` or `.zip` file (unpacked in the cache).

    Raises:
        UserError: none of these, or it cannot be downloaded or unpacked.
    """
    path = Path(model)
    if path.is_file() and path.suffix in (".gguf", ".zip"):
        return Base(model, _unpack(path), packed=path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"model {model} has no config.json: give a folder that transformers wrote")
        return Base(model, path)
    if _HUB_ID.fullmatch(model) and path.suffix not in (".gguf", ".zip"):
        folder = _download(model, revision)
        return Base(model, folder, folder.name)
    raise UserError(
        f"model got {model!r}: give a Hub id (owner/name), a folder with a model, or a .gguf or .zip file"
    )


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        chosen: dict[str, Any] = {"allow_patterns": list(_FILES), "ignore_patterns": list(_LEFT_OUT)}
        return Path(snapshot_download(model, revision=revision, **chosen))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(
            f"model {model} is no folder here and cannot be fetched from the Hub ({first_line(error)})"
        ) from None


def _unpack(file: Path) -> Path:
    """Unpack a file atomically into the cache, or find it there; returns the folder.

    Raises:
        UserError: the file cannot be read, or does not hold a model.
    """
    folder = cache_root() / "backbones" / remembered_hash(file, sha256_of)
    if (folder / "config.json").is_file():
        return folder
    with fill_folder(folder, "config.json", "a model") as work:
        if file.suffix == ".gguf":
            _convert(file, work)
        else:
            _extract(file, work)
    return folder


def _extract(file: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            if "config.json" not in archive.namelist():
                raise UserError(f"{file} has no config.json: give an archive of a model's folder")
            archive.extractall(folder)
    except zipfile.BadZipFile:
        raise UserError(f"{file} is no zip archive: fetch it again") from None


def _convert(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file in fp32.

    Raises:
        UserError: the package `gguf` is missing, or the file cannot be read.
    """
    found = library()
    from transformers.utils.quantization_config import GgufConfig

    where: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    try:
        model = found.AutoModelForCausalLM.from_pretrained(
            **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        tokenizer = found.AutoTokenizer.from_pretrained(**where)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UserError(f"{file} cannot be converted ({first_line(error)})") from None
    _forget_quantization(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _forget_quantization(model: Any) -> None:
    """Remove the marks of quantisation, so that `save_pretrained` writes the dequantised weights."""
    model.__dict__.pop("hf_quantizer", None)
    model.is_quantized = False
    model.config.__dict__.pop("quantization_config", None)


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
