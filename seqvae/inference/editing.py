"""Edits that change an attribute of a sentence and as little else as they can.

Shapes: N sentences, M candidates, D latent dims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import torch
from torch import Tensor

from seqvae.inference.directions import Direction, fit_direction
from seqvae.inference.text_vae import TextVAE
from seqvae.models.text.filling import BLANK
from seqvae.utils.edit_distance import edit_distance

FEW = 3  # words of a replaced stretch whose spelling is looked at
STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)


@dataclass(frozen=True)
class EditSearch:
    """What is tried for each sentence, and what decides.

    Attributes:
        strengths: how far each sentence is moved along the direction.
        margin: the score that an edited sentence must reach: 0 lies between the groups, 0.5 is the mean of
            the group that is moved to.
        nats_per_character: how much likelier a sentence must be for one more changed character.
        rounds: how often the best candidates are varied.
        kept: how many of a sentence's best candidates are varied in each round.
        beam: words that the decoder proposes for each changed place.
        spelled: words that are proposed for their spelling.
    """

    strengths: Sequence[float] = STRENGTHS
    margin: float = 0.15
    nats_per_character: float = 0.5
    rounds: int = 2
    kept: int = 2
    beam: int = 3
    spelled: int = 6


@dataclass(frozen=True)
class Edit:
    """A sentence and what became of it.

    Attributes:
        text: the sentence.
        edited: the same with the attribute changed, or the closest that was found.
        changed: words that differ (inserted, deleted or replaced).
        score: of the edited sentence's own code on the direction: above 0 it has the attribute.
        reached: whether the score reached the margin.
    """

    text: str
    edited: str
    changed: int
    score: float
    reached: bool


@dataclass
class _Pool:
    """A sentence, and for each candidate its score and the energy that decides among those that reach."""

    name: str  # the sentence as the tokenizer writes it
    source: list[int]
    scores: dict[str, float] = field(default_factory=dict)
    energy: dict[str, float] = field(default_factory=dict)
    varied: set[str] = field(default_factory=set)

    def new(self, texts: Sequence[str]) -> list[str]:
        """Those that are no candidates yet, each once."""
        return [text for text in dict.fromkeys(texts) if text.strip() and text not in self.scores]

    def ranked(self, margin: float) -> list[str]:
        """Candidates that have the attribute, the best first; if none has it, the nearest to having it."""
        reached = [text for text, score in self.scores.items() if score >= margin]
        if not reached:
            return sorted(self.scores, key=lambda text: -self.scores[text])[:1]
        return sorted(reached, key=lambda text: self.energy[text])


def find_direction(vae: TextVAE, towards: Sequence[str], away: Sequence[str]) -> Direction:
    """The direction from sentences `away` to sentences `towards`, with its accuracy on held-out ones.

    Raises:
        UserError: as `TextVAE.encode`; or no sentence in one of the groups.
    """
    return fit_direction(vae.encode(towards), vae.encode(away))


def edit_minimally(
    vae: TextVAE, texts: Sequence[str], direction: Direction, how: EditSearch | None = None
) -> list[Edit]:
    """Each sentence with the attribute changed and as little else as possible.

    Candidates are decoded at several strengths along the direction. The best of them are then varied: each
    change is put back; each changed word is found anew, by the decoder under the sentence's own code with the
    other words fixed, or as a word that is spelled like the one that it replaced (no corpus says that `dog`
    and `dogs` are one noun; their spelling does). Of the candidates whose own code lies `margin` beyond the
    border between the groups, the one of least energy is taken: changed characters x nats per character
    - ln p(x|z(x)), the nats of its reconstruction, which are many for a sentence against the grammar. Where
    no candidate lies beyond the border, the one that comes nearest.

    Args:
        vae: the model.
        texts: N sentences.
        direction: as `find_direction` gives it.
        how: what is tried.

    Raises:
        UserError: as `TextVAE.encode`.
    """
    how = how or EditSearch()
    z, sources = vae.encode(texts), vae.token_ids(texts)
    pools = [_Pool(vae.tokenizer.decode(source), source) for source in sources]
    decoded = [vae.decode(z + amount * direction.step) for amount in how.strengths]
    _add(
        vae,
        direction,
        pools,
        [[*row, pool.name] for pool, row in zip(pools, zip(*decoded, strict=True), strict=True)],
        how,
    )
    for _ in range(how.rounds):
        _add(vae, direction, pools, _variants(vae, pools, z, how), how)
    found = []
    for text, pool in zip(texts, pools, strict=True):
        best = pool.ranked(how.margin)[0]
        score = pool.scores[best]
        found.append(Edit(text, best, word_changes(pool.name, best), score, score >= how.margin))
    return found


def _add(
    vae: TextVAE, direction: Direction, pools: Sequence[_Pool], found: Sequence[list[str]], how: EditSearch
) -> None:
    """Score new candidates by their own codes, each text once."""
    new = [pool.new(texts) for pool, texts in zip(pools, found, strict=True)]
    every = list(dict.fromkeys(text for texts in new for text in texts))
    if not every:
        return
    z = vae.encode(every)
    scores = dict(zip(every, direction.score(z).tolist(), strict=True))
    nats = dict(zip(every, (-vae.log_prob(every, z)).tolist(), strict=True))
    for pool, texts in zip(pools, new, strict=True):
        for text in texts:
            pool.scores[text] = scores[text]
            pool.energy[text] = nats[text] + how.nats_per_character * edit_distance(pool.name, text)


def _variants(vae: TextVAE, pools: Sequence[_Pool], z: Tensor, how: EditSearch) -> list[list[str]]:
    """Of each sentence's best candidates: one change put back, or one changed word found anew."""
    patterns: list[tuple[int, list[int]]] = []
    found: list[list[str]] = [[] for _ in pools]
    for row, pool in enumerate(pools):
        texts = [text for text in pool.ranked(how.margin)[: how.kept] if text not in pool.varied]
        pool.varied.update(texts)
        for words in vae.token_ids(texts) if texts else ():
            varied = [*revert_changes(pool.source, words), *_respelled(vae, pool.source, words, how.spelled)]
            found[row] += vae.tokenizer.decode_batch(varied)
            patterns += [(row, pattern) for pattern in blank_changes(pool.source, words)]
    if patterns:
        codes = z[torch.tensor([row for row, _ in patterns])]
        filled = vae.fill([pattern for _, pattern in patterns], codes, how.beam)
        for (row, _), beams in zip(patterns, filled, strict=True):
            found[row] += vae.tokenizer.decode_batch(beams)
    return found


