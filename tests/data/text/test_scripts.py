"""Japanese and Chinese text is trained, measured and reconstructed with every suitable tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqvae import TextVAE
from seqvae.config.loading import parse_config
from seqvae.training.loop import train

CHINESE = (
    "今天天气很好，我们去公园散步。",
    "她正在图书馆里看一本有趣的书。",
    "昨天晚上下了一场大雨，路上很滑。",
    "你喜欢喝茶还是喝咖啡？",
    "这座古老的城市有许多美丽的寺庙。",
    "孩子们在操场上高兴地踢足球。",
    "他用毛笔写了一首诗——《静夜思》。",
    "火车将于下午三点从北京出发！",
)


def trained(corpus: Path, tokenizer: str, out: Path) -> TextVAE:
    """A tiny model of a file, after two steps."""
    small: dict[str, Any] = {"name": "gru", "embed": 8, "hidden": 16}
    values = {
        "data": {"train": str(corpus), "max_tokens": 60},
        "tokenizer": {"name": tokenizer},
        "encoder": small,
        "latent": {"name": "gaussian", "dim": 4},
        "decoder": small,
        "train": {"steps": 2, "batch_size": 8, "precision": "fp32", "device": "cpu", "valid_examples": 8},
    }
    return TextVAE.from_pretrained(train(parse_config(values), out))


@pytest.mark.parametrize("tokenizer", ["char", "bpe", "unigram"])
def test_chinese_trains_and_round_trips(tokenizer: str, tmp_path: Path) -> None:
    corpus = tmp_path / "zh.txt"
    corpus.write_text("\n".join(CHINESE * 4) + "\n", encoding="utf-8")
    vae = trained(corpus, tokenizer, tmp_path / "run")
    ids = vae.tokenizer.encode_batch(list(CHINESE))
    assert vae.tokenizer.decode_batch(ids) == list(CHINESE)
    assert vae.reconstruct(CHINESE[:2])[0].text == CHINESE[0]
    assert len(vae.sample(3)) == 3


@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_japanese_trains_and_round_trips(tokenizer: str, tmp_path: Path, shared: Path) -> None:
    lines = (shared / "data" / "tanaka" / "dev.ja").read_text(encoding="utf-8").splitlines()
    corpus = tmp_path / "ja.txt"
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    vae = trained(corpus, tokenizer, tmp_path / "run")
    seen = [line.strip() for line in lines[:50]]
    back = vae.tokenizer.decode_batch(vae.tokenizer.encode_batch(seen))
    if tokenizer == "word":  # held-out lines may have words that the training split has not
        back = [b for b in back if "<unk>" not in b]
        assert back
        assert set(back) <= set(seen)
    else:
        unknown = sum("<unk>" in b for b in back)
        assert unknown <= (5 if tokenizer == "char" else 0)
        assert {b for b in back if "<unk>" not in b} <= set(seen)
    assert vae.encode(seen[:3]).shape == (3, 4)
