"""Encoders and decoders of sentences: invariances, and dependence on z.

Shapes: S samples, B sentences, N rows, T tokens, D latent dims.
"""

from __future__ import annotations

import pytest
import torch
from tiny_text import (
    ATTENTION,
    DECODERS,
    ENCODERS,
    PLAIN,
    RECURRENT,
    SENTENCES,
    Spec,
    padded,
    rows_of,
    text_batch,
    tiny_decoder,
    tiny_vae,
)
from torch import Tensor

from seqvae.build import build_vae
from seqvae.config.loading import parse_config
from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.data.text.batching import batch_from_ids
from seqvae.errors import UserError
from seqvae.interfaces import Encoder
from seqvae.models.text.kernels.attention import Rotation
from seqvae.models.text.likelihood import TextDecoder
from seqvae.models.text.pooling import POOLINGS
from seqvae.models.vae import VAE

READERS: dict[str, Spec] = {
    **{
        f"{cell}-{pooling}{'-both' if both else ''}-{layers}": {
            "name": cell, **RECURRENT, "pooling": pooling, "bidirectional": both, "layers": layers
        }
        for cell in ("gru", "lstm") for pooling in POOLINGS for both in (False, True) for layers in (1, 2)
    },
    **{f"transformer-{p}": {"name": "transformer", **ATTENTION, "pooling": p} for p in POOLINGS},
}  # fmt: skip
Z = torch.tensor([[0.7, -1.2], [-0.4, 0.3], [2.0, 0.1], [0.0, -0.6], [1.0, 1.0], [-2.0, 0.5], [0.2, 0.9]])
SHUFFLED = [3, 6, 0, 5, 1, 2, 4]

readers = pytest.mark.parametrize("spec", READERS.values(), ids=READERS.keys())
writers = pytest.mark.parametrize("spec", DECODERS.values(), ids=DECODERS.keys())
pairs = pytest.mark.parametrize(("reads", "writes"), [(a, b) for a in PLAIN for b in PLAIN])


