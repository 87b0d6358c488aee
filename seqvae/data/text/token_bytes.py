"""The bytes that each token of a tokenizer adds to a text, at its start and further on.

Shapes: V tokens.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from seqvae.data.text.tokenizer import TextTokenizer

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
REPLACED = "\ufffd"  # what decoders write for bytes that are no text
TRIALS, LONGEST = 200, 6  # sequences of tokens by which the bytes are compared with the tokenizer's own text


@dataclass(frozen=True, eq=False)
class TokenBytes:
    """Per token (V) its bytes at the start of a text and after other tokens; None: never written."""

    first: tuple[bytes | None, ...]
    later: tuple[bytes | None, ...]

    def text(self, ids: Sequence[int]) -> str | None:
        """The text of some tokens; None where their bytes are no UTF-8."""
        parts = [(self.later if place else self.first)[i] or b"" for place, i in enumerate(ids)]
        try:
            return b"".join(parts).decode("utf-8")
        except UnicodeDecodeError:
            return None


@functools.lru_cache(maxsize=8)
def token_bytes(tokenizer: TextTokenizer) -> TokenBytes | None:
    """The bytes of every token, or None where a text is more than its tokens' bytes one after the other.

    Found with the tokenizer's own decoder, and compared with it on random sequences of tokens.
    """
    library, special = tokenizer.library, tokenizer.special
    names = [library.id_to_token(i) for i in range(tokenizer.vocab_size)]
    silent = {special.pad, special.bos, special.eos}
    spell = _speller(library)
    first = tuple(None if i in silent or name is None else spell(name, True) for i, name in enumerate(names))
    later = tuple(None if i in silent or name is None else spell(name, False) for i, name in enumerate(names))
    found = TokenBytes(first, later)
    return found if _agrees(tokenizer, found) else None


def _agrees(tokenizer: TextTokenizer, spelled: TokenBytes) -> bool:
    written = [i for i, piece in enumerate(spelled.later) if piece is not None]
    if not written:
        return False
    chance = random.Random(0)
    rows = [[chance.choice(written) for _ in range(chance.randint(1, LONGEST))] for _ in range(TRIALS)]
    pairs = zip(map(spelled.text, rows), tokenizer.decode_batch(rows), strict=True)
    return all(REPLACED in real if text is None else text == real for text, real in pairs)


def _speller(tokenizer: Tokenizer) -> Any:
    """A function of a token's name and whether it is the first: its bytes."""
    kinds = _decoder_kinds(tokenizer)
    if kinds == ["ByteLevel"]:
        return _byte_level
    falls_back = "ByteFallback" in kinds

    def spell(name: str, first: bool) -> bytes:
        byte = _BYTE_TOKEN.fullmatch(name) if falls_back else None
        return bytes([int(byte[1], 16)]) if byte else _decode_after(tokenizer, name, first)

    return spell


def _decoder_kinds(tokenizer: Tokenizer) -> list[str]:
    decoder = json.loads(tokenizer.to_str())["decoder"]
    if decoder is None:
        return []
    parts = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    return [part["type"] for part in parts]


def _decode_after(tokenizer: Tokenizer, name: str, first: bool) -> bytes:
    """What the decoder makes of a token alone, or behind another one; without a decoder spaces join words."""
    if tokenizer.decoder is None:
        return (name if first else f" {name}").encode()
    anchor = [] if first else ["a"]
    text: str = tokenizer.decoder.decode([*anchor, name])
    return (text if first else text.removeprefix(tokenizer.decoder.decode(["a"]))).encode()


def _byte_level(name: str, first: bool) -> bytes:
    """Characters of GPT-2's table as their bytes; a name with others is an added token, a text by itself."""
    table = _byte_of_character()
    if all(character in table for character in name):
        return bytes(table[character] for character in name)
    return name.encode()


@functools.cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: printable Latin-1 is itself, the other bytes are characters from 256 on."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}
