"""Tokenizers: round trips, exact sizes, specials, and the same ids in transformers."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from seqvae.data.synthetic import CORPORA
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.data.text.tokenizer_training import TOKENIZERS, train_bpe, train_char, train_unigram, train_word
from seqvae.errors import UserError

TEXTS = ["a man is walking in the park .", "the <unk> man sees a dog", "two _UNK dogs run , one man"] * 3
CHINESE = "今天天气很好，我们去公园散步。🙂 «naïve»"
TRAINED = [name for name in TOKENIZERS if name != "file"]
TANAKA = Path(__file__).parents[4] / "shared" / "data" / "tanaka" / "dev.ja"


def test_word_ids_by_frequency_and_literal_unknowns() -> None:
    tokenizer = train_word(["b a a", "<unk> _UNK c"], vocab_size=6)
    assert (tokenizer.special.pad, tokenizer.special.unk) == (0, 1)
    assert tokenizer.encode("a b c <unk> _UNK </s>") == [4, 5, 1, 1, 1, 1]
    assert tokenizer.decode([2, 4, 1, 5, 3, 4, 0]) == "a <unk> b"


@pytest.mark.parametrize(
    "word",
    ["नमस्ते", "ٱلۡحَمۡدُ", "ภาษาไทยก็", "cafe\N{COMBINING ACUTE ACCENT}s"],
    ids=["hindi", "arabic", "thai", "accent"],
)
def test_marks_stay_with_their_letters(word: str) -> None:
    tokenizer = train_bpe([f"{word} {word} x"] * 20)
    assert tokenizer.decode(tokenizer.encode(word)) == word
    assert len(tokenizer.encode(f"x {word}")) == 2


def test_bpe_splits_text_without_marks_as_gpt_2_does() -> None:
    library = train_bpe(TEXTS).library
    assert library.pre_tokenizer is not None
    for text in [*TEXTS, CHINESE, "I'm   25, she's\n CC[C@H](=O) ", "we'll\tgo ", ""]:
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
        assert library.pre_tokenizer.pre_tokenize_str(text) == plain.pre_tokenize_str(text)


def test_words_are_those_of_the_library() -> None:
    """Most texts are split here, which is faster; every kind of white space must agree."""
    spaces = [chr(i) for i in range(0x3100) if chr(i).isspace() or i < 0x21] + ["\u200b", "\ufeff"]
    words = ["a", "man", "</s>", "<unk>", "<pad>", "_UNK", "x", "é", "a</s>a", "ǅ", ""]
    texts = [f"{a}{space}{b}" for space in spaces for a in words for b in words]
    tokenizer = train_word(["a man _UNK é", "A"])
    assert tokenizer._words
    by_library = TextTokenizer(tokenizer._tokenizer, tokenizer.special)
    by_library._words = None
    for text in texts:
        assert tokenizer.encode(text) == by_library.encode(text), repr(text)
    assert tokenizer.encode_batch(texts) == by_library.encode_batch(texts)
    assert TOKENIZERS["word"](["a"], lowercase=True)._words is None
    assert train_bpe(["a"])._words is None


@pytest.mark.parametrize("text", [CHINESE, "a  b\tc ", "</s> <s> <pad> \u2028", "the <unk> é"])
def test_bpe_loses_nothing(text: str) -> None:
    tokenizer = train_bpe(TEXTS)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("train", [train_char, train_unigram])
def test_known_characters_survive(train: object) -> None:
    tokenizer = train([CHINESE, *TEXTS])  # type: ignore[operator]
    assert tokenizer.decode(tokenizer.encode(CHINESE)) == CHINESE
    assert tokenizer.decode(tokenizer.encode("a man <unk>")) == "a man <unk>"


def test_japanese_survives() -> None:
    if not TANAKA.exists():
        pytest.skip("no Tanaka corpus beside the repository")
    lines = TANAKA.read_text(encoding="utf-8").splitlines()
    for tokenizer in (train_word(lines), train_bpe(lines, vocab_size=500), train_char(lines)):
        assert tokenizer.decode_batch(tokenizer.encode_batch(lines)) == [line.strip() for line in lines]


@pytest.mark.parametrize("name", TRAINED)
def test_save_and_load_are_exact(name: str, tmp_path: Path) -> None:
    tokenizer = TOKENIZERS[name](TEXTS)
    tokenizer.save(tmp_path)
    for again in (TextTokenizer.load(tmp_path), TOKENIZERS["file"](str(tmp_path / "tokenizer.json"))):
        assert again.fingerprint == tokenizer.fingerprint
        assert again.special == tokenizer.special
        assert again.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", TRAINED)
def test_transformers_gives_the_same_ids(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = TOKENIZERS[name](TEXTS)
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert [theirs(text)["input_ids"] for text in TEXTS] == tokenizer.encode_batch(TEXTS)
    assert (theirs.pad_token_id, theirs.eos_token_id) == (tokenizer.special.pad, tokenizer.special.eos)
    assert len(theirs) == tokenizer.vocab_size


@pytest.mark.parametrize(("name", "size"), [("word", 10), ("char", 12), ("bpe", 270), ("unigram", 33)])
def test_vocab_size_is_exact(name: str, size: int) -> None:
    assert TOKENIZERS[name](TEXTS, vocab_size=size).vocab_size == size


@pytest.mark.parametrize("name", ["word", "bpe", "char"])
def test_vocabulary_larger_than_the_data(name: str) -> None:
    with pytest.raises(UserError, match=r"vocab_size 5000 is more than the training texts give: \d+ "):
        TOKENIZERS[name](TEXTS, vocab_size=5000)


@pytest.mark.parametrize("size", [200, 5000])  # pruned too far, and more than there is
def test_unigram_ends_with_fewer_tokens(size: int) -> None:
    texts = [text for text, _ in itertools.islice(CORPORA["sentences"].examples("train"), 3000)]
    with pytest.raises(UserError, match=rf"ended with \d+ of the {size} tokens asked for") as caught:
        train_unigram(texts, vocab_size=size)
    there = int(re.findall(r"ask for (\d+)", str(caught.value))[0])
    assert train_unigram(texts, vocab_size=there).vocab_size == there
    assert there <= train_unigram(texts).vocab_size < 5000
    assert there < size


def test_vocabulary_too_small() -> None:
    with pytest.raises(UserError, match="vocab_size 100 is too small: give at least 260"):
        train_bpe(TEXTS, vocab_size=100)
    with pytest.raises(UserError, match="no tokenizer of 5 tokens can be trained"):
        train_unigram(TEXTS, vocab_size=5)


def test_lowercase() -> None:
    assert train_word(["A b"], lowercase=True).encode("a B") == [4, 5]


def test_characters_covered() -> None:
    assert train_word(TEXTS).characters("the  man", 1) == 3
    assert train_char(TEXTS).characters("the man", 5) == 5


def _foreign(folder: Path, words: list[str], config: dict[str, str]) -> TextTokenizer:
    vocabulary = {word: i for i, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(f"$A {words[1]}", special_tokens=[(words[1], 1)])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return TextTokenizer.load(folder)


def test_an_existing_tokenizer_keeps_its_specials(tmp_path: Path) -> None:
    made = _foreign(tmp_path, ["[UNK]", "[SEP]", "[CLS]", "[PAD]", "dog"], {})
    assert (made.special.unk, made.special.eos, made.special.bos, made.special.pad) == (0, 1, 2, 3)
    assert made.encode("dog") == [4]  # its post-processor adds nothing


def test_missing_specials_are_added(tmp_path: Path) -> None:
    made = _foreign(
        tmp_path, ["oov", "END", "dog"], {"eos_token": "END", "pad_token": "END", "unk_token": "oov"}
    )
    assert (made.special.unk, made.special.eos) == (0, 1)
    assert made.vocab_size == 5
    assert made.special.pad >= 3
    assert made.special.bos >= 3


def test_one_token_for_start_and_end(tmp_path: Path) -> None:
    made = _foreign(tmp_path, ["<unk>", "<|endoftext|>", "dog", "cat"], {})
    assert made.special.bos == made.special.eos
    assert made.decode([1, 2, 3, 1, 2]) == "dog cat"


def test_no_tokenizer_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no tokenizer at .*nowhere"):
        TOKENIZERS["file"](str(tmp_path / "nowhere"))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not a tokenizer.json"):
        TextTokenizer.load(tmp_path)


@pytest.mark.parametrize("train", [train_word, train_char, train_bpe, train_unigram])
def test_texts_are_normalized_alike_in_training_and_use(train: Callable[..., TextTokenizer]) -> None:
    """Python makes a last capital sigma another letter than the library does."""
    texts = ["ΟΔΟΣ İstanbul", "Straße ΣΊΣΥΦΟΣ", "CAFE\u0301 ﬁne", "a\x1cb c"] * 30
    tokenizer = train(texts, lowercase=True, unicode_form="NFKC")
    for text in texts:
        ids = tokenizer.encode(text)
        assert tokenizer.special.unk not in ids, text
        assert tokenizer.encode(tokenizer.decode(ids)) == ids
    assert tokenizer.encode("cafe\u0301") == tokenizer.encode("caf\u00e9") == tokenizer.encode("CAFÉ")
    assert tokenizer.encode("FINE") == tokenizer.encode("ﬁne")


def test_the_unicode_form_is_saved(tmp_path: Path) -> None:
    made = train_char(["caf\u00e9"] * 3, unicode_form="NFD")
    made.save(tmp_path)
    assert TextTokenizer.load(tmp_path).encode("caf\u00e9") == made.encode("cafe\u0301")
    assert train_char(["caf\u00e9"] * 3).encode("cafe\u0301") != train_char(["caf\u00e9"] * 3).encode(
        "caf\u00e9"
    )