def equal(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def encoder(spec: Spec) -> Encoder:
    return tiny_vae(encoder=spec).encoder


def token_log_probs(decoder: TextDecoder, batch: TextBatch, z: Tensor) -> Tensor:
    return decoder(z[None]).token_log_probs(batch)[0]


@readers
@pytest.mark.parametrize("word", [0, 5])
@torch.no_grad()
def test_encoder_ignores_padding(spec: Spec, word: int) -> None:
    made, batch = encoder(spec), text_batch()
    equal(made(padded(batch, 3, word)), made(batch))


@readers
@torch.no_grad()
def test_encoder_ignores_order_and_neighbours(spec: Spec) -> None:
    made, batch = encoder(spec), text_batch()
    whole = made(batch)
    equal(made(rows_of(batch, SHUFFLED)), whole[SHUFFLED])
    equal(torch.cat([made(rows_of(batch, [i])) for i in range(batch.size)]), whole)


@readers
@torch.no_grad()
def test_encoder_reads_every_word(spec: Spec) -> None:
    made, batch = encoder(spec), text_batch([[4, 5, 6]])
    whole = made(batch)
    assert whole.shape == (1, made.out_dim)
    for place in range(4):  # the end token too
        source = batch.source.clone()
        source[0, place] = 1
        assert float((made(batch.replace(source=source)) - whole).abs().max()) > 1e-4, place


@writers
@pytest.mark.parametrize("word", [0, 5])
@torch.no_grad()
def test_decoder_ignores_padding(spec: Spec, word: int) -> None:
    decoder, batch = tiny_decoder(spec), text_batch()
    wide = token_log_probs(decoder, padded(batch, 3, word), Z)
    equal(wide[:, :-3], token_log_probs(decoder, batch, Z))
    assert bool((wide[:, -3:] == 0).all())
    equal(decoder(Z[None]).log_prob(batch)[0], wide.sum(-1))


@writers
@torch.no_grad()
def test_decoder_ignores_order_and_neighbours(spec: Spec) -> None:
    decoder, batch = tiny_decoder(spec), text_batch()
    whole = decoder(Z[None]).log_prob(batch)[0]
    equal(decoder(Z[None, SHUFFLED]).log_prob(rows_of(batch, SHUFFLED))[0], whole[SHUFFLED])
    alone = [decoder(Z[None, [i]]).log_prob(rows_of(batch, [i]))[0] for i in range(batch.size)]
    equal(torch.cat(alone), whole)


@writers
@pytest.mark.parametrize("gradients", [False, True])
def test_samples_are_scored_as_if_each_were_alone(spec: Spec, gradients: bool) -> None:
    """The inputs that samples share may be read once for all of them."""
    decoder, batch = tiny_decoder(spec), text_batch(SENTENCES)
    several = torch.stack([Z, -Z, Z.flip(0)])
    with torch.set_grad_enabled(gradients):
        together = decoder(several).log_prob(batch)
        alone = [decoder(z[None]).log_prob(batch)[0] for z in several]
    equal(together, torch.stack(alone))


@writers
@torch.no_grad()
def test_features_do_not_see_the_future(spec: Spec) -> None:
    decoder = tiny_decoder(spec)
    words = torch.tensor([[2, 4, 5, 6, 4, 1]])
    before, _ = decoder.read(words, decoder.start(Z[:1]))
    for place in range(6):
        changed = words.clone()
        changed[:, place:] = torch.tensor([6, 6, 4, 5, 5, 6])[place:]
        after, _ = decoder.read(changed, decoder.start(Z[:1]))
        assert torch.allclose(after[:, :place], before[:, :place], atol=1e-6)
        assert float((after[:, place] - before[:, place]).abs().max()) > 1e-4  # the present they see
        assert float((after[:, -1] - before[:, -1]).abs().max()) > 1e-5  # and the past


@writers
@torch.no_grad()
def test_earlier_tokens_are_scored_without_later_inputs(spec: Spec) -> None:
    decoder, batch = tiny_decoder(spec), text_batch([[4, 5, 6, 4]])
    early = token_log_probs(decoder, batch, Z[:1])[:, :3]
    other = batch.replace(inputs=torch.tensor([[2, 4, 5, 1, 1]]))
    equal(token_log_probs(decoder, other, Z[:1])[:, :3], early)


@writers
@torch.no_grad()
def test_decoder_sees_the_sentence_through_z_alone(spec: Spec) -> None:
    decoder, batch = tiny_decoder(spec), text_batch()
    other = batch.replace(
        source=torch.full_like(batch.source, 6),
        source_lengths=torch.ones_like(batch.source_lengths),
        index=batch.index + 100,
        labels=torch.ones(batch.size, 1),
        random=text_batch(seed=9).random,
    )
    assert torch.equal(token_log_probs(decoder, other, Z), token_log_probs(decoder, batch, Z))
    assert (
        float((token_log_probs(decoder, batch, -Z) - token_log_probs(decoder, batch, Z)).abs().max()) > 1e-3
    )


@writers
@torch.no_grad()
def test_teacher_forcing_is_reading_step_by_step(spec: Spec) -> None:
    decoder, words = tiny_decoder(spec), text_batch().inputs
    whole, _ = decoder.read(words, decoder.start(Z))
    state, steps = decoder.start(Z), []
    for place in range(words.shape[1]):
        features, state = decoder.read(words[:, place : place + 1], state)
        steps.append(features)
    equal(torch.cat(steps, 1), whole)


@writers
@pytest.mark.parametrize("cuts", [(1,), (2,), (3, 5), (5,)])
@torch.no_grad()
def test_chunks_read_as_one(spec: Spec, cuts: tuple[int, ...]) -> None:
    decoder, words = tiny_decoder(spec), text_batch().inputs
    whole, _ = decoder.read(words, decoder.start(Z))
    state, chunks = decoder.start(Z), []
    for part in words.tensor_split(cuts, 1):
        features, state = decoder.read(part, state)
        chunks.append(features)
    equal(torch.cat(chunks, 1), whole)


@writers
@torch.no_grad()
def test_selected_rows_read_on_as_if_alone(spec: Spec) -> None:
    decoder, words = tiny_decoder(spec), text_batch().inputs
    whole, _ = decoder.read(words, decoder.start(Z))
    rows = torch.tensor([5, 0, 0, 3])
    at_start, _ = decoder.read(words[rows], decoder.start(Z).select(rows))
    equal(at_start, whole[rows])
    _, state = decoder.read(words[:, :2], decoder.start(Z))
    later, state = decoder.read(words[rows, 2:4], state.select(rows))
    equal(later, whole[rows, 2:4])
    again = torch.tensor([2, 1])
    last, _ = decoder.read(words[rows][again, 4:5], state.select(again))
    equal(last, whole[rows][again, 4:5])


@writers
@torch.no_grad()
def test_reading_does_not_change_the_state(spec: Spec) -> None:
    decoder, words = tiny_decoder(spec), text_batch().inputs
    _, state = decoder.read(words[:, :2], decoder.start(Z))
    first, _ = decoder.read(words[:, 2:4], state)
    decoder.read(words[:, 3:], state)
    assert torch.equal(decoder.read(words[:, 2:4], state)[0], first)


@writers
@torch.no_grad()
def test_samples_lead(spec: Spec) -> None:
    decoder, batch = tiny_decoder(spec), text_batch()
    z = torch.stack([Z, -Z, Z.flip(0)])  # (S, B, D)
    together = decoder(z).log_prob(batch)
    assert together.shape == (3, batch.size)
    equal(together, torch.cat([decoder(codes[None]).log_prob(batch) for codes in z]))


@pytest.mark.parametrize("name", [n for n in DECODERS if "tied" not in n])
@torch.no_grad()
def test_each_place_alone_lets_z_through(name: str) -> None:
    decoder, batch = tiny_decoder(DECODERS[name]), text_batch([[4, 5]])
    z = torch.zeros(1, 1, 2)
    for dim in range(2):
        moved = z.clone()
        moved[..., dim] = 2.0
        change = decoder(moved).token_log_probs(batch) - decoder(z).token_log_probs(batch)
        assert bool((change.abs() > 1e-5).all()), "every token of the sentence feels z"


@pairs
@torch.no_grad()
def test_a_whole_model_ignores_how_sentences_are_batched(reads: str, writes: str) -> None:
    vae, batch = tiny_vae(ENCODERS[reads], decoder=DECODERS[f"{writes}-softmax"]), text_batch()
    out = vae(batch, samples=2)
    wide, mixed = vae(padded(batch, 4), samples=2), vae(rows_of(batch, SHUFFLED), samples=2)
    alone = [vae(rows_of(batch, [i]), samples=2) for i in range(batch.size)]
    equal(wide.q.mean, out.q.mean)
    equal(mixed.q.mean, out.q.mean[SHUFFLED])
    equal(torch.cat([one.q.mean for one in alone]), out.q.mean)
    for name in ("z", "kl", "log_px_z", "log_weights"):
        equal(getattr(wide, name), getattr(out, name))
        equal(getattr(mixed, name), getattr(out, name)[:, SHUFFLED])
        equal(torch.cat([getattr(one, name) for one in alone], 1), getattr(out, name))


@pytest.mark.parametrize("name", PLAIN)
def test_gradients_of_padding_are_none(name: str) -> None:
    """A padded batch gives the parameters the same gradients, all of them numbers."""
    vae = tiny_vae(ENCODERS[name], decoder=DECODERS[f"{name}-softmax"])
    gradients = []
    for batch in (text_batch(), padded(text_batch(), 3)):
        out = vae(batch)
        (out.distortion + out.rate).mean().backward()
        gradients.append([p.grad.clone() for p in vae.parameters() if p.grad is not None])
        vae.zero_grad()
    for one, other in zip(*gradients, strict=True):
        assert bool(torch.isfinite(one).all())
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_language_model_has_no_weights_for_z(name: str) -> None:
    def lines(latent: Spec) -> set[str]:
        vae = tiny_vae(
            latent=latent, decoder={k: v for k, v in DECODERS[f"{name}-softmax"].items() if k != "z_to"}
        )
        return {key for key, _ in vae.named_parameters()}

    without, given = lines({"name": "none"}), lines({"name": "gaussian", "dim": 2})
    assert {key.split(".")[0] for key in without} == {"decoder"}
    z_layers = {key for key in given - without if key.startswith("decoder")}
    assert without <= given
    assert z_layers  # a decoder with a code has some
    assert not any("z_to" in key or "first" in key or "skip" in key for key in without)


@torch.no_grad()
def test_language_model_has_rate_zero() -> None:
    vae, batch = tiny_vae(latent={"name": "none"}), text_batch()
    out = vae(batch, samples=3)
    assert out.z.shape == (3, batch.size, 0)
    assert bool((out.rate == 0).all())
    equal(out.log_weights, out.log_px_z)
    equal(out.log_px_z[1], out.log_px_z[0])


@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_one_token_for_start_and_end(name: str) -> None:
    """GPT-2's tokenizers start and end with the same token: sentences must still be able to end."""
    special = SpecialIds(pad=0, unk=1, bos=2, eos=2)
    spec = DECODERS[f"{name}-softmax"]
    config = parse_config({"encoder": ENCODERS[name], "decoder": spec})
    vae = build_vae(config, {"vocab_size": 7, "special": special})
    batch = batch_from_ids([[4, 5], []], special)
    assert bool(torch.isfinite(vae.eval()(batch).log_px_z).all())


def test_pooling_by_hand() -> None:
    states = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [torch.nan, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    assert POOLINGS["last"](states, mask).tolist() == [[3.0, -2.0]]
    assert POOLINGS["mean"](states, mask).tolist() == [[2.0, -3.0]]
    assert POOLINGS["max"](states, mask).tolist() == [[3.0, -2.0]]


@torch.no_grad()
def test_both_directions_read_the_whole_sentence_at_the_end() -> None:
    """The backward half of `last` is what a recurrence over the reversed sentence ends with."""
    made, batch = encoder(READERS["gru-last-both-1"]), text_batch([[4, 5, 6]])
    forward = made(batch)[:, :6]
    flipped = made(batch.replace(source=batch.source.flip(1)))
    swapped = encoder(READERS["gru-last-both-1"])
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        there, back = f"{part}_l0", f"{part}_l0_reverse"
        getattr(swapped.rnn, there).copy_(getattr(made.rnn, back))
        getattr(swapped.rnn, back).copy_(getattr(made.rnn, there))
    turned = swapped(batch.replace(source=batch.source.flip(1)))
    equal(turned[:, 6:], forward)
    assert float((flipped[:, :6] - forward).abs().max()) > 1e-3  # order matters


def rotated(x: Tensor, start: int) -> Tensor:
    """X (N, A, T, C), whose first word is number `start`."""
    return Rotation.of(torch.arange(start, start + x.shape[-2]), x.shape[-1], x.dtype).apply(x)


def test_rotation_keeps_lengths_and_reads_distances_only() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8).expand(-1, -1, -1, 5, -1).double()
    scores = rotated(q, 0)[0, 0] @ rotated(k, 0)[0, 0].T
    later = rotated(q, 11)[0, 0] @ rotated(k, 11)[0, 0].T
    torch.testing.assert_close(later, scores, atol=1e-5, rtol=0)
    for apart in range(-4, 5):
        line = scores.diagonal(apart)
        torch.testing.assert_close(line, line[:1].expand_as(line), atol=1e-5, rtol=0)
    torch.testing.assert_close(rotated(q, 7).norm(dim=-1), q.norm(dim=-1), atol=1e-5, rtol=0)
    assert torch.equal(rotated(q, 0)[..., 0, :], q[..., 0, :])  # nothing turns at place 0
    torch.testing.assert_close(rotated(q, 3)[..., 1, :], rotated(q, 4)[..., 0, :])


@torch.no_grad()
def test_a_transformer_without_positions_would_fail_this() -> None:
    made = encoder(READERS["transformer-mean"])
    one, other = made(text_batch([[4, 5, 6]])), made(text_batch([[6, 5, 4]]))
    assert float((one - other).abs().max()) > 1e-4


def test_dropout_works_in_training_alone() -> None:
    spec = {"dropout": 0.5}
    for name in PLAIN:
        vae: VAE = tiny_vae(ENCODERS[name] | spec, decoder=DECODERS[f"{name}-softmax"] | spec)
        batch = text_batch()
        with torch.no_grad():
            assert torch.equal(vae(batch).log_px_z, vae(batch).log_px_z)
            vae.train()
            assert not torch.equal(vae.posterior(batch).mean, vae.posterior(batch).mean)
            q = vae.posterior(batch)
            assert not torch.equal(vae(batch, q=q).log_px_z, vae(batch, q=q).log_px_z)


@pytest.mark.parametrize(("width", "heads"), [(8, 3), (6, 2), (10, 10)])
def test_width_must_divide_into_heads(width: int, heads: int) -> None:
    message = f"encoder 'transformer': width {width} does not divide into {heads} heads of even size"
    with pytest.raises(UserError, match=message):
        tiny_vae(encoder={"name": "transformer", "width": width, "heads": heads})


def test_sentences_of_the_tests_have_several_lengths() -> None:
    assert len({len(s) for s in SENTENCES}) > 3
    assert text_batch().size == len(Z)
