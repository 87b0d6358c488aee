"""Pooling of a pretrained encoder's token states to one vector per sentence, as its authors defined it.

Shapes: B sentences, T tokens, H features of the encoder, W width of the vector.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from seqvae.errors import UserError
from seqvae.models.pretrained.base import Base
from seqvae.models.text.pooling import POOLINGS

Pooling = Literal["auto", "mean", "cls", "last", "max"]
LONGEST = 512  # default maximum tokens of an encoder
_MODE = "pooling_mode_"  # prefix of pooling switches in older folders
_MODES = {"lasttoken": "last"}  # names of sentence-transformers
_ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "SiLU": nn.SiLU}
_COUNTS_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")
_GENERATORS = ("ForCausalLM", "LMHeadModel")


class Dense(nn.Module):
    """A dense layer of a sentence-transformers folder: activation(W x + b)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        settings = _read(folder / "config.json")
        kind = str(settings.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
        if kind not in _ACTIVATIONS or settings.get("use_residual"):
            raise UserError(f"{folder} has an activation or a residual that is not known here ({kind})")
        weights = load_file(folder / "model.safetensors")
        self.linear = nn.Linear(settings["in_features"], settings["out_features"], settings.get("bias", True))
        self.linear.load_state_dict({name.removeprefix("linear."): x for name, x in weights.items()})
        self.activation = _ACTIVATIONS[kind]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, out)."""
        out: Tensor = self.activation(self.linear(x))
        return out


class Normalize(nn.Module):
    """x / |x|."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, W)."""
        return functional.normalize(x, dim=-1)


class SentenceHead(nn.Module):
    """Pools token states, then applies the folder's dense layers and normalisation."""

    def __init__(self, pooling: str, layers: list[nn.Module]) -> None:
        super().__init__()
        self.pooling, self.layers = pooling, nn.Sequential(*layers)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, W) from states (B, T, H) where `mask` (B, T) is true."""
        pooled = states[:, 0] if self.pooling == "cls" else POOLINGS[self.pooling](states, mask)
        vectors: Tensor = self.layers(pooled)
        return vectors


@dataclass(frozen=True)
class Recipe:
    """How vectors are made from states, from an encoder's folder or a config."""

    pooling: str
    layers: tuple[tuple[str, str], ...] = ()  # (kind, folder) of the following modules
    folder: str = ""  # subfolder of the transformer
    longest: int | None = None  # maximum tokens per sentence
    lowercase: bool = False

    def head(self, base: Base) -> SentenceHead:
        """The modules of this recipe, with the folder's weights."""
        made: list[nn.Module] = [
            Normalize() if kind == "Normalize" else Dense(base.folder / place) for kind, place in self.layers
        ]
        return SentenceHead(self.pooling, made).requires_grad_(False)


def recipe_of(base: Base, pooling: Pooling) -> Recipe:
    """The recipe of a base model: with `auto`, that of a sentence-transformers folder.

    For other folders `auto` is the last token of a causal language model, and the mean for others.

    Raises:
        UserError: an unknown module.
    """
    listed = base.folder / "modules.json"
    if pooling == "auto" and listed.is_file():
        return _own_recipe(base)
    if pooling != "auto":
        return Recipe(pooling)
    architectures = _read(base.folder / "config.json").get("architectures") or [""]
    return Recipe("last" if str(architectures[0]).endswith(_GENERATORS) else "mean")


def _own_recipe(base: Base) -> Recipe:
    modules = _read(base.folder / "modules.json")
    kinds = [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in modules]
    known = [kind for kind, _ in kinds[:2]] == ["Transformer", "Pooling"]
    if not known or any(kind not in ("Dense", "Normalize") for kind, _ in kinds[2:]):
        found = ", ".join(kind for kind, _ in kinds)
        raise UserError(
            f"{base.name} is made of {found}, and Transformer, Pooling, Dense and Normalize are known: "
            "choose a pooling instead of auto"
        )
    words = _read(base.folder / kinds[0][1] / "sentence_bert_config.json", missing={})
    return Recipe(
        pooling=_own_pooling(base.folder / kinds[1][1] / "config.json", base.name),
        layers=tuple(kinds[2:]),
        folder=kinds[0][1],
        longest=words.get("max_seq_length"),
        lowercase=bool(words.get("do_lower_case")),
    )


def _own_pooling(file: Path, name: str) -> str:
    settings = _read(file)
    mode = settings.get("pooling_mode")
    if mode is None:
        on = [key for key, value in settings.items() if key.startswith(_MODE) and value is True]
        names = [key.removeprefix(_MODE).removesuffix("_tokens").removesuffix("_token") for key in on]
        mode = " and ".join(names)
    mode = _MODES.get(str(mode), str(mode))
    if mode not in ("cls", *POOLINGS):
        raise UserError(f"{name} pools by {mode or 'nothing'}: choose mean, cls, last or max instead of auto")
    return mode


def _read(file: Path, missing: Any = None) -> Any:
    if missing is not None and not file.is_file():
        return missing
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): fetch the model again") from None


class WordReader:
    """The encoder's own tokenizer: ids with its own start and end tokens, truncated to its maximum."""

    def __init__(self, base: Base, recipe: Recipe) -> None:
        from seqvae.models.pretrained.base import library

        self.recipe = recipe
        self.tokenizer: Any = library().AutoTokenizer.from_pretrained(base.folder / recipe.folder)
        if self.tokenizer.pad_token_id is None:
            # a causal language model may have none; any token serves, because padding is masked
            self.tokenizer.pad_token = self.tokenizer.eos_token
        known = (recipe.longest, self.tokenizer.model_max_length, _positions(base, recipe))
        self.longest = min([n for n in known if n and n < 10**9] or [LONGEST])

    @property
    def pad(self) -> int:
        """The id of padding."""
        return int(self.tokenizer.pad_token_id or 0)

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text."""
        given = [text.lower() for text in texts] if self.recipe.lowercase else texts
        found: list[list[int]] = self.tokenizer(given, truncation=True, max_length=self.longest)["input_ids"]
        return found


def _positions(base: Base, recipe: Recipe) -> int | None:
    config = _read(base.folder / recipe.folder / "config.json")
    places: int | None = config.get("max_position_embeddings") or config.get("n_positions")
    # in RoBERTa's family positions start after the padding id
    return (
        places - 2
        if places and config.get("model_type") in ("roberta", "xlm-roberta", "camembert")
        else places
    )


def pad_ids(ids: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids (B, T) padded on the right, and a mask (B, T) of real ids."""
    longest = max(map(len, ids))
    grid = torch.tensor([row + [pad] * (longest - len(row)) for row in ids])
    lengths = torch.tensor([len(row) for row in ids])
    return grid, torch.arange(longest) < lengths[:, None]
