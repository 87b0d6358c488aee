"""`TextVAE`: a trained text VAE that encodes, samples, reconstructs, interpolates and edits sentences.

Shapes: N sentences, D latent dims, T points of a path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae._deprecated import warn_renamed
from seqvae.errors import UserError
from seqvae.inference.constraint import Rule
from seqvae.inference.given import as_count, as_examples, as_step
from seqvae.inference.text_evaluation import card_examples, text_evaluation
from seqvae.inference.text_model import TextModel
from seqvae.inference.text_writer import TextWriter
from seqvae.interfaces import Batch, ModalityMetrics
from seqvae.keyed_noise import distinguish_repeats, hash_codes
from seqvae.models.sampling import Condition, Rate, make_condition
from seqvae.models.sampling import Path as CodePath
from seqvae.models.text.decoding import GenerationConfig
from seqvae.models.text.filling import Pattern, fill_blanks
from seqvae.models.text.likelihood import start_decoder
from seqvae.runs.run_folder import Run
from seqvae.utils.progress import track

FILLED = 1024  # beams per batch whose blanks are filled


@dataclass(frozen=True)
class Reconstruction:
    """A sentence and its reconstruction; a sentence with an unknown token is never `exact`."""

    text: str
    reconstruction: str
    exact: bool


@dataclass(frozen=True)
class PathPoint:
    """A sentence on the path between two others, at `t` from 0 to 1."""

    t: float
    text: str


class TextVAE(TextModel, library_name="seqvae", tags=["text-vae"]):
    """A trained text VAE; see `from_pretrained`."""

    def __init__(self, run: Run, device: str | torch.device = "cpu") -> None:
        super().__init__(run, device)
        self.writer = TextWriter(self.vae, self.tokenizer, self.reader.max_tokens, self.device)

    def decode(
        self,
        z: Tensor,
        how: GenerationConfig | None = None,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        constraint: Rule | None = None,
    ) -> list[str]:
        """Decode codes to sentences.

        Args:
            z: codes (N, D).
            how: how words are chosen; greedy by default.
            seed: seed of the words, if `how` samples them.
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.
            constraint: what a sentence must be, see `Constraint`. Where texts are filtered, words are drawn
                again for a code whose sentence is not valid; `NO_TEXT` (empty) if no draw was valid.

        Returns:
            N sentences.

        Raises:
            UserError: codes of another size, a rate out of the run's range, labels that do not match, or a
                constraint that cannot be read or met.
        """
        z = self._codes(z)
        c = make_condition(self.vae, len(z), rate, condition)
        keys = distinguish_repeats(hash_codes(z))
        return self.writer.write(z, how or self.writer.greedy, seed, c, keys, constraint)

    def sample(
        self,
        n: int = 10,
        how: GenerationConfig | None = None,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        constraint: Rule | None = None,
    ) -> list[str]:
        """Generate `n` sentences from codes sampled from the prior.

        Args:
            n: number of sentences.
            how: how words are chosen; sampled by default.
            seed: seed of codes and words.
            rate: nats per code of a variable-rate run, one number or n; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of n.
            constraint: what a sentence must be, see `Constraint`. Where texts are filtered, each of the n is
                drawn again, code and words, until it is valid; those without a valid draw are left out.

        By default words are drawn from the likeliest 95 % (`top_p`), the unknown token is not written,
        and no 4-gram is repeated more than in training text: `UNTRUNCATED` is the model's own distribution.
        Codes are those of the prior that was fitted to the run, if one was, or of `with_prior`.

        Raises:
            UserError: a rate out of the run's range, labels that are missing or unknown, or a constraint that
                cannot be read or met.
        """
        n = as_count("n", n)
        c = make_condition(self.vae, n, rate, condition)
        writer = self.with_default_prior(rate).writer
        return writer.sample(n, how or GenerationConfig(), seed, c, constraint)

    def reconstruct(
        self,
        texts: Sequence[str],
        how: GenerationConfig | None = None,
        sample: bool = False,
        seed: int = 0,
        rate: Rate = None,
        condition: Condition | None = None,
        repeats_differ: bool = True,
        constraint: Rule | None = None,
    ) -> list[Reconstruction]:
        """Encode sentences and decode their codes.

        Args:
            texts: N sentences.
            how: how words are chosen; greedy by default.
            sample: draw z ~ q(z|x) instead of the posterior mean.
            seed: seed of codes and words.
            rate: nats per code of a variable-rate run, one number or N; the run's default rate if None.
            condition: {label: value} of a conditional run, with one value or a list of N.
            repeats_differ: whether a sentence that is given n times gets n different samples.
            constraint: as for `decode`.

        The unknown token is written where the training text itself contains it, and a 4-gram is repeated as
        often as in training text or in one of the `texts`: an exact copy is never excluded.

        Raises:
            UserError: as `encode` and `decode`.
        """
        texts = as_examples(texts)
        z, c = self._encode(texts, sample, seed, rate, condition, repeats_differ)
        ids, keys = self.token_ids(texts), self.reader.noise_keys(texts, repeats_differ)
        how = self.writer.allow_copies(how or self.writer.greedy, ids)
        back = self.writer.write(z, how, seed, c, keys, constraint)
        shown = self.tokenizer.decode_batch(ids)
        pairs = zip(shown, back, self.unknown(texts), strict=True)
        return [Reconstruction(a, b, a == b and not unknown) for a, b, unknown in pairs]

    def interpolate(
        self,
        a: str,
        b: str,
        steps: int = 8,
        path: CodePath = "linear",
        how: GenerationConfig | None = None,
        rate: float | None = None,
        condition: Condition | None = None,
        constraint: Rule | None = None,
    ) -> list[PathPoint]:
        """Decode the path between the codes of two sentences; the ends are their reconstructions.

        Args:
            a: a sentence.
            b: another one.
            steps: T, number of points.
            path: `linear`, or `slerp` along the great arc.
            how: how words are chosen; greedy by default.
            rate: nats per code of a variable-rate run; the run's default rate if None.
            condition: {label: value} of a conditional run.
            constraint: as for `decode`.

        Raises:
            UserError: as `encode` and `decode`, or fewer than two steps.
        """
        vae = self.with_defaults(rate, condition)
        texts = vae.decode(vae.path(a, b, steps, path), how, constraint=constraint)
        return [PathPoint(i / (steps - 1), text) for i, text in enumerate(texts)]

    def edit(
        self,
        texts: Sequence[str],
        towards: Sequence[str],
        away: Sequence[str],
        strength: float = 1.0,
        how: GenerationConfig | None = None,
        rate: float | None = None,
        condition: Condition | None = None,
        constraint: Rule | None = None,
    ) -> list[str]:
        """Shift the code of each sentence by `strength` times the `direction`, and decode it.

        Args:
            texts: sentences to edit.
            towards: sentences that have the attribute.
            away: sentences that lack it or have its opposite.
            strength: factor of the difference of the two groups' mean codes.
            how: how words are chosen; greedy by default.
            rate: nats per code of a variable-rate run; the run's default rate if None.
            condition: {label: value} of a conditional run.
            constraint: as for `decode`.

        Raises:
            UserError: as `encode` and `decode`; or an empty group.
        """
        vae = self.with_defaults(rate, condition)
        return vae.shift(texts, strength * vae.direction(towards, away), how, constraint)

    def direction(self, towards: Sequence[str], away: Sequence[str]) -> Tensor:
        """(D,): mean code of `towards` - mean code of `away`.

        The attribute vectors of Larsen et al. 2016 (Autoencoding beyond Pixels Using a Learned Similarity
        Metric), applied to sentences.

        Args:
            towards: sentences that have the attribute.
            away: sentences that lack it or have its opposite.

        Raises:
            UserError: as `encode`; or no sentence in one of the groups.
        """
        groups = {"towards": as_examples(towards), "away": as_examples(away)}
        for name, group in groups.items():
            if not len(group):
                raise UserError(f"`{name}` holds no sentence: give some sentences of this group")
        return self.encode(groups["towards"]).mean(0) - self.encode(groups["away"]).mean(0)

    def shift(
        self,
        texts: Sequence[str],
        step: Tensor,
        how: GenerationConfig | None = None,
        constraint: Rule | None = None,
    ) -> list[str]:
        """Decode the code of each sentence plus `step`.

        Args:
            texts: N sentences.
            step: the same (D,) for all, as `direction` gives it, or (N, D).
            how: how words are chosen; greedy by default.
            constraint: as for `decode`.

        Raises:
            UserError: as `encode` and `decode`.
        """
        texts = as_examples(texts)
        z, c = self._encode(texts)
        keys = self.reader.noise_keys(texts, repeats_differ=True)
        moved = self._codes(z + as_step(step, z))
        return self.writer.write(moved, how or self.writer.greedy, 0, c, keys, constraint)

    def shifted(self, *arguments: Any, **options: Any) -> list[str]:
        """The old name of `shift`."""
        warn_renamed("TextVAE.shifted", "TextVAE.shift")
        return self.shift(*arguments, **options)

    @torch.no_grad()
    def fill(self, patterns: Sequence[Pattern], z: Tensor, beam: int = 5) -> list[list[list[int]]]:
        """For each pattern of word ids at most `beam` sentences without its blanks, the likeliest first.

        Beam search over p(x|z) under the pattern's own code, of z (N, D), with the other words fixed.

        Raises:
            UserError: codes of another size.
        """
        found = []
        z = self._codes(z).to(self.device)
        for rows in track(torch.split(torch.arange(len(z)), max(1, FILLED // beam)), "filling", len):
            decoder, state = start_decoder(self.vae, z[rows])
            found += fill_blanks(decoder, state, [patterns[row] for row in rows.tolist()], beam)[0]
        return found

    def evaluation_inputs(
        self, data: str | Sequence[str] | None, batch_size: int, examples: int | None
    ) -> tuple[str, Sequence[Batch], ModalityMetrics]:
        """The name of the evaluation data, its batches, and the metrics of the modality."""
        return text_evaluation(self, data, batch_size, examples)

    def _shown_examples(
        self, data: str | Sequence[str] | None, n: int
    ) -> tuple[list[tuple[str, str]], list[str]]:
        return card_examples(self, data, n)

    def greedy_untruncated(self) -> GenerationConfig:
        """Greedy decoding without restrictions, for measures."""
        return self.writer.greedy_untruncated
