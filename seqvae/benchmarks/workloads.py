"""The pieces of work that are timed, each a function that does it once on one typical batch.

Shapes: B sentences, T tokens, D latent dims, K importance samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.evaluation.metrics.likelihood import score_batch
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.sampling import choose_codes, sample_prior
from seqvae.models.text.decoding import GenerationConfig, generate_tokens
from seqvae.models.text.likelihood import TextDecoder
from seqvae.training.step import all_reduce_gradients, clip_grad_norms
from seqvae.training.trainer import Trainer
from seqvae.utils.device import autocast

SAMPLES = 20  # K
CELLS = 2**15  # samples x sentences x tokens that a decoder sees at once, as in `seqvae evaluate`
WORDS, SENTENCES, BEAM = 20, 256, 5  # forced words of a sentence, sentences at once, beams


@dataclass(frozen=True)
class Workload:
    """A trainer and a batch in the middle of its lengths; the model is only changed by `update`."""

    trainer: Trainer
    batch: TextBatch  # (B, T), on the device

    @property
    def decoder(self) -> TextDecoder:
        """The model's decoder."""
        decoder = self.trainer.vae.decoder
        assert isinstance(decoder, TextDecoder)
        return decoder

    def update(self) -> None:
        """A whole update on the batch: forward, backward, clipping and the optimizer's step."""
        trainer = self.trainer
        with autocast(trainer.precision, trainer.device):
            loss = trainer.step_module(self.batch, 0)
        loss.total.backward()
        self.move()

    def move(self) -> None:
        """Clipping and the optimizer's step, as the loop does them."""
        trainer = self.trainer
        all_reduce_gradients(trainer.step_module)
        clip_grad_norms(trainer.optimizers.values(), trainer.config.train.clip)
        for optimizer in trainer.optimizers.values():
            optimizer.step()
            optimizer.zero_grad()

    def pieces(self) -> dict[str, Callable[[], object]]:
        """The parts of an update, each alone, forward and backward."""
        trainer, batch, decoder = self.trainer, self.batch, self.decoder
        z = sample_prior(trainer.vae, batch.size, 0, trainer.device)  # (B, D)
        with torch.no_grad(), autocast(trainer.precision, trainer.device):
            features, _ = decoder.read(batch.inputs, decoder.start(z))
        features = features.float()
        return {
            "data": lambda: trainer.batch_source.update(trainer.progress.step),
            "encoder": self._backward(lambda: trainer.vae.encoder(batch)),
            "decoder": self._backward(lambda: decoder.read(batch.inputs, decoder.start(z))[0]),
            "output": self._backward(
                lambda: decoder.head.log_prob(features.detach().requires_grad_(), batch.targets)
            ),
            "optimizer": self._mover(),
        }

    def _backward(self, forward: Callable[[], Tensor]) -> Callable[[], None]:
        """Forward and backward of a part; gradients are forgotten."""
        trainer = self.trainer

        def run() -> None:
            with autocast(trainer.precision, trainer.device):
                total = forward().sum()
            total.backward()  # type: ignore[no-untyped-call]
            trainer.step_module.zero_grad()

        return run

    def _mover(self) -> Callable[[], None]:
        """The optimizer's part alone, on gradients that are there: making them is backward work."""
        parameters = list(self.trainer.step_module.parameters())
        gradients = [torch.full_like(parameter, 1e-9) for parameter in parameters]

        def run() -> None:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            self.move()

        return run

    @torch.no_grad()
    def encode(self) -> None:
        """Posterior means of the batch."""
        with autocast(self.trainer.precision, self.trainer.device):
            choose_codes(self.trainer.vae.posterior(self.batch), self.batch)

    def write(self, rows: int = SENTENCES, beam: int | None = None, words: int = WORDS) -> list[list[int]]:
        """Sentences of so many words from prior codes; the end is forbidden."""
        trainer, decoder = self.trainer, self.decoder
        how = GenerationConfig(greedy=beam is None, beam=beam, max_length=words)
        z = sample_prior(trainer.vae, rows, 0, trainer.device)
        random = KeyedNoise(0, 0, torch.arange(rows, device=trainer.device))
        end = decoder.special.eos
        decoder.head.forbidden[end] = -torch.inf
        with torch.no_grad(), autocast(trainer.precision, trainer.device):
            written = generate_tokens(decoder, decoder.start(z), rows, how, random)
        decoder.head.forbidden[end] = 0.0
        return written

    @torch.no_grad()
    def importance(self, samples: int = SAMPLES) -> None:
        """IW-NLL of the batch with K samples, the encoder once, in chunks as `seqvae evaluate` takes them."""
        batch, trainer = self.batch, self.trainer
        chunk = max(1, CELLS // (batch.size * batch.decoder_positions))
        with autocast(trainer.precision, trainer.device):
            score_batch(trainer.vae, batch, samples, chunk)

    def importance_by_loop(self) -> None:
        """The same as a loop over samples, each with its own run of the encoder."""
        for _ in range(SAMPLES):
            self.importance(1)


def make_workload(trainer: Trainer) -> Workload:
    """The bench of a trainer, on the batch whose size in tokens is the median of its first ones."""
    trainer.step_module.train()
    batches = [
        trainer.batch_source.update(step)[0] for step in range(min(50, trainer.batch_source.steps_per_epoch))
    ]
    batches = [batch for batch in batches if batch.size == batches[0].size]
    batch = sorted(batches, key=lambda b: b.num_targets)[len(batches) // 2]
    assert isinstance(batch, TextBatch)
    return Workload(trainer, batch.to(trainer.device))
