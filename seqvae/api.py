"""What users import: strings in, strings out.

    from seqvae import TextVAE
    vae = TextVAE.from_pretrained("runs/ptb")
    z = vae.encode(["a man is walking ."])
    vae.decode(z); vae.sample(5); vae.interpolate("a ...", "b ...", steps=8)

Shapes: N sentences, D latent dims, T points of a path.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from torch import Tensor

from seqvae.batch import TextBatch
from seqvae.checkpoint import WEIGHTS, Run, load_run, read_card
from seqvae.device import autocast, pick_device, pick_precision
from seqvae.evaluate import evaluate
from seqvae.generate import Path as CodePath
from seqvae.generate import codes, path_between, prior_codes
from seqvae.metrics.gather import Progress
from seqvae.numerics import Randomness
from seqvae.registry import UserError
from seqvae.text.batching import batch_from_ids
from seqvae.text.data import load_data, load_examples
from seqvae.text.decoding import Decoding, decode
from seqvae.text.feed import eval_feed
from seqvae.text.likelihood import TextDecoder
from seqvae.text.measures import TextTools
from seqvae.text.store import TokenStore

GREEDY = Decoding(greedy=True)
RUN_FILES = ("config.yaml", "config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Reconstruction:
    """A sentence and what came back of it."""

    text: str
    reconstruction: str
    exact: bool


@dataclass(frozen=True)
class PathPoint:
    """A point between two sentences: `t` runs from 0 to 1."""

    t: float
    text: str


class TextVAE(ModelHubMixin, library_name="seqvae", tags=["text-vae"]):
    """A trained text VAE for use."""

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        self.run, self.device = run, torch.device(device)
        self.vae, self.tokenizer, self.config = run.vae.to(self.device), run.tokenizer, run.config

    @property
    def latent_dim(self) -> int:
        """D, or 0 for a language model."""
        return self.vae.latent.dim

    @torch.no_grad()
    def encode(self, texts: Sequence[str], sample: bool = False, seed: int = 0) -> Tensor:
        """Codes (N, D): posterior means, or one draw of each posterior.

        Raises:
            UserError: an empty sentence, or a model without a code.
        """
        self._require_code()
        found = [codes(self.vae.posterior(batch), batch, sample) for batch in self._batches(texts, seed)]
        return torch.cat(found).cpu() if found else torch.zeros(0, self.latent_dim)

    def decode(self, z: Tensor, how: Decoding | None = None, seed: int = 0) -> list[str]:
        """A sentence for each code (N, D); greedy unless `how` says otherwise.

        Raises:
            UserError: codes of another size.
        """
        z = torch.as_tensor(z, dtype=torch.float32)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise UserError(f"codes have shape {tuple(z.shape)}: this model reads (N, {self.latent_dim})")
        return self.tokenizer.decode_batch(self._written(z, how or self._greedy(), seed))

    def sample(self, n: int = 10, how: Decoding | None = None, seed: int = 0) -> list[str]:
        """N sentences from prior codes; words are drawn too unless `how` says otherwise."""
        z = prior_codes(self.vae, n, seed).cpu()
        how = how or Decoding(max_length=self.config.data.max_tokens)
        return self.tokenizer.decode_batch(self._written(z, how, seed))

    def reconstruct(
        self, texts: Sequence[str], how: Decoding | None = None, sample: bool = False, seed: int = 0
    ) -> list[Reconstruction]:
        """Each sentence through its code and back; greedy from the posterior mean by default."""
        back = self.decode(self.encode(texts, sample, seed), how, seed)
        shown = self.tokenizer.decode_batch(self._ids(texts))
        return [Reconstruction(a, b, a == b) for a, b in zip(shown, back, strict=True)]

    def interpolate(
        self, a: str, b: str, steps: int = 8, path: CodePath = "linear", how: Decoding | None = None
    ) -> list[PathPoint]:
        """`steps` sentences on the path between two codes, the ends' own reconstructions included."""
        if steps < 2:
            raise UserError(f"steps got {steps}: a path has at least its 2 ends")
        start, end = self.encode([a, b])
        points = path_between(start, end, steps, path)
        texts = self.decode(points, how)
        return [PathPoint(i / (steps - 1), text) for i, text in enumerate(texts)]

    def evaluate(
        self,
        data: str | None = None,
        samples: int = 20,
        progress: Progress | None = None,
        batch_size: int = 64,
        precision: str = "fp32",
    ) -> dict[str, Any]:
        """All measures (`seqvae.evaluate.KEYS` and more) on the test split, or on the file `data`.

        The report says which data and which precision it was: bf16 is faster and rounds. A run without a
        test split is measured on its validation split.

        Raises:
            UserError: the file, or the run's own data, cannot be read.
        """
        where, store = self._evaluated(data)
        batches = list(eval_feed(store, self.tokenizer, batch_size))
        tools = TextTools(self._reconstructed, self._prior_sampled, self._detokenized, int(store.chars.sum()))
        with autocast(pick_precision(precision, self.device), self.device):
            report = evaluate(self.vae, batches, samples=samples, text=tools, progress=progress)
        return {"data": where, **report}

    def _evaluated(self, data: str | None) -> tuple[str, TokenStore]:
        if data is not None:
            return data, load_examples(data, self.tokenizer, self.config.data)
        splits = load_data(self.config.data, self.tokenizer)
        return ("valid", splits.valid) if splits.test is None else ("test", splits.test)

    def _reconstructed(self, z: Tensor, batch: TextBatch) -> list[list[int]]:
        return self._written(z, self._greedy())

    def _prior_sampled(self, n: int, seed: int) -> list[list[int]]:
        return self._written(prior_codes(self.vae, n, seed), self._greedy())

    def _detokenized(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids)

    def _greedy(self) -> Decoding:
        return replace(GREEDY, max_length=self.config.data.max_tokens)

    @torch.no_grad()
    def _written(self, z: Tensor, how: Decoding, seed: int = 0, batch_size: int = 256) -> list[list[int]]:
        """Word ids for codes (N, D), a batch after the other."""
        decoder, written = self.vae.decoder, []
        assert isinstance(decoder, TextDecoder)
        for start in range(0, len(z), batch_size):
            part = z[start : start + batch_size].to(self.device)
            rows = torch.arange(start, start + len(part), device=self.device)
            random = Randomness(seed, 0, rows)
            written += decode(decoder, decoder.start(part), len(part), how, random)
        return written

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids = self.tokenizer.encode_batch(list(texts))
        for text, found in zip(texts, ids, strict=True):
            if not found:
                raise UserError(f"{text!r} holds no token: give a sentence with at least one word")
        return ids

    def _batches(self, texts: Sequence[str], seed: int, batch_size: int = 64) -> Iterator[TextBatch]:
        ids = self._ids(texts)
        for start in range(0, len(ids), batch_size):
            batch = batch_from_ids(ids[start : start + batch_size], self.tokenizer.special, seed)
            rows = torch.arange(start, start + batch.size)
            yield batch.changed(index=rows, random=Randomness(seed, 0, rows)).to(self.device)

    def _require_code(self) -> None:
        if not self.latent_dim:
            raise UserError("this run is a language model (latent: none): it has no code to encode into")

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Copy what `from_pretrained` reads into a folder, and write a model card beside it.

        Raises:
            UserError: the folder is the run itself.
        """
        if Path(save_directory).resolve() == self.run.path.resolve():
            raise UserError(f"{save_directory} is this run already: save into another folder")
        return super().save_pretrained(save_directory, **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        for name in RUN_FILES:
            shutil.copy2(self.run.path / name, save_directory / name)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """The model of a run folder or Hub id; `device`, and the Hub's `revision`, `token`, `cache_dir` ...

        Raises:
            UserError: neither a run folder nor a model on the Hub, or damaged.
        """
        source = Path(pretrained_model_name_or_path)
        if source.is_dir():
            read_card(source)
        try:
            return super().from_pretrained(pretrained_model_name_or_path, **options)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{source} is neither a run folder nor a model on the Hub ({reason})") from None

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: str = "cpu",
        **_: Any,
    ) -> Self:
        """A run folder, or a Hub id; every weight must be there."""
        folder = Path(model_id)
        if not folder.is_dir():
            folder = _downloaded(model_id, revision, cache_dir, force_download, local_files_only, token)
        chosen = pick_device(device)
        return cls(load_run(folder, chosen), chosen)


def _downloaded(
    model_id: str,
    revision: str | None,
    cache_dir: str | Path | None,
    force: bool,
    local: bool,
    token: str | bool | None,
) -> Path:
    folder = snapshot_download(
        model_id,
        revision=revision,
        cache_dir=cache_dir,
        force_download=force,
        local_files_only=local,
        token=token,
        allow_patterns=list(RUN_FILES),
    )
    return Path(folder)


def load(run: str | Path, device: str = "auto") -> TextVAE:
    """The run in a local folder, for the command line.

    Raises:
        UserError: not a run folder, or no such device.
    """
    read_card(Path(run))
    chosen = pick_device(device)
    return TextVAE(load_run(run, chosen), chosen)
