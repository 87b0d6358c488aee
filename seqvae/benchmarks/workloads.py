"""The workloads that are timed: functions that run once on a typical batch.

Shapes: B examples, T tokens, D latent dims, K importance samples, N sentences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.evaluation.metrics.chunks import cells_at_once, samples_at_once
from seqvae.evaluation.metrics.likelihood import score_batch
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.sampling import choose_codes, sample_prior
from seqvae.models.text.decoding import UNTRUNCATED, generate_tokens
from seqvae.models.text.likelihood import TextDecoder
from seqvae.training.step import all_reduce_gradients, clip_grad_norms
from seqvae.training.trainer import Trainer
from seqvae.utils.device import autocast

SAMPLES = 20  # K
WORDS, SENTENCES, MANY, BEAM = 20, 256, 2048, 5  # words per sentence, sentences at once (2), beam width


@dataclass(frozen=True)
class Workload:
    """A trainer and a batch of median size; only updates change the model."""

    trainer: Trainer
    batch: Any  # of B examples, on the device
    step: int  # the update that reads this batch

    @property
    def is_text(self) -> bool:
        """Whether it is a text model."""
        return isinstance(self.batch, TextBatch)

    @property
    def decoder(self) -> TextDecoder:
        """The model's decoder of sentences."""
        decoder = self.trainer.vae.decoder
        assert isinstance(decoder, TextDecoder)
        return decoder

    def update(self) -> None:
        """The trainer's own update on the batch, captured on a GPU if possible."""
        self.trainer.progress.step = self.step
        self.trainer.update()

    def plain_update(self) -> None:
        """The same arithmetic called here: forward, backward, clipping and the optimizer's step."""
        trainer = self.trainer
        with autocast(trainer.precision, trainer.device):
            loss = trainer.step_module(self.batch, 0)
        loss.total.backward()
        self.optimizer_step()

    def optimizer_step(self) -> None:
        """Clip gradients and step the optimizers, as in training."""
        trainer = self.trainer
        all_reduce_gradients(trainer.step_module)
        clip_grad_norms(trainer.optimizers.values(), trainer.config.train.clip)
        for optimizer in trainer.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()

    def pieces(self) -> dict[str, Callable[[], object]]:
        """The parts of an update, each alone, forward and backward."""
        trainer, batch = self.trainer, self.batch
        z = sample_prior(trainer.vae, batch.size, 0, trainer.device)  # (B, D)
        return {
            "data": lambda: trainer.batch_source.update(self.step),
            "encoder": self._backward(lambda: trainer.vae.encoder(batch)),
            **(self._text_pieces(z) if self.is_text else self._image_pieces(z)),
            "optimizer": self._optimizer_work(),
        }

    def _text_pieces(self, z: Tensor) -> dict[str, Callable[[], object]]:
        trainer, batch, decoder = self.trainer, self.batch, self.decoder
        with torch.no_grad(), autocast(trainer.precision, trainer.device):
            features, _ = decoder.read(batch.inputs, decoder.start(z))
        features = features.float()
        return {
            "decoder": self._backward(lambda: decoder.read(batch.inputs, decoder.start(z))[0]),
            "output": self._backward(
                lambda: decoder.head.log_prob(features.detach().requires_grad_(), batch.targets)
            ),
        }

    def _image_pieces(self, z: Tensor) -> dict[str, Callable[[], object]]:
        decoder: Any = self.trainer.vae.decoder
        return {"decoder": self._backward(lambda: decoder(z[None]).log_prob(self.batch))}

    def _backward(self, forward: Callable[[], Tensor]) -> Callable[[], None]:
        """A function for forward and backward of a part; gradients are discarded."""
        trainer = self.trainer

        def run() -> None:
            with autocast(trainer.precision, trainer.device):
                total = forward().sum()
            total.backward()  # type: ignore[no-untyped-call]
            trainer.step_module.zero_grad()

        return run

    def _optimizer_work(self) -> Callable[[], None]:
        """A function for the optimizer step only, with preset gradients, as backward computes them."""
        parameters = list(self.trainer.step_module.parameters())
        gradients = [torch.full_like(parameter, 1e-9) for parameter in parameters]

        def run() -> None:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            self.optimizer_step()

        return run

    @torch.no_grad()
    def encode(self) -> None:
        """Encode the batch to posterior means."""
        with autocast(self.trainer.precision, self.trainer.device):
            choose_codes(self.trainer.vae.posterior(self.batch), self.batch)

    def write(self, rows: int = SENTENCES, beam: int | None = None, words: int = WORDS) -> list[list[int]]:
        """Generate sentences of `words` words from prior samples; the end token is forbidden."""
        trainer, decoder = self.trainer, self.decoder
        how = replace(UNTRUNCATED, greedy=beam is None, beam=beam, max_length=words)
        z = sample_prior(trainer.vae, rows, 0, trainer.device)
        random = KeyedNoise(0, 0, torch.arange(rows, device=trainer.device))
        end = decoder.special.eos
        decoder.head.forbidden[end] = -torch.inf
        with torch.no_grad(), autocast(trainer.precision, trainer.device):
            written = generate_tokens(decoder, decoder.start(z), rows, how, random)
        decoder.head.forbidden[end] = 0.0
        return written

    @torch.no_grad()
    def plain_write(self, rows: int = SENTENCES, beam: int | None = None, words: int = WORDS) -> None:
        """The minimum work of decoding with W beams: one decoder step and logits per word, on N W rows."""
        trainer, decoder = self.trainer, self.decoder
        with autocast(trainer.precision, trainer.device):
            state = decoder.start(sample_prior(trainer.vae, rows, 0, trainer.device))
            last = torch.full((rows,), decoder.special.bos, device=trainer.device)
            for place in range(words + (beam is not None)):  # a beam also reads its last word, to score ends
                if place == 1 and beam:
                    branches = torch.arange(rows, device=trainer.device).repeat_interleave(beam)
                    last, state = last[branches], state.select(branches)
                features, state = decoder.read(last[:, None], state)
                last = decoder.head(features[:, -1]).argmax(-1)

    @torch.no_grad()
    def importance(self, samples: int = SAMPLES) -> None:
        """IW-NLL of the batch with K samples and one encoder pass, in the chunks of `seqvae evaluate`."""
        batch, trainer = self.batch, self.trainer
        chunk = samples_at_once(batch, cells_at_once(trainer.device))
        with autocast(trainer.precision, trainer.device):
            score_batch(trainer.vae, batch, samples, chunk)

    def importance_by_loop(self) -> None:
        """The same as a loop over samples, each with its own encoder pass."""
        for _ in range(SAMPLES):
            self.importance(1)


def make_workload(trainer: Trainer) -> Workload:
    """The workload of a trainer, on the batch of median size in tokens among the first ones."""
    trainer.step_module.train()
    first = range(min(50, trainer.batch_source.steps_per_epoch))
    batches = [(step, trainer.batch_source.update(step)[0]) for step in first]
    whole = [(step, batch) for step, batch in batches if batch.size == batches[0][1].size]
    chosen: tuple[int, Any] = sorted(whole, key=lambda pair: pair[1].num_targets)[len(whole) // 2]
    return Workload(trainer, chosen[1].to(trainer.device), chosen[0])
