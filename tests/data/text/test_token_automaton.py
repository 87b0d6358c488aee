"""Which tokens may follow, against an enumeration of every sentence of a tiny vocabulary."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models

from seqvae.data.text.byte_dfa import DEAD, compile_regex
from seqvae.data.text.token_automaton import START, TokenMoves, token_moves
from seqvae.data.text.token_bytes import TokenBytes, token_bytes
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.tokenizer_training import TOKENIZERS
from seqvae.errors import UserError

TEXTS = ["the dog sees a ball .", "two dogs ran", "日本語 é ß", "C1=CC(=O)C1 [B-](F)F", "a  b"] * 4
SIZES = {"word": None, "char": None, "bpe": 280, "unigram": None}
# the second character of two bytes is split into tokens, as in byte-level vocabularies
PIECES = (None, None, None, None, b"a", b"b", b"ab", "é".encode()[:1], "é".encode()[1:], b"")
PATTERNS = ["(ab)*", "a?b+", "[^b]*", "é|aé*", "a{2}b|b", ".b.*", "(a|b|é){2,3}"]
LONGEST = 4


def tiny(pattern: str) -> tuple[TokenMoves, TokenBytes]:
    spelled = TokenBytes(PIECES, PIECES)
    return token_moves(compile_regex(pattern), spelled), spelled


def valid_sentences(pattern: str) -> set[tuple[int, ...]]:
    """Every sentence of at most `LONGEST` tokens whose bytes are a text that matches."""
    found = set()
    for length in range(LONGEST + 1):
        for ids in product(range(4, len(PIECES)), repeat=length):
            data = b"".join(PIECES[i] or b"" for i in ids)
            try:
                text = data.decode()
            except UnicodeDecodeError:
                continue
            if re.fullmatch(pattern, text):
                found.add(ids)
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_token_may_follow_where_some_sentence_goes_on_so(pattern: str) -> None:
    """Exactly: none too few, none too many, whatever number of tokens is left."""
    moves, _ = tiny(pattern)
    valid = valid_sentences(pattern)
    prefixes = {ids[:length] for ids in valid for length in range(len(ids) + 1)}
    for prefix in prefixes:
        state = moves.follow(prefix)
        assert (moves.distance[state] == 0) == (prefix in valid)
        for token in range(len(PIECES)):
            after = moves.moves[state, moves.classes[token]]
            left = LONGEST - len(prefix) - 1
            allowed = left >= 0 and after != DEAD and moves.distance[after] <= left
            assert allowed == ((*prefix, token) in prefixes), (prefix, token)
    shortest = min(map(len, valid))
    assert moves.distance[START] == shortest


@pytest.mark.parametrize("kind", SIZES)
def test_the_bytes_of_tokens_are_the_text(kind: str, tmp_path: Path) -> None:
    made = TOKENIZERS[kind](TEXTS, vocab_size=SIZES[kind])
    made.save(tmp_path)
    for tokenizer in (made, TextTokenizer.load(tmp_path)):
        spelled = token_bytes(tokenizer)
        assert spelled is not None
        for text in TEXTS:
            ids = tokenizer.encode(text)
            assert spelled.text(ids) == tokenizer.decode(ids)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("pattern", [r"\w+( \w+)*", "[^ ]*", "(the|two) .*", "日.*", r"[A-Z0-9=()\[\]-]+"])
def test_texts_are_followed_through_any_tokenizer(kind: str, pattern: str) -> None:
    tokenizer = TOKENIZERS[kind](TEXTS, vocab_size=SIZES[kind])
    spelled = token_bytes(tokenizer)
    assert spelled is not None
    try:
        moves = token_moves(compile_regex(pattern), spelled)
    except UserError:
        assert kind in ("word", "unigram"), "words alone cannot spell everything"
        return
    known = re.compile(pattern)
    for text in dict.fromkeys([*TEXTS, "", *(word for line in TEXTS for word in line.split())]):
        ids = tokenizer.encode(text)
        state = moves.follow(ids)
        followed = state != DEAD and moves.distance[state] == 0
        assert followed == bool(known.fullmatch(tokenizer.decode(ids))), (text, tokenizer.decode(ids))


def test_bytes_that_spell_characters_the_vocabulary_lacks() -> None:
    """As in SentencePiece vocabularies with byte fallback, whose first space vanishes."""
    vocabulary = {
        "<pad>": 0,
        "<unk>": 1,
        "<s>": 2,
        "</s>": 3,
        "▁a": 4,
        "b": 5,
        "▁": 6,
        "<0xC3>": 7,
        "<0xA9>": 8,
    }
    library = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    library.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    folder_free = TextTokenizer(library, TOKENIZERS["char"](["ab"]).special)
    spelled = token_bytes(folder_free)
    assert spelled is not None
    assert spelled.text([4, 5, 7, 8, 4]) == "abé a"
    moves = token_moves(compile_regex("abé a"), spelled)
    assert moves.distance[moves.follow([4, 5, 7, 8, 4])] == 0


def test_a_decoder_that_looks_at_more_than_one_token_is_found_out() -> None:
    library = Tokenizer(models.BPE({"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "a": 4, "b": 5}, []))
    library.decoder = decoders.CTC("<pad>", " ", False)  # writes a token that stands twice once
    assert token_bytes(TextTokenizer(library, TOKENIZERS["char"](["ab"]).special)) is None


def test_no_text_of_the_vocabulary_matches() -> None:
    with pytest.raises(UserError, match="no text of this run's tokens matches"):
        tiny("c+")
