"""Greedy, sampled and beam decoding against sentences that are counted by hand.

Shapes: N sentences, V words, D latent dims.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch
from tiny_text import DECODERS, SPECIAL, WORDS, all_sentences, text_batch, tiny_decoder, untruncated
from torch import Tensor

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text import decoding
from seqvae.models.text.decoding import GenerationConfig, generate_tokens
from seqvae.models.text.likelihood import TextDecoder
from seqvae.models.text.sampling import filter_logits

LONGEST = 3
ENDED = [ids for words in range(LONGEST + 1) for ids in all_sentences(words)]
Z = 2 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
NAMES = ("gru-state+steps+softmax", "lstm-state+steps+softmax", "transformer-slots+norms+embeddings+softmax")
CALM = torch.tensor([[0.3, -0.2]])
names = pytest.mark.parametrize("name", NAMES)


@cache
def _balance(name: str) -> float:
    """The shift of the end token's score that makes greedy sentences most various."""

    def kinds(end: float) -> int:
        sentences = written(decoder(name, end), Z, untruncated(greedy=True, max_length=12))
        return len({tuple(ids) for ids in sentences if len(ids) < 12})

    return max([x / 4 for x in range(-12, 25)], key=kinds)


def decoder(name: str = NAMES[0], end: float | None = None, std: float = 0.7) -> TextDecoder:
    """A strong decoder; `end` is added to the score of the end token."""
    made = tiny_decoder(DECODERS[name], std=std)
    with torch.no_grad():
        made.head.bias[SPECIAL.eos] += _balance(name) if end is None else end
    return made


def open_ended(name: str = NAMES[0]) -> TextDecoder:
    """One that ends with chance 0.2 at the first place for the code CALM: many sentences are likely."""
    made = decoder(name, 0.0)
    before = float(next_words(made, CALM[0], [])[SPECIAL.eos].exp())
    return decoder(name, math.log(0.2 / 0.8) - math.log(before / (1 - before)))


def noise(rows: int, seed: int = 0) -> KeyedNoise:
    return KeyedNoise(seed, 0, torch.arange(rows))


def written(
    made: TextDecoder, z: Tensor, how: GenerationConfig, random: KeyedNoise | None = None
) -> list[list[int]]:
    return generate_tokens(made, made.start(z), len(z), how, random or noise(len(z)))


@torch.no_grad()
def log_probs(made: TextDecoder, z: Tensor, sentences: list[list[int]]) -> Tensor:
    """(N, B): log p of each ended sentence given each code."""
    batch = text_batch(sentences)
    return made(z[:, None].expand(-1, batch.size, -1)).log_prob(batch)


@torch.no_grad()
def next_words(made: TextDecoder, z: Tensor, words: list[int]) -> Tensor:
    """(V,): log p of what follows `words`, from the whole sequence at once."""
    features, _ = made.read(torch.tensor([[SPECIAL.bos, *words]]), made.start(z[None]))
    return made.head(features[0, -1]).log_softmax(-1)


@names
def test_greedy_is_the_argmax_by_hand(name: str) -> None:
    made = decoder(name)
    wanted = []
    for z in Z:
        words: list[int] = []
        while len(words) < 5:
            word = int(next_words(made, z, words).argmax())
            if word == SPECIAL.eos:
                break
            words.append(word)
        wanted.append(words)
    assert written(made, Z, untruncated(greedy=True, max_length=5)) == wanted
    assert len({len(words) for words in wanted}) > 1  # some leave before others


@names
def test_wide_beam_is_exhaustive_search(name: str) -> None:
    width, kinds = len(list(all_sentences(LONGEST))), set()
    for end in (-3.0, 0.0, 3.0):
        made = decoder(name, end, std=1.3)
        best = [ENDED[i] for i in log_probs(made, Z, ENDED).argmax(1).tolist()]
        assert written(made, Z, untruncated(beam=width, max_length=LONGEST)) == best
        assert written(made, Z, untruncated(beam=3 * width, max_length=LONGEST)) == best
        kinds |= set(map(tuple, best))
    assert len({len(ids) for ids in kinds}) > 2


@names
def test_ended_sentences_come_before_cut_ones(name: str) -> None:
    """However improbable the end is, a sentence that ended is given where the beam saw one."""
    made = decoder(name, end=-6.0)
    best = [ENDED[i] for i in log_probs(made, Z, ENDED).argmax(1).tolist()]
    assert written(made, Z, untruncated(beam=64, max_length=LONGEST)) == best


