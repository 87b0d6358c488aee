"""Constraints, the unknown token and repetition while decoding, against sentences that are enumerated.

Shapes: N sentences, V words.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from tiny_text import DECODERS, SPECIAL, SPECIALS_AND_PIECES, WORDS, tiny_decoder, untruncated
from torch import Tensor

from seqvae.data.text.byte_dfa import compile_regex
from seqvae.data.text.token_automaton import TokenMoves, token_moves
from seqvae.data.text.token_bytes import TokenBytes
from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.decoding import GenerationConfig, generate_tokens
from seqvae.models.text.likelihood import TextDecoder
from seqvae.models.text.restrictions import count_continuations

NAMES = ("gru-state+steps+softmax", "transformer-slots+norms+embeddings+softmax")
PATTERNS = ["(ab)*", "a?b+", "aab|b", "[^b]*", "(a|bb){2}"]
LONGEST = 3
Z = 2 * torch.randn(24, 2, generator=torch.Generator().manual_seed(0))
names = pytest.mark.parametrize("name", NAMES)
patterns = pytest.mark.parametrize("pattern", PATTERNS)
intervals = pytest.mark.parametrize("interval", [0, 2])  # 2: steps on fixed buffers, as a GPU captures them


@cache
def decoder(name: str) -> TextDecoder:
    return tiny_decoder(DECODERS[name], std=0.7)


def text(ids: tuple[int, ...] | list[int]) -> str:
    return "".join(SPECIALS_AND_PIECES[i] or "" for i in ids)


@cache
def moves(pattern: str) -> TokenMoves:
    pieces = tuple(None if piece is None else piece.encode() for piece in SPECIALS_AND_PIECES)
    return token_moves(compile_regex(pattern), TokenBytes(pieces, pieces))


@cache
def valid(pattern: str) -> set[tuple[int, ...]]:
    every = (ids for length in range(LONGEST + 1) for ids in product((4, 5, 6), repeat=length))
    return {ids for ids in every if re.fullmatch(pattern, text(ids))}


def written(
    made: TextDecoder, how: GenerationConfig, z: Tensor = Z, seed: int = 0, **more: Any
) -> list[list[int]]:
    random = KeyedNoise(seed, 0, torch.arange(len(z)))
    return generate_tokens(made, made.start(z), len(z), how, random, **more)


@torch.no_grad()
def log_probs(made: TextDecoder, z: Tensor, pattern: str) -> dict[tuple[int, ...], float]:
    """Log p of each valid sentence, where each word's p is renormalised over the words that may follow."""
    sentences = valid(pattern)
    prefixes = {ids[:length] for ids in sentences for length in range(len(ids) + 1)}
    found = {}
    for ids in sentences:
        features, _ = made.read(torch.tensor([[SPECIAL.bos, *ids]]), made.start(z[None]))
        logits = made.head(features[0])  # (T, V)
        total = 0.0
        for place in range(len(ids) + 1):
            before = ids[:place]
            may = [w for w in range(WORDS) if (*before, w) in prefixes]
            may += [SPECIAL.eos] if before in sentences else []
            next_word = ids[place] if place < len(ids) else SPECIAL.eos
            if place == LONGEST:  # cut there, without an end
                continue
            chances = logits[place, may].log_softmax(-1)
            total += float(chances[may.index(next_word)])
        found[ids] = total
    return found


@names
@patterns
@intervals
def test_every_sentence_matches(name: str, pattern: str, interval: int) -> None:
    for how in (
        untruncated(greedy=True),
        untruncated(),
        GenerationConfig(temperature=1.5, top_k=3, repeats=1),
        untruncated(beam=3),
        untruncated(beam=40),
    ):
        chosen = replace(how, max_length=LONGEST, moves=moves(pattern))
        for ids in written(decoder(name), chosen, interval=interval):
            assert tuple(ids) in valid(pattern), (how, ids)


