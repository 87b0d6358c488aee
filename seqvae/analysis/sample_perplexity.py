"""Forward and reverse perplexity of samples: by a language model of the data, and by one of the samples."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.inference import TextVAE
from seqvae.training.loop import train
from seqvae.utils.reporter import Reporter


@dataclass(frozen=True)
class SmallLM:
    """The language model trained on samples for `reverse_ppl`; the same for all models compared."""

    embed: int = 128
    hidden: int = 128
    dropout: float = 0.1
    steps: int = 300  # 4 epochs of 5,000 sentences
    batch_size: int = 64
    lr: float = 1e-2
    precision: str = "auto"

    def config(self, sentences: Path, vae: TextVAE, seed: int) -> RunConfig:
        """Config of a run on a file of sentences, with the tokenizer and maximum length of `vae`.

        5 % of the sentences select the checkpoint, so that no real sentence influences the model.
        """
        data = {"train": str(sentences), "max_tokens": vae.config.data.max_tokens, "test_share": 0.0}
        decoder = {"name": "gru", "embed": self.embed, "hidden": self.hidden, "dropout": self.dropout}
        schedule = {"steps": self.steps, "batch_size": self.batch_size, "lr": self.lr, "decay": "cosine"}
        where = {"precision": self.precision, "device": str(vae.device), "seed": seed}
        return parse_config(
            {
                "data": data,
                "tokenizer": {"name": "file", "path": str(vae.run.path)},
                "latent": {"name": "none"},
                "decoder": {**decoder, "tie": self.embed == self.hidden},
                "train": {**schedule, **where},
            }
        )


def forward_ppl(scorer: TextVAE, sentences: Sequence[str]) -> float | None:
    """Perplexity per token, exp(-mean ln p), of sentences under a language model; None if all are empty.

    Empty sentences are skipped: `diversity` counts them.
    """
    if not any(sentence.split() for sentence in sentences):
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = _write_lines(Path(folder) / "samples.txt", sentences)
        ppl: float | None = scorer.evaluate(data=str(file), samples=1)["ppl"]
    return ppl


def reverse_ppl(
    vae: TextVAE,
    sentences: Sequence[str],
    seed: int = 0,
    small: SmallLM | None = None,
    report: Reporter | None = None,
) -> float | None:
    """Perplexity of the test split of `vae`'s data under a language model trained only on the sentences.

    None if fewer than two sentences are not empty.
    """
    if sum(bool(sentence.split()) for sentence in sentences) < 2:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = _write_lines(Path(folder) / "samples.txt", sentences)
        config = (small or SmallLM()).config(file, vae, seed)
        learned = TextVAE.from_pretrained(train(config, Path(folder) / "lm", report), device=str(vae.device))
        # the model trained on samples, evaluated on the data of `vae` with the fingerprints of its splits
        judged = learned.config.model_copy(update={"data": vae.config.data})
        judge = TextVAE(replace(learned.run, config=judged, card=vae.run.card), vae.device)
        ppl: float | None = judge.evaluate(samples=1)["ppl"]
    return ppl


def _write_lines(file: Path, sentences: Sequence[str]) -> Path:
    """Write one sentence per line; returns the file."""
    lines = (" ".join(sentence.splitlines()) for sentence in sentences)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file
