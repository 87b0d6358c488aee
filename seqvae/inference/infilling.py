"""Missing words of a sentence, found by a search over codes: `the man ___ a guitar ___`.

Shapes: N patterns, S codes of each, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.data.text.batching import batch_from_ids
from seqvae.data.values import clean_text
from seqvae.errors import UserError
from seqvae.evaluation.metrics.amortisation_gap import SVIConfig, frozen_parameters, svi_posterior
from seqvae.inference.text_vae import TextVAE
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.filling import BLANK

MARK = "___"  # a missing word, as people write it
KEPT = 2  # beams per code that the NLL chooses among


@dataclass(frozen=True)
class InfillSearch:
    """How long the words are searched for.

    Attributes:
        beam: sentences that are kept per code.
        rounds: how often codes are estimated from the sentence filled so far, and words filled in again.
        starts: codes per pattern: the encoder's mean, and draws of its posterior.
        refine: steps of SVI that improve each code on the filled sentence; 0 takes the encoder's.
        samples: codes that the NLL of each filled sentence is estimated from, which chooses among them.
    """

    beam: int = 5
    rounds: int = 3
    starts: int = 4
    refine: int = 10
    samples: int = 20


@dataclass(frozen=True)
class Infilled:
    """A pattern and its likeliest sentence: `words` are those of the blanks, `nats` the sentence's NLL."""

    pattern: str
    text: str
    words: list[str]
    nats: float


def infill(
    vae: TextVAE, patterns: Sequence[str], how: InfillSearch | None = None, seed: int = 0
) -> list[Infilled]:
    """The missing words of each pattern, a token for each `___`.

    Iterated conditional modes (Bowman et al. 2016, section 4.3): blanks begin as unknown words, which gives a
    posterior over codes; for each of several codes beam search finds the likeliest words with the others
    fixed, the code is estimated anew from the sentence filled so far (and refined by SVI), and so on. Of all
    that were found the sentence of least NLL is taken. A language model (`latent: none`) has no code: beam
    search alone.

    Args:
        vae: the model.
        patterns: N sentences with at least one `___` between spaces each.
        how: how long is searched.
        seed: of the posterior draws.

    Raises:
        UserError: a pattern without a blank or longer than training read, or a run that cannot read texts.
    """
    how = how or InfillSearch()
    rows = [parse_pattern(vae, pattern) for pattern in patterns]
    if not rows:
        return []
    pools: list[dict[tuple[int, ...], None]] = [{} for _ in rows]
    if not vae.latent_dim:
        for pool, beams in zip(pools, vae.fill(rows, torch.zeros(len(rows), 0), how.beam), strict=True):
            pool[tuple(beams[0])] = None
        return _ranked(vae, patterns, rows, pools, how.samples)
    guesses = [[vae.tokenizer.special.unk if word == BLANK else word for word in row] for row in rows]
    codes = _first_codes(vae, guesses, how.starts, seed)  # (N, S, D)
    starts = codes.shape[1]
    wide = [row for row in rows for _ in range(starts)]
    for round_ in range(how.rounds):
        found = vae.fill(wide, codes.flatten(0, 1), how.beam)
        for place, beams in enumerate(found):
            pools[place // starts].update(dict.fromkeys(map(tuple, beams[:KEPT])))
        if round_ + 1 < how.rounds:
            codes = _refined_codes(vae, [beams[0] for beams in found], how.refine).view_as(codes)
    return _ranked(vae, patterns, rows, pools, how.samples)


def parse_pattern(vae: TextVAE, pattern: str) -> list[int]:
    """Token ids, `BLANK` for each `___`.

    Raises:
        UserError: no blank, nothing but blanks beyond the longest length, or a run of vectors.
    """
    if vae.reads_vectors or vae.source is not None:
        raise UserError("this run's encoder does not read the tokens that it writes: it cannot fill in words")
    parts = clean_text(pattern).split(MARK)
    if len(parts) < 2:
        raise UserError(f"{pattern!r} has no blank: write {MARK} for each missing word")
    ids = [vae.tokenizer.encode(part) if part.strip() else [] for part in parts]
    row = [word for i, part in enumerate(ids) for word in ([BLANK] if i else []) + part]
    most = vae.config.data.max_tokens
    if len(row) > most:
        raise UserError(f"{pattern!r} has {len(row)} tokens: this run reads {most} (--max-tokens)")
    return row


@torch.no_grad()
def _first_codes(vae: TextVAE, guesses: Sequence[list[int]], starts: int, seed: int) -> Tensor:
    """(N, S, D): the posterior means of sentences whose blanks are unknown words, and draws around them."""
    batch = _batch(vae, guesses, seed)
    q = vae.vae.posterior(batch)
    drawn = q.rsample(max(0, starts - 1), batch.random) if starts > 1 else q.mean[None, :0]
    mean = q.mean if vae.vae.latent.has_density else q.rsample(1, batch.random)[0]
    return torch.cat([mean[None], drawn]).transpose(0, 1)


def _refined_codes(vae: TextVAE, rows: Sequence[list[int]], steps: int) -> Tensor:
    """(N, D): the codes of filled sentences, after some steps of SVI on their own ELBO."""
    batch = _batch(vae, rows, 0)
    with torch.no_grad():
        q: Any = vae.vae.posterior(batch)
    if not steps or not vae.vae.latent.is_diagonal_gaussian:
        return q.mean  # type: ignore[no-any-return]
    with frozen_parameters(vae.vae):
        return svi_posterior(vae.vae, batch, q, SVIConfig(steps=steps)).mean


def _batch(vae: TextVAE, rows: Sequence[list[int]], seed: int) -> Any:
    batch = batch_from_ids([list(row) for row in rows], vae.tokenizer.special, seed)
    random = KeyedNoise(seed, 0, torch.arange(len(rows)))
    return batch.replace(random=random).to(vae.device)


def _ranked(
    vae: TextVAE,
    patterns: Sequence[str],
    rows: Sequence[Sequence[int]],
    pools: Sequence[dict[tuple[int, ...], None]],
    samples: int,
) -> list[Infilled]:
    """The sentence of each pool that is likeliest under the model."""
    every = list(dict.fromkeys(words for pool in pools for words in pool))
    texts = dict(zip(every, vae.tokenizer.decode_batch(every), strict=True))
    kept = list(dict.fromkeys(texts.values()))
    scores = dict(zip(kept, vae.score(kept, samples), strict=True))
    nats = {
        text: score.distortion if score.iw_nll is None else score.iw_nll for text, score in scores.items()
    }
    found = []
    for pattern, row, pool in zip(patterns, rows, pools, strict=True):
        best = min(pool, key=lambda words: nats[texts[words]])
        words = [
            vae.tokenizer.decode([word]) for word, asked in zip(best, row, strict=True) if asked == BLANK
        ]
        found.append(Infilled(pattern, put_words(pattern, words), words, nats[texts[best]]))
    return found


def put_words(pattern: str, words: Sequence[str]) -> str:
    """The pattern with words for its blanks; its other words stay as they were written, unknown ones too.

    Example:
        >>> put_words("the ___ Dog ___", ["old", "."])
        'the old Dog .'
    """
    parts = pattern.split(MARK)
    return "".join(
        part + word for part, word in zip(parts, [*(word.strip() for word in words), ""], strict=True)
    )