@names
def test_where_nothing_can_end_the_best_prefix_is_given(name: str) -> None:
    made = decoder(name, end=-math.inf)
    prefixes = list(all_sentences(LONGEST))
    batch = text_batch(prefixes)
    with torch.no_grad():
        scores = made(Z[:, None].expand(-1, batch.size, -1)).token_log_probs(batch)[..., :LONGEST].sum(-1)
    best = [prefixes[i] for i in scores.argmax(1).tolist()]
    assert written(made, Z, untruncated(beam=64, max_length=LONGEST)) == best


@names
@pytest.mark.parametrize("width", [1, 2, 5])
def test_beam_is_never_worse_than_greedy(name: str, width: int) -> None:
    """A beam of one is greedy too, but may end where ending was the second choice."""
    made = decoder(name)
    greedy = written(made, Z, untruncated(greedy=True, max_length=20))
    beam = written(made, Z, untruncated(beam=width, max_length=20))
    by_greedy = [float(log_probs(made, z[None], [ids])) for z, ids in zip(Z, greedy, strict=True)]
    by_beam = [float(log_probs(made, z[None], [ids])) for z, ids in zip(Z, beam, strict=True)]
    ended = [len(ids) < 20 for ids in greedy]
    assert any(ended)
    assert all(b >= g - 1e-5 for b, g, e in zip(by_beam, by_greedy, ended, strict=True) if e)
    if width == 1:
        for z, ids in zip(Z, beam, strict=True):
            for place, word in enumerate(ids):
                choices = next_words(made, z, ids[:place])
                choices[SPECIAL.eos] = -math.inf
                assert word == int(choices.argmax())


def test_beam_score_falls_with_no_width() -> None:
    made = decoder(NAMES[2])
    exhaustive = log_probs(made, Z, ENDED).amax(1)
    for width in (1, 3, 64):
        found = written(made, Z, untruncated(beam=width, max_length=LONGEST))
        score = torch.stack([log_probs(made, z[None], [ids])[0, 0] for z, ids in zip(Z, found, strict=True)])
        assert bool((score <= exhaustive + 1e-5).all())


@names
def test_samples_follow_the_model(name: str) -> None:
    """Counts of every sentence within four standard errors of p(x|z), and their chi-square."""
    made, draws = open_ended(name), 8000
    z = CALM.expand(draws, -1)
    counted = Counter(map(tuple, written(made, z, untruncated(max_length=LONGEST), noise(draws, seed=4))))
    p = log_probs(made, CALM, ENDED)[0].double().exp()
    cut = {tuple(ids) for ids in all_sentences(LONGEST)}
    batch = text_batch([list(ids) for ids in cut])
    with torch.no_grad():
        prefix = made(CALM[:, None].expand(-1, batch.size, -1)).token_log_probs(batch)[0, :, :LONGEST].sum(-1)
    # three words with or without an end after them read the same
    expected = {tuple(ids): float(q) for ids, q in zip(ENDED, p, strict=True) if tuple(ids) not in cut}
    expected |= {tuple(ids): float(q.double().exp()) for ids, q in zip(cut, prefix, strict=True)}
    assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
    assert set(counted) <= set(expected)
    often = {ids: q for ids, q in expected.items() if q * draws >= 10}
    assert len(often) > 10
    for ids, q in often.items():
        assert abs(counted[ids] - draws * q) < 4.5 * math.sqrt(draws * q * (1 - q)), ids
    terms = [(counted[ids] - draws * q) ** 2 / (draws * q) for ids, q in often.items()]
    assert abs(sum(terms) - len(terms)) < 4 * math.sqrt(2 * len(terms))


def test_temperature_raises_probabilities_to_a_power() -> None:
    made, draws = open_ended(), 8000
    z = CALM.expand(draws, -1)
    for temperature in (0.5, 2.0):
        first = [ids[:1] for ids in written(made, z, untruncated(temperature=temperature, max_length=1))]
        p = (next_words(made, CALM[0], []) / temperature).softmax(-1)
        for word in (4, 5, 6):
            q = float(p[word])
            assert abs(first.count([word]) - draws * q) < 4 * math.sqrt(draws * q * (1 - q))


def test_no_temperature_left_is_greedy() -> None:
    made = decoder()
    cold = written(made, Z, untruncated(temperature=1e-4, max_length=6))
    assert cold == written(made, Z, untruncated(greedy=True, max_length=6))
    assert cold == written(made, Z, untruncated(top_k=1, max_length=6))
    assert cold == written(made, Z, untruncated(top_p=1e-6, max_length=6))


