"""Tokenized text becomes plain text, and plain text is unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pretrained import config

from seqvae.config.schema import TextDataConfig
from seqvae.data.text.dataset import load_data, load_examples
from seqvae.data.text.detokenize import detokenize, share_tokenized
from seqvae.data.text.tokenizer_training import train_char
from seqvae.modalities import MODALITIES

PAIRS = {
    "a man , who does n't sleep , is here .": "A man, who doesn't sleep, is here.",
    "they 've seen it , i 'm sure !": "They've seen it, I'm sure!",
    "the dog 's ball ( a red one ) costs $ 5 .": "The dog's ball (a red one) costs $5.",
    "`` no , '' he said .": '"no," he said.',
    "i can 't say , he didn 't call .": "I can't say, he didn't call.",
    "a black @-@ and @-@ white dog": "A black-and-white dog",
    "-lrb- see below -rrb-": "(see below)",
    "Mr. Smith did n't go .": "Mr. Smith didn't go.",
    "": "",
}
PLAIN = [
    "Already plain, isn't it?",
    "The U.S. economy grew 3.5%.",
    "Ein Satz, mit Komma.",
    "日本語。",
]


@pytest.mark.parametrize("text", PAIRS)
def test_known_pairs(text: str) -> None:
    assert detokenize(text) == PAIRS[text]
    assert detokenize(PAIRS[text]) == PAIRS[text] or text.startswith(("``", "-lrb-"))


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_stays(text: str) -> None:
    assert detokenize(text) == text


def test_which_texts_are_tokenized() -> None:
    assert share_tokenized(["a dog .", "a cat , too"]) == 1.0
    assert share_tokenized(PLAIN) == 0.0


def test_splits_and_files_are_detokenized(tmp_path: Path) -> None:
    file = tmp_path / "tokenized.txt"
    file.write_text("".join(f"a man sees {i} dogs , i think .\n" for i in range(40)))
    data = TextDataConfig(train=str(file), detokenize=True)
    tokenizer = train_char(["A man sees 0123456789 dogs, I think."])
    made = load_data(data, tokenizer)
    for store in (*made.splits.values(), load_examples(str(file), tokenizer, data)):
        texts = tokenizer.decode_batch(store.tokens(i).tolist() for i in range(len(store)))
        assert all(text.startswith("A man sees ") and text.endswith(" dogs, I think.") for text in texts)
    assert made.fingerprint != load_data(TextDataConfig(train=str(file)), tokenizer).fingerprint


def test_a_pretrained_decoder_warns_of_tokenized_text(tmp_path: Path) -> None:
    file = tmp_path / "tokenized.txt"
    file.write_text("".join(f"a man sees {i} dogs .\n" for i in range(40)))
    notes = []
    for sets in ((), ("data.detokenize=true",)):
        made = config(tmp_path, f"data.train={file}", *sets)
        notes.append(
            [line for line in MODALITIES["text"].load_data(made, None).report() if "tokenized" in line]
        )
    assert len(notes[0]) == 1
    assert "data.detokenize=true makes it plain" in notes[0][0]
    assert notes[1] == []
