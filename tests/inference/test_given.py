"""What a user may give in Python: any ordered collection, codes of any kind; one line for the rest."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import SENTENCES

from seqvae import TextVAE, UserError
from seqvae.inference.neighbors import build_index, find_neighbors
from seqvae.models.text.decoding import GenerationConfig

TEXTS = SENTENCES[:3]
Z = torch.tensor([[0.5, -1.0, 2.0, 0.0], [0.0, 1.0, 0.0, -3.0]])


ORDERED: dict[str, Callable[[], Any]] = {
    "tuple": lambda: tuple(TEXTS),
    "generator": lambda: (text for text in TEXTS),
    "map": lambda: map(str, TEXTS),
    "keys of a dict": lambda: dict.fromkeys(TEXTS).keys(),
    "array": lambda: np.array(TEXTS),
    "array of objects": lambda: np.array(TEXTS, object),
    "column": lambda: pd.Series(TEXTS),
    "column with an index of its own": lambda: pd.Series(TEXTS, index=[7, 3, 9]),
    "categories": lambda: pd.Series(TEXTS).astype("category"),
}


@pytest.mark.parametrize("kind", ORDERED)
def test_any_ordered_collection_of_sentences(vae: TextVAE, kind: str) -> None:
    given = ORDERED[kind]
    torch.testing.assert_close(vae.encode(given()), vae.encode(TEXTS))
    torch.testing.assert_close(vae.encode(given(), sample=True), vae.encode(TEXTS, sample=True))
    assert vae.score(given(), samples=2) == vae.score(TEXTS, samples=2)
    assert vae.reconstruct(given()) == vae.reconstruct(TEXTS)
    assert vae.unknown(given()) == vae.unknown(TEXTS)
    assert vae.references(given()) == vae.references(TEXTS)
    torch.testing.assert_close(vae.direction(given(), ["a cat"]), vae.direction(TEXTS, ["a cat"]))
    assert vae.shift(given(), torch.ones(4)) == vae.shift(TEXTS, torch.ones(4))
    assert vae.edit(given(), given(), given()) == vae.edit(TEXTS, TEXTS, TEXTS)
    torch.testing.assert_close(vae.log_prob(given(), Z[[0, 1, 0]]), vae.log_prob(TEXTS, Z[[0, 1, 0]]))
    assert [batch.size for batch in vae.batches(given())] == [3]
    index = build_index(vae, given())
    assert [near[0].place for near in find_neighbors(vae, given(), index, 1)] == [0, 1, 2]


VERBS: dict[str, Callable[[TextVAE, Any], Any]] = {
    "encode": lambda vae, given: vae.encode(given),
    "score": lambda vae, given: vae.score(given),
    "reconstruct": lambda vae, given: vae.reconstruct(given),
    "unknown": lambda vae, given: vae.unknown(given),
    "references": lambda vae, given: vae.references(given),
    "towards": lambda vae, given: vae.direction(given, ["a cat"]),
    "away": lambda vae, given: vae.direction(["a cat"], given),
    "edit": lambda vae, given: vae.edit(given, ["a cat"], ["a dog"]),
    "shifted": lambda vae, given: vae.shift(given, torch.zeros(4)),
    "log_prob": lambda vae, given: vae.log_prob(given, torch.zeros(1, 4)),
    "batches": lambda vae, given: list(vae.batches(given)),
    "build_index": build_index,
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_ordered_collection_of_sentences_is_refused(vae: TextVAE, verb: str) -> None:
    call = VERBS[verb]
    for wrong, line in (
        ("a cat", r"examples got 'a cat', which is one of them: give a list, \['a cat'\]"),
        (pd.DataFrame({"text": TEXTS}), "a whole table.*one of its columns"),
        ({"a cat": "a dog"}, "a mapping"),
        ({"a cat", "a dog"}, "a set, which has no order"),
        (None, "examples got 'None', a NoneType: give a list"),
        (5, "examples got '5', a int"),
        (np.array("a cat"), "a ndarray: give a list"),
        (["a cat", ""], "text 1: '' holds no token"),
        (["a cat", float("nan")], "text 1 is 'nan', a float"),
        (pd.Series(["a cat", pd.NA]), "text 1 is '(nan|<NA>)'"),
    ):
        with pytest.raises(UserError, match=line):
            call(vae, wrong)


def test_codes_of_any_kind(vae: TextVAE) -> None:
    wanted = vae.decode(Z)
    for given in (
        Z.numpy(),
        Z.double(),
        Z.numpy().astype(np.float64),
        Z.tolist(),
        list(Z),
        list(Z.numpy()),
        pd.DataFrame(Z.numpy()),
        Z.clone().requires_grad_(),
    ):
        assert vae.decode(given) == wanted
    assert vae.decode([]) == vae.decode(Z[:0]) == []
    for wrong, line in (
        ("abc", r"a str that is not \(N, 4\) numbers"),
        (["abc"], r"a list that is not \(N, 4\) numbers"),
        (None, "a NoneType that is not"),
        ([[1.0] * 4, [1.0] * 3], "a list that is not"),
        (Z.to(torch.complex64), "complex"),
        (Z[0], r"codes have shape \(4,\)"),
        (Z * 1e300, "holds nan or inf"),
    ):
        with pytest.raises(UserError, match=line):
            vae.decode(wrong)


def test_steps_that_do_not_fit_the_codes(vae: TextVAE) -> None:
    step = torch.tensor([1.0, 0.0, 0.0, -1.0])
    wanted = vae.shift(TEXTS, step)
    assert vae.shift(TEXTS, step.numpy().astype(np.float64)) == wanted
    assert vae.shift(TEXTS, step.tolist()) == wanted
    for wrong in (torch.zeros(5), torch.zeros(2, 4), None, "1"):
        with pytest.raises(UserError, match=r"step got .*: give numbers of shape \(4,\) or \(3, 4\)"):
            vae.shift(TEXTS, wrong)
    with pytest.raises(UserError, match="holds nan or inf"):
        vae.shift(TEXTS, step * float("nan"))
    with pytest.raises(UserError, match="holds nan or inf"):  # it wrote empty sentences
        vae.edit(TEXTS, ["a cat"], ["a dog"], strength=float("nan"))


def test_one_code_for_each_sentence(vae: TextVAE) -> None:
    for codes, texts in ((2, 1), (1, 2)):  # the first gave one number, of the first code
        with pytest.raises(UserError, match=f"z holds {codes} codes for {texts} sentences"):
            vae.log_prob(TEXTS[:texts], torch.zeros(codes, 4))


def test_whole_numbers(vae: TextVAE) -> None:
    assert vae.sample(2, seed=np.int64(3)) == vae.sample(np.int64(2), seed=3)  # type: ignore[arg-type]
    for wrong in (-1, 1.5, "3", None):
        with pytest.raises(UserError, match=r"n got .*: give a whole number, 0 or more"):
            vae.sample(wrong)  # type: ignore[arg-type]
    for seed in (1.5, "3", None):
        with pytest.raises(UserError, match=r"seed got .*: give a whole number"):
            vae.sample(2, seed=seed)  # type: ignore[arg-type]
    for name in ("examples", "batch_size"):
        with pytest.raises(UserError, match=f"{name} got 0: give a whole number, 1 or more"):
            vae.evaluate(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"steps got 2\.5"):
        vae.interpolate(*TEXTS[:2], steps=2.5)  # type: ignore[arg-type]


def test_a_path_of_another_name(vae: TextVAE) -> None:
    with pytest.raises(UserError, match="path got 'cubic': choose linear or slerp"):  # it was slerp
        vae.interpolate(*TEXTS[:2], path="cubic")  # type: ignore[arg-type]


def test_other_settings_of_writing_keep_the_length_of_the_run(vae: TextVAE) -> None:
    """`GenerationConfig(temperature=...)` cut the sentences of a run of long texts at 64 tokens."""
    long = vae.with_max_tokens(90)
    how = GenerationConfig(temperature=50.0, unknown=True, repeats=0, top_p=1)
    longest = max(len(text.split()) for text in long.sample(30, how))
    assert 64 < longest <= 90
    assert max(len(text.split()) for text in long.sample(30, replace(how, max_length=70))) <= 70
    with pytest.raises(UserError, match=r"how got a dict: give a GenerationConfig"):
        vae.sample(1, {"temperature": 1})  # type: ignore[arg-type]


def test_copies_and_pickles_of_a_model(vae: TextVAE) -> None:
    z = vae.encode(TEXTS)
    torch.testing.assert_close(copy.deepcopy(vae).encode(TEXTS), z)
    torch.testing.assert_close(pickle.loads(pickle.dumps(vae)).encode(TEXTS), z)
