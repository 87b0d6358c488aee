"""Word, character, BPE and unigram tokenizers, trained on texts or loaded from a file."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from seqvae.data.text.batch import SpecialIds
from seqvae.data.text.tokenizer import SEPARATORS, UNKNOWN_WORDS, TextTokenizer
from seqvae.data.text.tokenizer_files import token_id, with_json_entries
from seqvae.errors import UserError

PAD, UNK, BOS, EOS = SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
DEFAULT_SIZE = 10_000
# GPT-2's words, with the marks on a letter in its word: vowels of Devanagari and Arabic, tones of Thai
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]


def train_word(
    texts: Iterable[str],
    vocab_size: int | None = None,
    lowercase: bool = False,
    unicode_form: UnicodeForm | None = None,
) -> TextTokenizer:
    """Train a word tokenizer: words between white space, by frequency; `<unk>` and `_UNK` are unknown words.

    `vocab_size` includes the four special tokens; by default it is 10,000, or fewer if there are fewer words.
    Words are counted after normalisation by `lowercase` and `unicode_form`, which also apply in use.

    Raises:
        UserError: `vocab_size` exceeds the words of the texts, or leaves no room besides special tokens.
    """
    counts: Counter[str] = Counter()
    normalizer, split = _normalizer(lowercase, unicode_form), pre_tokenizers.WhitespaceSplit()
    for text in _normalize(texts, normalizer):
        if any(c in text for c in SEPARATORS):
            counts.update(word for word, _ in split.pre_tokenize_str(text))
        else:
            counts.update(text.split())
    tokenizer = Tokenizer(models.WordLevel(_vocabulary(counts, vocab_size, "words"), unk_token=UNK))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    return _add_special_tokens(tokenizer, words=True)


def train_char(
    texts: Iterable[str],
    vocab_size: int | None = None,
    lowercase: bool = False,
    unicode_form: UnicodeForm | None = None,
) -> TextTokenizer:
    """Train a tokenizer of Unicode characters, including spaces; arguments and errors as `train_word`."""
    counts: Counter[str] = Counter()
    normalizer = _normalizer(lowercase, unicode_form)
    for text in _normalize(texts, normalizer):
        counts.update(text)
    vocabulary = _vocabulary(counts, vocab_size, "characters")
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNK))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Fuse()
    return _add_special_tokens(tokenizer)


def _normalizer(lowercase: bool, unicode_form: UnicodeForm | None) -> Any:
    """The normalizer of a tokenizer, saved with it so that use equals training."""
    chosen = [] if unicode_form is None else [getattr(normalizers, unicode_form)()]
    chosen += [normalizers.Lowercase()] if lowercase else []
    return normalizers.Sequence(chosen) if len(chosen) > 1 else next(iter(chosen), None)


def _normalize(texts: Iterable[str], normalizer: Any) -> Iterable[str]:
    """Normalized texts; not by `str.lower`, which has more rules (such as for a final sigma)."""
    return texts if normalizer is None else map(normalizer.normalize_str, texts)


def _vocabulary(counts: Counter[str], vocab_size: int | None, things: str) -> dict[str, int]:
    for word in (*SPECIALS, *UNKNOWN_WORDS, *map(str.lower, UNKNOWN_WORDS)):
        counts.pop(word, None)
    there = len(counts) + len(SPECIALS)
    _check_size(vocab_size, len(SPECIALS) + 1)
    if vocab_size is not None and vocab_size > there:
        raise UserError(_too_large(vocab_size, there, things))
    kept = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [*SPECIALS, *(word for word, _ in kept)][: vocab_size or DEFAULT_SIZE]
    return {word: i for i, word in enumerate(words)}


def _check_size(vocab_size: int | None, least: int) -> None:
    if vocab_size is not None and vocab_size < least:
        raise UserError(f"vocab_size {vocab_size} is too small: give at least {least}")


def _too_large(vocab_size: int, there: int, things: str = "tokens") -> str:
    return (
        f"vocab_size {vocab_size} is more than the training texts give: {there} {things} with the special "
        f"tokens; ask for at most {there}, or leave vocab_size out"
    )


def train_bpe(
    texts: Iterable[str],
    vocab_size: int | None = None,
    lowercase: bool = False,
    unicode_form: UnicodeForm | None = None,
) -> TextTokenizer:
    """Train byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2), which can represent any Unicode text.

    Text is split into words as by GPT-2, but a combining mark stays with its letter.

    Raises:
        UserError: a vocabulary larger than the texts allow, or below the 256 bytes and 4 special tokens.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _check_size(vocab_size, len(alphabet) + len(SPECIALS))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _normalizer(lowercase, unicode_form)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size or DEFAULT_SIZE,
        special_tokens=list(SPECIALS),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    return _train(tokenizer, trainer, texts, vocab_size, _too_large)


def train_unigram(
    texts: Iterable[str],
    vocab_size: int | None = None,
    lowercase: bool = False,
    unicode_form: UnicodeForm | None = None,
) -> TextTokenizer:
    """Train a unigram language model over pieces (Kudo 2018); an unseen character is the unknown token.

    Raises:
        UserError: the trainer made fewer tokens than `vocab_size`, or it is too small for the characters.
    """
    _check_size(vocab_size, len(SPECIALS) + 1)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = _normalizer(lowercase, unicode_form)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size or DEFAULT_SIZE,
        special_tokens=list(SPECIALS),
        unk_token=UNK,
        show_progress=False,
    )
    return _train(tokenizer, trainer, texts, vocab_size, _fell_short)


def _fell_short(vocab_size: int, there: int) -> str:
    # not "the texts give no more": pruning may skip a size that the texts allow
    return (
        f"the unigram trainer ended with {there} of the {vocab_size} tokens asked for in vocab_size; "
        f"ask for {there}, or leave vocab_size out"
    )


def _train(
    tokenizer: Tokenizer,
    trainer: Any,
    texts: Iterable[str],
    size: int | None,
    too_few: Callable[[int, int], str],
) -> TextTokenizer:
    try:
        tokenizer.train_from_iterator(_in_batches(texts), trainer)
    except UserError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"no tokenizer of {size or DEFAULT_SIZE} tokens can be trained ({reason})") from None
    there = tokenizer.get_vocab_size()
    if size is not None and there < size:
        raise UserError(too_few(size, there))
    return _add_special_tokens(tokenizer)


def _in_batches(texts: Iterable[str], size: int = 1000) -> Iterator[list[str]]:
    texts = iter(texts)
    while batch := list(itertools.islice(texts, size)):
        yield batch


def _add_special_tokens(tokenizer: Tokenizer, words: bool = False) -> TextTokenizer:
    """Add the special tokens.

    Except in word vocabularies `<unk>` is not special to the library: a literal one would be split up.
    """
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    if not words:
        added = json.loads(tokenizer.to_str())["added_tokens"]
        added = [token | {"special": token["content"] != UNK} for token in added]
        tokenizer = with_json_entries(tokenizer, added_tokens=added)
    return TextTokenizer(tokenizer, SpecialIds(*(token_id(tokenizer, s) for s in SPECIALS)))


def read_tokenizer(path: str) -> TextTokenizer:
    """Load an existing `tokenizer.json`, or a folder with one."""
    return TextTokenizer.load(path)


TOKENIZERS: dict[str, Callable[..., TextTokenizer]] = {
    "word": train_word,
    "bpe": train_bpe,
    "unigram": train_unigram,
    "char": train_char,
    "file": read_tokenizer,
}