LOGITS = torch.log(torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.7, 0.05, 0.05, 0.2]]))


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ({}, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        ({"top_k": 2}, [[1, 2], [0, 3]]),
        ({"top_k": 1}, [[1], [0]]),
        ({"top_k": 9}, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        ({"top_k": 3}, [[1, 2, 3], [0, 1, 2, 3]]),  # equals stay together
        ({"top_p": 0.35}, [[1], [0]]),
        ({"top_p": 0.65}, [[1, 2], [0]]),  # the word that crosses the share is kept
        ({"top_p": 0.75}, [[1, 2, 3], [0, 3]]),
        ({"top_p": 1.0}, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        ({"top_k": 2, "top_p": 0.5}, [[1], [0]]),  # of the two kept the first has 4/7
        ({"top_k": 2, "top_p": 0.6}, [[1, 2], [0]]),
    ],
)
def test_filters_by_hand(arguments: dict[str, Any], kept: list[list[int]]) -> None:
    got = filter_logits(LOGITS, **{"top_k": None, "top_p": None} | arguments)
    for row, (wanted, before) in enumerate(zip(kept, LOGITS, strict=True)):
        assert got[row].isfinite().nonzero()[:, 0].tolist() == wanted
        assert torch.equal(got[row, wanted], before[wanted])


def test_filters_never_let_forbidden_words_back() -> None:
    logits = torch.tensor([[-math.inf, 1.0, -math.inf, 1.0]])
    for arguments in ({"top_k": 3}, {"top_p": 0.999}, {"top_k": 3, "top_p": 0.9}):
        got = filter_logits(logits, **{"top_k": None, "top_p": None} | arguments)
        assert got.isfinite().tolist() == [[False, True, False, True]]


@names
@pytest.mark.parametrize(
    "how",
    [untruncated(max_length=8), untruncated(beam=3, max_length=8), untruncated(greedy=True)],
)
def test_sentences_do_not_depend_on_their_neighbours(name: str, how: GenerationConfig) -> None:
    """Batches of one, where no row is dropped, a subset and another order all write the same sentences."""
    made, z = decoder(name), torch.cat([Z, -Z])
    random = noise(len(z))
    whole = written(made, z, how, random)
    assert len({len(ids) for ids in whole}) > 1
    alone = [written(made, z[[i]], how, KeyedNoise(0, 0, torch.tensor([i])))[0] for i in range(len(z))]
    assert alone == whole
    rows = torch.tensor([7, 2, 11, 3])
    assert written(made, z[rows], how, KeyedNoise(0, 0, rows)) == [whole[i] for i in rows.tolist()]


def test_beams_are_followed_some_sentences_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, how = decoder(), untruncated(beam=3, max_length=8)
    whole = written(made, Z, how)
    monkeypatch.setattr(decoding, "BEAMS", 17)  # five sentences
    assert written(made, Z, how) == whole
    monkeypatch.setattr(decoding, "BEAMS", 1)
    assert written(made, Z, how) == whole


def test_chance_is_keyed() -> None:
    made = open_ended()
    z, how = CALM.expand(40, -1), untruncated(max_length=8)
    first = written(made, z, how, noise(40))
    assert written(made, z, how, noise(40)) == first
    assert written(made, z, how, noise(40, seed=1)) != first
    assert len(set(map(tuple, first))) > 5
    torch.manual_seed(99)
    assert written(made, z, how, noise(40)) == first
    greedy = untruncated(greedy=True)
    assert written(made, z, greedy, noise(40)) == written(made, z, greedy, noise(40, seed=1))


@names
def test_longest_sentence_and_special_words(name: str) -> None:
    made = decoder(name, end=-2.0)
    for how in (
        untruncated(max_length=4),
        untruncated(greedy=True, max_length=4),
        untruncated(beam=2, max_length=4),
    ):
        sentences = written(made, Z.repeat(20, 1), how, noise(20 * len(Z)))
        assert all(len(ids) <= 4 for ids in sentences)
        assert {SPECIAL.pad, SPECIAL.bos, SPECIAL.eos}.isdisjoint(i for ids in sentences for i in ids)
        assert all(0 <= i < WORDS for ids in sentences for i in ids)


def test_empty_sentences_are_sentences() -> None:
    made = decoder(end=100.0)
    for how in (untruncated(), untruncated(greedy=True), untruncated(beam=3)):
        assert written(made, Z, how) == [[]] * len(Z)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "temperature got 0.0: it must be above 0"),
        ({"temperature": -1.0}, "temperature got -1.0: it must be above 0"),
        ({"temperature": math.nan}, "temperature got nan: it must be finite"),
        ({"top_k": 0}, "top-k got 0: it must be above 0"),
        ({"top_p": 0.0}, r"top-p got 0.0: it must be in \(0, 1\]"),
        ({"top_p": 1.5}, r"top-p got 1.5: it must be in \(0, 1\]"),
        ({"beam": 0}, "beam got 0: it must be above 0"),
        ({"max_length": 0}, "max-length got 0: it must be above 0"),
        ({"greedy": True, "beam": 2}, "greedy got True: it must be off when a beam is asked for"),
    ],
)
def test_errors_name_the_number(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        GenerationConfig(**arguments)
