"""Word dropout: its words, its frequency, and none at evaluation.

Shapes: B sentences, T tokens.
"""

from __future__ import annotations

import math

import pytest
import torch
from tiny_text import SPECIAL, WORDS, padded, rows_of, text_batch, tiny_config, tiny_vae

from seqvae.build import build_objective
from seqvae.evaluation.evaluate import evaluate, validate
from seqvae.interfaces import RunContext
from seqvae.keyed_noise import KeyedNoise
from seqvae.objectives import ELBO
from seqvae.remedies.word_dropout import WordDropout, drop_words

FIELDS = ("source", "source_lengths", "targets", "lengths", "index", "labels")


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_only_inputs_are_touched_and_never_the_start(rate: float) -> None:
    batch = text_batch()
    before = {name: getattr(batch, name).clone() for name in (*FIELDS, "inputs")}
    after = WordDropout(rate).on_decoder_input(batch)
    for name in FIELDS:
        assert torch.equal(getattr(after, name), before[name]), name
    assert torch.equal(batch.inputs, before["inputs"])  # the batch given is left alone
    assert bool((after.inputs[:, 0] == SPECIAL.bos).all())
    changed = after.inputs != before["inputs"]
    assert bool((after.inputs[changed] == SPECIAL.unk).all())


def test_rates_at_the_ends() -> None:
    inputs = text_batch().inputs
    random = text_batch().random
    assert torch.equal(drop_words(inputs, 0.0, SPECIAL.unk, random), inputs)
    assert bool((drop_words(inputs, 1.0, SPECIAL.unk, random)[:, 1:] == SPECIAL.unk).all())


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_rate_is_the_share_dropped(rate: float) -> None:
    inputs = torch.full((500, 41), 5)
    dropped = drop_words(inputs, rate, SPECIAL.unk, KeyedNoise(0, 0, torch.arange(500)))[:, 1:] == SPECIAL.unk
    n = dropped.numel()
    assert abs(float(dropped.float().mean()) - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
    for one, other in ((dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1])):
        both = float((one & other).float().mean())
        assert abs(both - rate**2) < 4 * math.sqrt(rate**2 * (1 - rate**2) / one.numel())


def test_mask_is_fresh_every_step_and_belongs_to_the_sentence() -> None:
    inputs = torch.full((20, 30), 5)

    def masked(step: int, rows: torch.Tensor) -> torch.Tensor:
        return drop_words(inputs[rows], 0.5, SPECIAL.unk, KeyedNoise(0, step, rows))

    everyone = torch.arange(20)
    assert not torch.equal(masked(0, everyone), masked(1, everyone))
    rows = torch.tensor([7, 3, 19])
    assert torch.equal(masked(0, rows), masked(0, everyone)[rows])


def test_padding_and_order_change_no_mask() -> None:
    batch, remedy = text_batch(), WordDropout(0.5)
    whole = remedy.on_decoder_input(batch).inputs
    wide = remedy.on_decoder_input(padded(batch, 3)).inputs[:, :-3]
    inside = batch.mask
    assert torch.equal(wide[inside], whole[inside])
    some = rows_of(batch, [4, 2])
    assert torch.equal(remedy.on_decoder_input(some).inputs, whole[[4, 2], : some.inputs.shape[1]])


def test_inputless_training_reads_nothing() -> None:
    """At rate 1 sentences of the same length that share z have the same predictions."""
    vae, objective = tiny_vae(), ELBO([WordDropout(1.0)])
    one, other = text_batch([[4, 5, 6]]), text_batch([[6, 6, 4]])
    with torch.no_grad():
        q = vae.posterior(one)
        read = [objective.remedy_list[0].on_decoder_input(batch) for batch in (one, other)]
        swapped = read[1].replace(targets=one.targets)
        assert torch.equal(vae(read[0], q=q).log_px_z, vae(swapped, q=q).log_px_z)
        plain = vae(other.replace(targets=one.targets), q=q).log_px_z
        assert not torch.equal(vae(one, q=q).log_px_z, plain)  # which they have not when words are read


def test_training_sees_it_and_evaluation_does_not() -> None:
    config, batches = tiny_config(remedies=[{"name": "word_dropout", "rate": 0.9}]), [text_batch()]
    vae = tiny_vae()
    plain, light = evaluate(vae, batches), validate(vae, batches)
    objective = build_objective(config, vae, RunContext(10, 10, 5, 2, WORDS)).train()
    vae.train()
    with torch.no_grad():
        dropped = objective(vae, batches[0], 0).distortion
        assert not torch.equal(dropped, ELBO([])(vae, batches[0], 0).distortion)
    again = evaluate(vae, batches)
    assert {k: v for k, v in again.items() if k not in ("seconds", "tokens_per_s")} == {
        k: v for k, v in plain.items() if k not in ("seconds", "tokens_per_s")
    }
    assert validate(vae, batches) == light
    with torch.no_grad():
        q, noise = vae.posterior(batches[0]), batches[0].random.fold(0)  # the noise of evaluations
        read = -vae.likelihood(q.rsample(1, noise)).log_prob(batches[0]).mean()
    assert light["distortion"] == pytest.approx(float(read), rel=1e-6)
