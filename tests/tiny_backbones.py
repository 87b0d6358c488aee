"""Tiny pretrained models with random weights, written as transformers writes real ones: no download.

Shapes: V words.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

SENTENCE = "a the old young dog cat man woman sees eats ball egg fish in park . Here is short sentence :"
WORDS = SENTENCE.split()
LM_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS = [
    "the old dog sees a ball",
    "a cat eats the fish",
    "a man",
    "the young woman eats an egg in the park .",
]


@lru_cache(maxsize=1)
def _home() -> Path:
    home = tempfile.mkdtemp(prefix="seqvae-backbones-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return Path(home)


def lm_config(kind: str, words: int) -> Any:
    """A causal model of two layers: llama and qwen2 share key-value heads, gpt2 learns its positions."""
    import transformers

    ends: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    if kind == "gpt2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 96}
        return transformers.GPT2Config(vocab_size=words, **sizes, **ends)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    shared = {"num_key_value_heads": 2, "head_dim": 4, "tie_word_embeddings": kind == "qwen2"}
    made = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[kind]
    return made(vocab_size=words, **sizes, **shared, max_position_embeddings=96, **ends)


@lru_cache
def lm_folder(kind: str = "llama", std: float = 0.3, seed: int = 0, extra_rows: int = 0) -> str:
    """The folder of a tiny causal model of bytes; `extra_rows` of its words have no token."""
    import transformers

    folder = _home() / f"{kind}-{std}-{seed}-{extra_rows}"
    tokenizer = byte_level_tokenizer()
    torch.manual_seed(seed)
    words = tokenizer.get_vocab_size(with_added_tokens=True) + extra_rows
    lm = transformers.AutoModelForCausalLM.from_config(lm_config(kind, words))
    _save(lm, folder, std, tokenizer, {"bos_token": LM_SPECIALS[1], "eos_token": LM_SPECIALS[2]})
    return str(folder)


@lru_cache
def bert_folder(std: float = 0.2, seed: int = 0) -> str:
    """The folder of a tiny BERT with a word-piece tokenizer."""
    import transformers

    folder = _home() / f"bert-{std}-{seed}"
    tokenizer = word_piece_tokenizer()
    sizes = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), **sizes, max_position_embeddings=64
    )
    named = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    _save(transformers.BertModel(config), folder, std, tokenizer, named)
    return str(folder)


def _save(model: Any, folder: Path, std: float, tokenizer: Tokenizer, named: dict[str, str]) -> None:
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


@lru_cache
def tiny_model(kind: str, words: int) -> str:
    """A folder for the row `pretrained` of the encoders or decoders; a decoder of `words` words."""
    import transformers

    if kind == "encoder":
        return bert_folder()
    folder = _home() / f"words-{words}"
    torch.manual_seed(0)
    lm = transformers.AutoModelForCausalLM.from_config(lm_config("llama", words))
    known = {"[UNK]": 0, **{f"word{i}": i for i in range(1, words)}}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    _save(lm, folder, 0.1, tokenizer, {})
    return str(folder)


def byte_level_tokenizer() -> Tokenizer:
    """Byte-level BPE whose only merges are none: bytes, and a few specials, as GPT-2's are written."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i + len(LM_SPECIALS) for i, c in enumerate(alphabet)} | {
        special: i for i, special in enumerate(LM_SPECIALS)
    }, []))  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(LM_SPECIALS))
    return tokenizer


def word_piece_tokenizer() -> Tokenizer:
    """Whole words, [CLS] before and [SEP] behind."""
    from tokenizers import processors

    vocabulary = {word: i for i, word in enumerate((*BERT_SPECIALS, *WORDS))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(BERT_SPECIALS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer
