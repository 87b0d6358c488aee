"""English-like sentences generated from known factors, such as `does the old dog not see a ball ...`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from seqvae.keyed_noise import keyed_permutation

# (singular, plural): all forms differ, so that a sentence determines the number
_PEOPLE = (
    ("dog", "dogs"), ("cat", "cats"), ("horse", "horses"), ("elephant", "elephants"),
    ("mouse", "mice"), ("owl", "owls"), ("man", "men"), ("woman", "women"),
    ("child", "children"), ("girl", "girls"), ("boy", "boys"), ("artist", "artists"),
    ("engineer", "engineers"), ("farmer", "farmers"), ("teacher", "teachers"), ("thief", "thieves"),
    ("baby", "babies"), ("actress", "actresses"), ("uncle", "uncles"), ("wolf", "wolves"),
)  # fmt: skip
_THINGS = (
    ("ball", "balls"), ("apple", "apples"), ("box", "boxes"), ("egg", "eggs"),
    ("umbrella", "umbrellas"), ("book", "books"), ("knife", "knives"), ("orange", "oranges"),
    ("toy", "toys"), ("berry", "berries"), ("instrument", "instruments"), ("leaf", "leaves"),
    ("watch", "watches"), ("picture", "pictures"), ("onion", "onions"), ("coin", "coins"),
)  # fmt: skip
# (base, third person, past): base and past differ, so that a sentence determines the tense
_VERBS = (
    ("see", "sees", "saw"), ("find", "finds", "found"), ("take", "takes", "took"),
    ("carry", "carries", "carried"), ("watch", "watches", "watched"), ("buy", "buys", "bought"),
    ("sell", "sells", "sold"), ("hide", "hides", "hid"), ("draw", "draws", "drew"),
    ("bring", "brings", "brought"), ("throw", "throws", "threw"), ("catch", "catches", "caught"),
    ("hold", "holds", "held"), ("choose", "chooses", "chose"), ("lose", "loses", "lost"),
    ("wash", "washes", "washed"), ("drop", "drops", "dropped"), ("want", "wants", "wanted"),
    ("steal", "steals", "stole"), ("touch", "touches", "touched"),
)  # fmt: skip
_ADJECTIVES = (
    "old", "young", "happy", "angry", "small", "enormous", "quiet", "clever", "honest", "brave", "ugly",
    "tired",
)  # fmt: skip
_PLACES = (
    "in the park", "at the market", "near the river", "under the bridge", "behind the house", "on the hill",
    "in the garden", "by the sea", "outside the school", "inside the church", "across the street",
    "along the road",
)  # fmt: skip

FACTORS: dict[str, tuple[str, ...]] = {
    "question": ("statement", "question"),
    "negation": ("affirmative", "negative"),
    "tense": ("past", "present", "future"),
    "number": ("singular", "plural"),
    "definite": ("indefinite", "definite"),
    "adjective": _ADJECTIVES,
    "subject": tuple(one for one, _ in _PEOPLE),
    "verb": tuple(base for base, _, _ in _VERBS),
    "object_number": ("singular", "plural"),
    "object": tuple(one for one, _ in _THINGS),
    "place": _PLACES,
}
NAMES: tuple[str, ...] = tuple(FACTORS)
_SHAPE = tuple(len(values) for values in FACTORS.values())
SIZE: int = math.prod(_SHAPE)
_CHUNK = 8192


def sentence(factors: Mapping[str, int] | Sequence[int] | npt.NDArray[np.int64]) -> str:
    """The sentence of a combination of factors: lower case, with spaces around the final mark.

    `factors` are labels in the order of `FACTORS`, or by name. Different labels give different sentences.

    Raises:
        KeyError: a factor is missing.
        IndexError: a label is out of range.
    """
    values = [factors[name] for name in NAMES] if isinstance(factors, Mapping) else list(factors)
    if len(values) != len(NAMES) or any(not 0 <= v < n for v, n in zip(values, _SHAPE, strict=True)):
        raise IndexError(f"factors {values} do not lie in {dict(zip(NAMES, _SHAPE, strict=True))}")
    return _assemble(*(int(v) for v in values))


def factors_of(text: str) -> tuple[int, ...] | None:
    """The labels of a sentence, in the order of `FACTORS`: the inverse of `sentence`.

    None for every other text, such as one whose verb and subject do not agree.

    Example:
        >>> factors_of(sentence([1, 0, 1, 0, 1, 0, 0, 4, 0, 0, 0]))
        (1, 0, 1, 0, 1, 0, 0, 4, 0, 0, 0)
        >>> factors_of("the old dog chase a ball .")
    """
    words = text.split(" ")
    if len(words) < 9:
        return None
    *start, object_word, in_, the, where, mark = words
    question, place = int(mark == "?"), _PLACE_OF.get(f"{in_} {the} {where}")
    who = start[1:4] if question else start[:3]
    # the verb's words: all between subject and object, and the helper before the subject of a question
    action = [*start[:1], *start[4:-1]] if question else start[3:-1]
    if place is None or object_word not in _THING_OF or len(who) < 3 or not action:
        return None
    adjective, (subject, number) = _ADJECTIVE_OF.get(who[1]), _PERSON_OF.get(who[2], (None, 0))
    verb, tense = _read_action(action)
    if adjective is None or subject is None or verb is None:
        return None
    thing, object_number = _THING_OF[object_word]
    negation, definite = int("not" in action), int(who[0] == "the")
    found = (
        question,
        negation,
        tense,
        number,
        definite,
        adjective,
        subject,
        verb,
        object_number,
        thing,
        place,
    )
    return found if _assemble(*found) == text else None


def _read_action(words: Sequence[str]) -> tuple[int | None, int]:
    """Verb and tense of the verb's words without the subject: `did not see`, `sees`, `will see`."""
    verb, form = _VERB_OF.get(words[-1], (None, 0))
    if len(words) == 1:
        return verb, int(form != 2)
    return verb, {"did": 0, "will": 2}.get(words[0], 1)


