"""A run's tokenizer is that of its language model: the same ids, none added."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_backbones import LM_SPECIALS, TEXTS, byte_level_tokenizer, lm_folder
from tokenizers import Tokenizer, models

from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError
from seqvae.models.pretrained.base import library
from seqvae.models.pretrained.tokens import read_pretrained_tokenizer, special_ids

ODD = ["", "  two  spaces ", "naïve café ☕", "<|endoftext|> in a text", "日本語"]


def test_ids_are_those_of_transformers() -> None:
    ours = read_pretrained_tokenizer(lm_folder())
    theirs = library().AutoTokenizer.from_pretrained(lm_folder())
    assert ours.encode_batch(TEXTS) == [theirs(text).input_ids for text in TEXTS]
    assert ours.decode_batch(ours.encode_batch(ODD)) == ODD  # what looks like a special token is text


def test_nothing_is_added_here_or_by_saving(tmp_path: Path) -> None:
    ours = read_pretrained_tokenizer(lm_folder())
    assert ours.vocab_size == byte_level_tokenizer().get_vocab_size()
    ours.save(tmp_path)
    again = TextTokenizer.load(tmp_path)
    assert (again.special, again.vocab_size) == (ours.special, ours.vocab_size)
    assert again.encode_batch(TEXTS) == ours.encode_batch(TEXTS)


def test_plain_text_starts_and_ends_as_documents_do() -> None:
    """Not with the instruct model's own start; the four roles are four tokens but for start and end."""
    special = read_pretrained_tokenizer(lm_folder()).special
    assert special.bos == special.eos == 0
    assert {special.unk, special.pad} == {1, 2}
    chosen = read_pretrained_tokenizer(lm_folder(), start="<|im_start|>", end="<|im_end|>").special
    assert (chosen.bos, chosen.eos) == (1, 2)
    assert len({chosen.unk, chosen.pad, chosen.bos, chosen.eos}) == 4


def test_a_vocabulary_without_spare_tokens_lends_bytes_that_no_text_holds() -> None:
    """GPT-2 has one special token: padding and blank are bytes that UTF-8 never uses."""
    alphabet = byte_level_tokenizer()
    vocabulary = {
        t: i for t, i in alphabet.get_vocab(with_added_tokens=False).items() if t not in LM_SPECIALS
    }
    vocabulary = {token: i for i, token in enumerate([*vocabulary, "<|endoftext|>"])}
    bare = Tokenizer(models.BPE(vocabulary, []))
    bare.pre_tokenizer, bare.decoder = alphabet.pre_tokenizer, alphabet.decoder
    bare.add_special_tokens(["<|endoftext|>"])
    special = special_ids(bare, {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"})
    assert {bare.id_to_token(special.unk), bare.id_to_token(special.pad)} == {"ÿ", "þ"}
    tokenizer = TextTokenizer(bare, special)
    for text in ODD:
        assert not {special.unk, special.pad} & set(tokenizer.encode(text))
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_llamas_start_is_another_token_than_its_end() -> None:
    tokenizer = Tokenizer(
        models.BPE({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "<0xFF>": 4}, [], unk_token="<unk>")
    )
    special = special_ids(tokenizer, {"unk": "<unk>"})
    assert (special.bos, special.eos, special.unk, special.pad) == (1, 2, 0, 4)


def test_mistakes_are_refused() -> None:
    with pytest.raises(UserError, match=r"no token '<end>': .*known: .*<\|im_end\|>"):
        read_pretrained_tokenizer(lm_folder(), end="<end>")
    with pytest.raises(UserError, match="no token ends a text"):
        special_ids(Tokenizer(models.BPE({"a": 0}, [])), {})
    with pytest.raises(UserError, match="no token is left for unk"):
        special_ids(Tokenizer(models.BPE({"</s>": 0}, [])), {})