def _respelled(vae: TextVAE, source: Sequence[int], edited: Sequence[int], n: int) -> Iterator[list[int]]:
    """The edited sentence with one changed word replaced by one that is spelled like a word it replaced."""
    for a, b, c, d in _changes(source, edited):
        if b - a > FEW:
            continue
        near = [word for old in source[a:b] for word in vae.similar_spelling.nearest(old, n)]
        for place in range(c, d):
            yield from (
                [*edited[:place], word, *edited[place + 1 :]] for word in near if word != edited[place]
            )


def word_changes(source: str, text: str) -> int:
    """Words that are inserted, deleted or replaced from one text to the other (Levenshtein 1966)."""
    ids: dict[str, int] = {}
    rows = [[ids.setdefault(word, len(ids)) for word in line.split()] for line in (source, text)]
    return edit_distance(*rows)


def revert_changes(source: Sequence[int], edited: Sequence[int]) -> Iterator[list[int]]:
    """The edited sentence with one change undone, for each change in turn, unless it is the only one.

    Example:
        >>> list(revert_changes([1, 2, 3], [1, 5, 6, 3, 4]))
        [[1, 2, 3, 4], [1, 5, 6, 3]]
    """
    changes = list(_changes(source, edited))
    for a, b, c, d in changes if len(changes) > 1 else ():
        yield [*edited[:c], *source[a:b], *edited[d:]]


def blank_changes(source: Sequence[int], edited: Sequence[int]) -> Iterator[list[int]]:
    """The edited sentence with a blank for one changed word, for each in turn.

    Example:
        >>> list(blank_changes([1, 2, 3], [1, 5, 6, 3]))
        [[1, -1, 6, 3], [1, 5, -1, 3]]
    """
    for _, _, c, d in _changes(source, edited):
        for place in range(c, d):
            yield [*edited[:place], BLANK, *edited[place + 1 :]]


def _changes(source: Sequence[int], edited: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Stretches [a, b) of the source that became [c, d); word by word where they have the same length."""
    matcher = SequenceMatcher(None, source, edited, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            continue
        if b - a == d - c:
            yield from ((a + i, a + i + 1, c + i, c + i + 1) for i in range(b - a))
        else:
            yield a, b, c, d
