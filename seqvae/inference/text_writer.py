"""`TextWriter`: sentences from codes, under a constraint if one is asked for.

Shapes: N codes, D latent dims, C condition features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from seqvae.data.text.repetition import most_repeated
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError
from seqvae.inference.constraint import NO_TEXT, Constraint, Rule
from seqvae.keyed_noise import KeyedNoise, Signed
from seqvae.models.sampling import sample_prior
from seqvae.models.text.decoding import UNTRUNCATED, GenerationConfig, generate_tokens
from seqvae.models.text.likelihood import start_decoder
from seqvae.models.vae import VAE
from seqvae.utils.accelerator import is_asynchronous
from seqvae.utils.progress import track

CPU_ROWS, GPU_ROWS = 256, 2048  # sentences generated per batch
CPU_TOKENS = 1 << 15  # tokens per batch, on a CPU


class TextWriter:
    """Decodes codes of a model to token ids and sentences of at most `max_tokens` tokens."""

    def __init__(self, vae: VAE, tokenizer: TextTokenizer, max_tokens: int, device: torch.device) -> None:
        self.vae, self.tokenizer, self.max_tokens, self.device = vae, tokenizer, max_tokens, device

    @property
    def greedy(self) -> GenerationConfig:
        """Greedy decoding with the default restrictions."""
        return GenerationConfig(greedy=True)

    @property
    def greedy_untruncated(self) -> GenerationConfig:
        """Greedy decoding without restrictions, for measures."""
        return replace(UNTRUNCATED, greedy=True, max_length=self.max_tokens)

    def allow_copies(self, how: GenerationConfig, ids: Sequence[Sequence[int]]) -> GenerationConfig:
        """`how`, such that each of the sentences `ids` can be written, where `how` leaves this open."""
        unknown = self.tokenizer.unk_is_word if how.unknown is None else how.unknown
        most = self._resolve(how).repeats
        if how.repeats is None and most:
            most = max([most, *map(most_repeated, ids)])
        return replace(how, unknown=unknown, repeats=most)

    def write(
        self,
        z: Tensor,
        how: GenerationConfig,
        seed: int,
        c: Tensor | None,
        keys: Signed,
        constraint: Rule | None,
    ) -> list[str]:
        """A sentence per code (N, D) under conditions c (N, C); `NO_TEXT` where no draw was valid.

        Draws after the first are sampled from the same code. `keys` (N,) key the noise of the words.
        """
        rule, how = self._restrict(how, constraint)
        redraw = replace(how, greedy=False, beam=None)

        def draw(rows: Sequence[int], number: int) -> list[str]:
            some = torch.tensor(rows, dtype=torch.long)
            asked, way = None if c is None else c[some], how if number == 0 else redraw
            ids = self.generate(z[some], way, seed, asked, keys[some.numpy()], number)
            return self.tokenizer.decode_batch(ids)

        return [NO_TEXT if text is None else text for text in _collect(rule, len(z), draw)]

    def sample(
        self, n: int, how: GenerationConfig, seed: int, c: Tensor | None, constraint: Rule | None
    ) -> list[str]:
        """Sentences from n codes of the prior under c (n, C); rows without a valid draw are omitted.

        Draw number k of row i is of the prior's code k * n + i.
        """
        rule, how = self._restrict(how, constraint)

        def draw(rows: Sequence[int], number: int) -> list[str]:
            own = torch.tensor(rows, dtype=torch.long) + number * n
            every = None if c is None else c.repeat(number + 1, 1)
            z = sample_prior(self.vae, (number + 1) * n, seed, c=every).cpu()[own]
            asked = None if every is None else every[own]
            return self.tokenizer.decode_batch(self.generate(z, how, seed, asked, own.numpy()))

        return [text for text in _collect(rule, n, draw) if text is not None]

    @torch.no_grad()
    def generate(
        self,
        z: Tensor,
        how: GenerationConfig,
        seed: int = 0,
        c: Tensor | None = None,
        keys: Signed | None = None,
        number: int = 0,
    ) -> list[list[int]]:
        """Token ids of a sentence per code (N, D), under conditions c (N, C) or the model's default ones.

        `keys` (N,) key the noise of the words, by default the position of the code; each `number` of a draw
        has noise of its own.
        """
        written, how = [], self._resolve(how)
        index = torch.arange(len(z)) if keys is None else torch.from_numpy(keys)
        for rows in track(torch.split(torch.arange(len(z)), self._rows(how)), "writing", len):
            part, random = z[rows].to(self.device), KeyedNoise(seed, 0, index[rows].to(self.device))
            random = random.fold(number) if number else random
            decoder, state = start_decoder(self.vae, part, None if c is None else c[rows].to(self.device))
            written += generate_tokens(decoder, state, len(part), how, random)
        return written

    def _rows(self, how: GenerationConfig) -> int:
        """Sentences generated at once."""
        if is_asynchronous(self.device):
            return GPU_ROWS
        return max(1, min(CPU_ROWS, CPU_TOKENS // how.longest))

    def _resolve(self, how: GenerationConfig) -> GenerationConfig:
        """`how`, with the training text's limit of repeats and longest length where it names none.

        Raises:
            UserError: no `GenerationConfig`.
        """
        if not isinstance(how, GenerationConfig):
            raise UserError(f"how got a {type(how).__name__}: give a GenerationConfig(temperature=0.8, ...)")
        repeats = self.tokenizer.repeats if how.repeats is None else how.repeats
        return replace(how, repeats=repeats, max_length=how.max_length or self.max_tokens)

    def _restrict(
        self, how: GenerationConfig, constraint: Rule | None
    ) -> tuple[Constraint | None, GenerationConfig]:
        """The constraint, and `how` restricted by it and by the training text."""
        how = self._resolve(how)
        if constraint is None:
            return None, how
        rule = Constraint.of(constraint)
        return rule, rule.restrict(how, self.tokenizer)


def _collect(
    rule: Constraint | None, n: int, draw: Callable[[Sequence[int], int], list[str]]
) -> Sequence[str | None]:
    """`n` texts by `draw(rows, number of the draw)`; None where the constraint got no valid one."""
    return draw(range(n), 0) if rule is None else rule.collect(n, draw)
