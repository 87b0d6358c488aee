"""The files of a tokenizer, tokenizer.json and tokenizer_config.json, and its special tokens in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from seqvae.data.text.batch import SpecialIds
from seqvae.errors import UserError

TOKENIZER_FILE, CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
_LITERAL = "seqvae_unk_is_word"  # key of tokenizer_config.json
_REPEATS = "seqvae_repeats"  # likewise
# role -> (key in tokenizer_config.json, common names)
_ROLES = {
    "pad": ("pad_token", ("<pad>", "[PAD]")),
    "unk": ("unk_token", ("<unk>", "[UNK]")),
    "bos": ("bos_token", ("<s>", "[CLS]", "[BOS]", "<bos>", "<|endoftext|>")),
    "eos": ("eos_token", ("</s>", "[SEP]", "[EOS]", "<eos>", "<|endoftext|>")),
}
_OTHER_KEYS = {"bos": "cls_token", "eos": "sep_token"}  # BERT's names


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, special: SpecialIds, unk_is_word: bool, repeats: int
) -> None:
    """Write the two files; `AutoTokenizer` of transformers reads them and adds no special tokens.

    Args:
        folder: made if it does not exist.
        tokenizer: the tokenizer.
        special: its special ids.
        unk_is_word: whether the training text itself writes the unknown token.
        repeats: times that the training text has a 4-gram in a sentence at most; 0: not known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER_FILE).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    added = tokenizer.get_added_tokens_decoder()
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": added.get(special.unk) is None or added[special.unk].special,
        "add_bos_token": False,
        "add_eos_token": False,
        "model_max_length": 10**9,
        _LITERAL: unk_is_word,
        _REPEATS: repeats,
    }
    for role, (key, _) in _ROLES.items():
        config[key] = tokenizer.id_to_token(getattr(special, role)) or ""
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def read_tokenizer(path: Path) -> tuple[Tokenizer, SpecialIds, tuple[bool, int]]:
    """The tokenizer in a folder or a tokenizer.json, its special ids, and (`unk_is_word`, `repeats`).

    Raises:
        UserError: no such file, or not a tokenizer.
    """
    file = path / TOKENIZER_FILE if path.is_dir() else path
    tokenizer = with_json_entries(_parse(file), post_processor=None)  # which would add special tokens
    config = _json_object(file.parent / CONFIG_FILE)
    settings = bool(config.get(_LITERAL, True)), int(config.get(_REPEATS, 0))
    return tokenizer, _special_ids(tokenizer, named_roles(file.parent)), settings


def with_json_entries(tokenizer: Tokenizer, **values: Any) -> Tokenizer:
    """A copy with some top-level entries of its JSON replaced."""
    return Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | values))


def _parse(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no tokenizer at {file}: give a tokenizer.json or a folder with one") from None
    except Exception as error:  # the library raises bare exceptions
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{file} is not a tokenizer.json ({reason}): give one that tokenizers wrote"
        ) from None


def named_roles(folder: Path) -> dict[str, str]:
    """{role: token} from the files next to a tokenizer.json."""
    named: dict[str, str] = {}
    for file in (folder / "special_tokens_map.json", folder / CONFIG_FILE):
        values = _json_object(file)
        for role, (key, _) in _ROLES.items():
            value = values.get(key) or values.get(_OTHER_KEYS.get(role, ""))
            text = value.get("content") if isinstance(value, dict) else value
            if isinstance(text, str):
                named[role] = text
    return named


def _json_object(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of an existing token."""
    index = tokenizer.token_to_id(token)
    assert index is not None, token
    return int(index)


def _special_ids(tokenizer: Tokenizer, named: dict[str, str]) -> SpecialIds:
    """The ids of the four roles; padding and unknown always differ from the end token."""
    ids: dict[str, int] = {}
    for role in ("eos", "bos", "unk", "pad"):
        _, common = _ROLES[role]
        candidates = [named[role]] if role in named else []
        if role in ("unk", "pad"):
            candidates = [c for c in candidates if tokenizer.token_to_id(c) not in ids.values()]
        known = [c for c in (*candidates, *common) if tokenizer.token_to_id(c) is not None]
        token = known[0] if known else common[0]
        if not known:
            tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        ids[role] = token_id(tokenizer, token)
    return SpecialIds(**ids)