_PLACE_OF = {words: i for i, words in enumerate(_PLACES)}
_ADJECTIVE_OF = {word: i for i, word in enumerate(_ADJECTIVES)}
_PERSON_OF = {word: (i, number) for i, pair in enumerate(_PEOPLE) for number, word in enumerate(pair)}
_THING_OF = {word: (i, number) for i, pair in enumerate(_THINGS) for number, word in enumerate(pair)}
_VERB_OF = {word: (i, form) for i, forms in enumerate(_VERBS) for form, word in enumerate(forms)}


def iter_sentences(n: int, seed: int, start: int = 0) -> Iterator[tuple[str, tuple[int, ...]]]:
    """`n` different sentences with their labels, in random order by seed, from position `start`, lazily.

    The order is a permutation of all `SIZE` combinations, so different ranges are disjoint.

    Raises:
        ValueError: the range exceeds the number of sentences.
    """
    if start < 0 or start + n > SIZE:
        raise ValueError(f"{n} sentences from position {start} were requested, there are {SIZE}")
    for first in range(start, start + n, _CHUNK):
        places = np.arange(first, min(first + _CHUNK, start + n), dtype=np.uint64)
        codes = np.unravel_index(keyed_permutation(places, SIZE, seed).astype(np.int64), _SHAPE)
        for row in np.stack(codes, axis=1).tolist():
            yield _assemble(*row), tuple(row)


def _assemble(
    question: int,
    negation: int,
    tense: int,
    number: int,
    definite: int,
    adjective: int,
    subject: int,
    verb: int,
    object_number: int,
    thing: int,
    place: int,
) -> str:
    who = _add_determiner(f"{_ADJECTIVES[adjective]} {_PEOPLE[subject][number]}", number, definite)
    what = _add_determiner(_THINGS[thing][object_number], object_number, 0)
    rest = f"{what} {_PLACES[place]}"
    base = _VERBS[verb][0]
    helper = ("did", "do" if number else "does", "will")[tense]
    if question:
        return f"{helper} {who} {'not ' if negation else ''}{base} {rest} ?"
    if negation:
        return f"{who} {helper} not {base} {rest} ."
    return f"{who} {_inflect(verb, tense, number)} {rest} ."


def _add_determiner(words: str, number: int, definite: int) -> str:
    if definite:
        return f"the {words}"
    return f"some {words}" if number else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _inflect(verb: int, tense: int, number: int) -> str:
    base, third, past = _VERBS[verb]
    return (past, base if number else third, f"will {base}")[tense]
