"""The tokenizer of a pretrained language model as the tokenizer of a run, with the same ids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from seqvae.data.text.batch import SpecialIds
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.tokenizer_files import named_roles, with_json_entries
from seqvae.errors import UserError, suggest
from seqvae.models.pretrained.base import find_base, library

# separators of documents in pre-training; the start token of an instruct model lowers log p of plain text
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
_DOCUMENT_STARTS = {"<|end_of_text|>": "<|begin_of_text|>", "</s>": "<s>", "<eos>": "<bos>"}
# bytes that never occur in UTF-8, as byte-level and byte-fallback vocabularies write them
_UNUSED_BYTES = ("ÿ", "þ", "ý", "<0xFF>", "<0xFE>", "<0xFD>")


def read_pretrained_tokenizer(
    model: str, revision: str | None = None, start: str | None = None, end: str | None = None
) -> TextTokenizer:
    """The tokenizer of a language model, with ids for the four roles that a run needs.

    No id is added to the vocabulary, because the model has no embedding for it. Start and end are the tokens
    between documents in pre-training, unless `start` and `end` name others. Padding and the blank of word
    dropout are special tokens without another role, or bytes that never occur in UTF-8.

    Raises:
        UserError: no such model or token, or no ids left for padding and blank.
    """
    folder = find_base(model, revision).folder
    # a post-processor would add special tokens
    tokenizer = with_json_entries(tokenizer_of(folder), post_processor=None)
    return TextTokenizer(tokenizer, special_ids(tokenizer, named_roles(folder), start, end))


def tokenizer_of(folder: Path) -> Tokenizer:
    """The tokenizer in the folder of a pretrained model.

    Raises:
        UserError: it has none that `tokenizers` can read.
    """
    file = folder / "tokenizer.json"
    if file.is_file():
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    found = library().AutoTokenizer.from_pretrained(folder)
    if not getattr(found, "is_fast", False):
        raise UserError(f"{folder} has no tokenizer.json, and its tokenizer cannot be converted to one")
    return Tokenizer.from_str(found.backend_tokenizer.to_str())


def special_ids(
    tokenizer: Tokenizer, named: dict[str, str], start: str | None = None, end: str | None = None
) -> SpecialIds:
    """Ids of start, end, padding and blank; `named` are the tokens of roles in the model's files.

    Raises:
        UserError: a token that is not in the vocabulary, or none is left for padding or blank.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    for token in (start, end):
        if token is not None and token not in vocabulary:
            raise UserError(f"the vocabulary has no token {token!r}: {suggest(token, _special(tokenizer))}")
    end = end or _first([*_DOCUMENT_ENDS, named.get("eos", "")], vocabulary)
    if end is None:
        raise UserError(f"no token ends a text: name one by end, among {', '.join(_special(tokenizer))}")
    candidates = [_DOCUMENT_STARTS.get(end, end), named.get("bos", "")]
    start = start or _first(candidates, vocabulary) or end
    taken = {start, end}
    ids = {}
    for role in ("unk", "pad"):
        spare = [named.get(role, ""), *_special(tokenizer), *_UNUSED_BYTES]
        token = _first((t for t in spare if t not in taken), vocabulary)
        if token is None:
            raise UserError(f"no token is left for {role}: this vocabulary cannot be used as a run's own")
        taken.add(token)
        ids[role] = vocabulary[token]
    return SpecialIds(bos=vocabulary[start], eos=vocabulary[end], **ids)


def _special(tokenizer: Tokenizer) -> list[str]:
    """The special tokens in the order of their ids."""
    added = sorted(tokenizer.get_added_tokens_decoder().items())
    return [token.content for _, token in added if token.special]


def _first(candidates: Iterable[str], vocabulary: dict[str, int]) -> str | None:
    return next((token for token in candidates if token in vocabulary), None)


def prompt_ids(folder: Path, prompt: str) -> list[int]:
    """The ids of a prompt, without start and end.

    Raises:
        UserError: the prompt has no token.
    """
    ids: list[int] = tokenizer_of(folder).encode(prompt, add_special_tokens=False).ids
    if not ids:
        raise UserError(f"prompt got {prompt!r}: give at least one word, its keys and values start the slots")
    return ids