@names
@patterns
@intervals
def test_a_wide_beam_finds_the_most_probable_valid_sentence(name: str, pattern: str, interval: int) -> None:
    how = untruncated(beam=64, max_length=LONGEST, moves=moves(pattern))
    made = decoder(name)
    for z, ids in zip(Z[:6], written(made, how, Z[:6], interval=interval), strict=True):
        known = log_probs(made, z, pattern)
        assert known[tuple(ids)] == pytest.approx(max(known.values()), abs=1e-4)


@names
def test_samples_have_the_renormalised_probabilities(name: str) -> None:
    made, pattern, n = decoder(name), "a?b+|(ab)*", 4000
    z = torch.tensor([[0.3, -0.2]])
    how = untruncated(max_length=LONGEST, moves=moves(pattern))
    drawn = Counter(map(tuple, written(made, how, z.expand(n, -1), seed=3)))
    known = {ids: float(torch.tensor(p).exp()) for ids, p in log_probs(made, z[0], pattern).items()}
    assert sum(known.values()) == pytest.approx(1, abs=1e-5)
    assert len(known) > 5
    for ids, p in known.items():
        assert drawn[ids] / n == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5 + 1e-3)


@names
@pytest.mark.parametrize("how", [untruncated(greedy=True), untruncated(), untruncated(beam=3)], ids=str)
def test_fixed_buffers_and_neighbours_change_nothing(name: str, how: GenerationConfig) -> None:
    chosen = replace(how, max_length=6, moves=moves("(ab)*"), repeats=1)
    made = decoder(name)
    whole = written(made, chosen)
    assert whole == written(made, chosen, interval=2)
    assert whole[:5] == written(made, chosen, Z[:5])


@intervals
def test_the_unknown_token_is_written_only_where_it_is_asked_for(interval: int) -> None:
    made = tiny_decoder(DECODERS[NAMES[0]], std=0.7)
    with torch.no_grad():
        made.head.bias[SPECIAL.unk] += 3
    for how in (GenerationConfig(), GenerationConfig(greedy=True), GenerationConfig(beam=3)):
        short = replace(how, max_length=5)
        assert not any(SPECIAL.unk in ids for ids in written(made, short, interval=interval))
        asked = replace(short, unknown=True)
        assert any(SPECIAL.unk in ids for ids in written(made, asked, interval=interval))


def test_continuations_are_counted() -> None:
    rows = torch.tensor([[4, 5, 6, 4, 4, 5, 6, 4, 4, 5, 6, 3], [4, 4, 4, 4, 4, 4, 4, 5, 3, 3, 3, 3]])
    for row in range(2):
        for position in range(12):
            counts = count_continuations(rows, torch.tensor(position), WORDS)[row]
            said = rows[row, :position].tolist()
            grams = Counter(tuple(said[i : i + 4]) for i in range(position - 3))
            last = tuple(said[-3:])
            assert counts.tolist() == [grams[(*last, w)] if position >= 3 else 0 for w in range(WORDS)]


@intervals
@pytest.mark.parametrize("beam", [None, 3])
def test_a_sentence_does_not_loop(interval: int, beam: int | None) -> None:
    made = tiny_decoder(DECODERS[NAMES[0]], std=0.7)
    with torch.no_grad():
        made.head.bias[SPECIAL.eos] -= 20
        made.head.bias[4] += 6

    def most(repeats: int) -> int:
        how = untruncated(greedy=not beam, beam=beam, max_length=16, repeats=repeats)
        sentences = written(made, how, interval=interval)
        grams = (Counter(tuple(ids[i : i + 4]) for i in range(len(ids) - 3)) for ids in sentences)
        return max(max(counts.values(), default=0) for counts in grams)

    assert most(0) == 13, "nothing but one word"
    assert most(2) == 2


def test_a_constraint_that_needs_more_tokens_than_there_are() -> None:
    how = untruncated(max_length=2, moves=moves("aaa"))
    with pytest.raises(UserError, match="needs at least 3 tokens, a sentence has at most 2"):
        written(decoder(NAMES[0]), how)
