"""A pretrained decoder equals its language model: exactly without z, and in every way of reading."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tiny_backbones import TEXTS, lm_folder
from tiny_text import untruncated
from torch import Tensor

from seqvae.data.text.batch import SpecialIds
from seqvae.data.text.batching import batch_from_ids
from seqvae.data.text.tokenizer import TextTokenizer
from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.pretrained.backbone import LoRA
from seqvae.models.pretrained.base import library
from seqvae.models.pretrained.decoder import PretrainedDecoder
from seqvae.models.pretrained.tokens import read_pretrained_tokenizer
from seqvae.models.text.decoding import generate_tokens

KINDS = ("llama", "qwen2", "gpt2")
PLACES = (("slots",), ("prefix",), ("softmax",), ("slots", "prefix", "softmax"))
DIM = 3
every_kind = pytest.mark.parametrize("kind", KINDS)
every_place = pytest.mark.parametrize("z_to", PLACES, ids=["+".join(p) for p in PLACES])


def tokenizer(kind: str = "llama") -> TextTokenizer:
    return read_pretrained_tokenizer(lm_folder(kind))


def decoder(
    kind: str = "llama",
    z_to: tuple[str, ...] = ("slots", "softmax"),
    dim: int = DIM,
    std: float = 0.5,
    **more: object,
) -> PretrainedDecoder:
    """In evaluation mode, with bridges so strong that z counts."""
    torch.manual_seed(0)
    words = tokenizer(kind)
    made = PretrainedDecoder(words.vocab_size, words.special, dim, lm_folder(kind), z_to=z_to, **more)  # type: ignore[arg-type]
    for bridge in (made.z_to_slots, made.z_to_prefix, made.z_to_softmax):
        if bridge is not None:
            torch.nn.init.normal_(bridge.weight, std=std)
    return made.eval()


def batch(kind: str = "llama", texts: list[str] = TEXTS):  # type: ignore[no-untyped-def]
    words = tokenizer(kind)
    return batch_from_ids(words.encode_batch(texts), words.special)


@every_kind
def test_without_z_it_is_the_plain_model(kind: str) -> None:
    """z_to softmax starts at zero: log p is the model's own over all words that can be said."""
    made, x = decoder(kind, ("softmax",), std=0.0), batch(kind)
    lm = library().AutoModelForCausalLM.from_pretrained(lm_folder(kind)).eval()
    with torch.no_grad():
        logits = lm(input_ids=x.inputs).logits + made.head.forbidden
        known = torch.log_softmax(logits, -1).gather(-1, x.targets[..., None])[..., 0]
        got = made(torch.zeros(1, x.size, DIM)).token_log_probs(x)[0]
    assert torch.allclose(got[x.mask], known[x.mask], atol=1e-4)
    assert made.head.forbidden.isinf().sum() == 1  # padding alone: the start is the end, too


@every_kind
def test_slots_start_as_a_prompt_that_was_read(kind: str) -> None:
    made, x = decoder(kind, ("slots",), std=0.0, prompt="abcd"), batch(kind)
    lm = library().AutoModelForCausalLM.from_pretrained(lm_folder(kind)).eval()
    prompt = torch.tensor(tokenizer(kind).encode("abcd")).expand(x.size, -1)
    with torch.no_grad():
        logits = lm(input_ids=torch.cat([prompt, x.inputs], 1)).logits[:, 4:] + made.head.forbidden
        known = torch.log_softmax(logits, -1).gather(-1, x.targets[..., None])[..., 0]
        got = made(torch.randn(1, x.size, DIM)).token_log_probs(x)[0]
        prefixed = decoder(kind, ("prefix",), std=0.0, prompt="abcd")(torch.randn(1, x.size, DIM))
    assert torch.allclose(got[x.mask], known[x.mask], atol=1e-3)
    assert torch.allclose(prefixed.token_log_probs(x)[0][x.mask], known[x.mask], atol=1e-3)


@every_kind
@every_place
def test_teacher_forcing_equals_step_by_step(kind: str, z_to: tuple[str, ...]) -> None:
    made, x, z = decoder(kind, z_to), batch(kind), torch.randn(4, DIM)
    with torch.no_grad():
        whole, _ = made.read(x.inputs, made.start(z))
        state, steps = made.start(z), []
        for t in range(x.inputs.shape[1]):
            features, state = made.read(x.inputs[:, t : t + 1], state)
            steps.append(features)
    assert torch.allclose(whole[x.mask], torch.cat(steps, 1)[x.mask], atol=1e-4)


@every_place
def test_a_state_can_be_read_twice(z_to: tuple[str, ...]) -> None:
    made, x = decoder(z_to=z_to), batch()
    with torch.no_grad():
        state = made.start(torch.randn(4, DIM))
        first, again = made.read(x.inputs, state)[0], made.read(x.inputs, state)[0]
    assert torch.equal(first, again)


@every_kind
@every_place
def test_padded_batch_equals_single_sentences(kind: str, z_to: tuple[str, ...]) -> None:
    made, z = decoder(kind, z_to), torch.randn(1, 4, DIM)
    with torch.no_grad():
        together = made(z).log_prob(batch(kind))[0]
        single = [made(z[:, [i]]).log_prob(batch(kind, [text]))[0, 0] for i, text in enumerate(TEXTS)]
    assert torch.allclose(together, torch.stack(single), atol=1e-3)


@every_kind
@every_place
def test_greedy_equals_teacher_forced_argmax(kind: str, z_to: tuple[str, ...]) -> None:
    made, z = decoder(kind, z_to), torch.randn(6, DIM)
    noise = KeyedNoise(0, 0, torch.arange(6))
    written = generate_tokens(made, made.start(z), 6, untruncated(greedy=True, max_length=12), noise)
    x = batch_from_ids(written, made.special)
    with torch.no_grad():
        best = made.head.argmax(made.read(x.inputs, made.start(z))[0])
    assert all(best[i, : len(row)].tolist() == row for i, row in enumerate(written))
    assert len({tuple(row) for row in written}) > 1  # z has a say


@every_kind
@every_place
@pytest.mark.parametrize("cached", [True, False])
def test_fixed_memory_gives_the_same_features(kind: str, z_to: tuple[str, ...], cached: bool) -> None:
    """Keys and values, or embeddings, written in place; rows chosen in between; a state taken over."""
    made, x, z = decoder(kind, z_to), batch(kind), torch.randn(4, DIM)
    if not cached and "slots" in z_to:
        pytest.skip("slots are keys and values")
    made.has_cache = cached
    rows = torch.tensor([3, 0, 0])
    with torch.no_grad():
        grown, fixed = made.start(z), made.start(z).allocate(x.inputs.shape[1])
        for t in range(x.inputs.shape[1]):
            words = x.inputs[:, t : t + 1] if t < 5 else x.inputs[rows, t : t + 1]
            if t == 5:
                grown, fixed = grown.select(rows), fixed.select(rows)
                again = made.start(z[rows]).allocate(x.inputs.shape[1])
                again.copy_from(fixed)
                fixed = again
            one, grown = made.read(words, grown)
            other, fixed = made.read(words, fixed)
            assert torch.allclose(one, other, atol=1e-4)


@every_place
@pytest.mark.parametrize(
    "how", [{"greedy": True}, {"top_p": 0.9}, {"beam": 3}], ids=["greedy", "sampled", "beam"]
)
def test_steps_on_fixed_memory_write_the_same(z_to: tuple[str, ...], how: dict[str, object]) -> None:
    made, z = decoder(z_to=z_to), torch.randn(6, DIM)
    noise = KeyedNoise(0, 0, torch.arange(6))
    chosen = untruncated(max_length=12, **how)  # type: ignore[arg-type]
    plain, stepped = (generate_tokens(made, made.start(z), 6, chosen, noise, interval) for interval in (0, 4))
    assert plain == stepped


@every_place
def test_codes_have_gradients_and_a_say(z_to: tuple[str, ...]) -> None:
    made, x, z = decoder(z_to=z_to), batch(), torch.randn(1, 4, DIM, requires_grad=True)
    log_p = made(z).log_prob(x)
    (gradient,) = torch.autograd.grad(log_p.sum(), z)
    assert bool((gradient.norm(dim=-1) > 1e-3).all())
    assert bool(((made(z.flip(1)).log_prob(x) - log_p).abs() > 1e-3).all())


def test_samples_are_rows_of_their_own() -> None:
    made, x, z = decoder(), batch(), torch.randn(3, 4, DIM)
    with torch.no_grad():
        together = made(z).log_prob(x)
        single = torch.cat([made(z[[s]]).log_prob(x) for s in range(3)])
    assert torch.allclose(together, single, atol=1e-3)


def sayable(made: PretrainedDecoder, ids: list[int]) -> None:
    """Let a decoder say these words and the end alone."""
    made.head.forbidden.fill_(-torch.inf)
    made.head.forbidden[[*ids, made.special.eos]] = 0.0


def test_wide_beam_finds_the_global_optimum() -> None:
    made, z = decoder(std=1.0), torch.randn(5, DIM)
    ids = tokenizer().encode("abc")
    sayable(made, ids)
    longest = 3
    every = [list(s) for n in range(longest + 1) for s in itertools.product(ids, repeat=n)]
    found = generate_tokens(
        made,
        made.start(z),
        5,
        untruncated(beam=40, max_length=longest),
        KeyedNoise(0, 0, torch.arange(5)),
    )
    x = batch_from_ids(every, made.special)
    for i, row in enumerate(found):
        with torch.no_grad():
            log_p = made(z[i].expand(1, len(every), DIM)).log_prob(x)[0]
        assert row == every[int(log_p.argmax())]


def test_sampling_follows_the_distribution() -> None:
    """Frequencies of sampled sentences against their probabilities, chi-square over all short ones."""
    made, n = decoder(std=1.0), 4000
    ids = tokenizer().encode("ab")
    sayable(made, ids)
    z = torch.randn(1, DIM).expand(n, -1)
    written = generate_tokens(
        made, made.start(z), n, untruncated(max_length=2), KeyedNoise(3, 0, torch.arange(n))
    )
    whole = [list(s) for k in (0, 1) for s in itertools.product(ids, repeat=k)]
    x = batch_from_ids(whole, made.special)
    with torch.no_grad():
        p = made(z[:1].expand(1, len(whole), DIM)).log_prob(x)[0].exp()
    counts = torch.tensor([float(sum(row == s for row in written)) for s in whole])
    spread = (p * (1 - p) / n).sqrt()
    assert bool(((counts / n - p).abs() < 4 * spread + 1e-9).all())


@pytest.mark.parametrize("train", ["frozen", "lora", "full"])
def test_what_trains_is_what_is_saved(train: str) -> None:
    made = decoder(train=train, lora=LoRA(r=2))
    saved, trains = made.state_dict(), {n for n, p in made.named_parameters() if p.requires_grad}
    base = {n for n in saved if n.startswith("backbone.")}
    assert {n for n in saved if not n.startswith(("backbone.", "head."))} <= trains
    if train == "frozen":
        assert not base
        assert not any(n.startswith("head.") for n in saved)
    if train == "lora":
        assert base
        assert all("lora_" in n for n in base)
    if train == "full":
        assert "head.weight" in saved
        assert any("layers.0" in n for n in base)


@pytest.mark.parametrize("train", ["frozen", "lora", "full"])
def test_loads_what_it_saved(train: str) -> None:
    made = decoder(train=train, lora=LoRA(r=2))
    for name, p in made.named_parameters():
        if p.requires_grad and "lora_B" in name:
            torch.nn.init.normal_(p, std=0.1)  # zero at first
    torch.manual_seed(5)
    other = decoder(train=train, lora=LoRA(r=2), std=0.1)
    other.load_state_dict(made.state_dict(), strict=True)
    x, z = batch(), torch.randn(1, 4, DIM)
    with torch.no_grad():
        assert torch.equal(made(z).log_prob(x), other(z).log_prob(x))
    assert made.state_dict().keys() == other.state_dict().keys()


def test_a_frozen_model_stays_in_evaluation_mode() -> None:
    frozen, trained = decoder("gpt2").train(), decoder("gpt2", train="lora").train()
    assert not frozen.backbone.network.training
    assert trained.backbone.network.training


def test_frozen_weights_get_no_gradient() -> None:
    made = decoder().train()
    (-made(torch.randn(1, 4, DIM)).log_prob(batch()).sum()).backward()
    assert all(p.grad is None for p in made.backbone.parameters())
    assert made.head.weight.grad is None
    assert made.z_to_slots is not None
    assert float(made.z_to_slots.weight.grad.abs().sum()) > 0  # type: ignore[union-attr]


def test_without_a_code_the_same_parts_train() -> None:
    """`latent: none`: the slots' and the softmax's biases are all that is left of them."""
    made = decoder(dim=0)
    names = {n for n, p in made.named_parameters() if p.requires_grad and p.numel()}
    assert names == {"blank", "z_to_slots.bias", "z_to_softmax.bias"}
    assert made(torch.zeros(1, 4, 0)).log_prob(batch()).isfinite().all()


@every_place
def test_conditions_have_no_effect_at_first_and_then_one(z_to: tuple[str, ...]) -> None:
    made, z = decoder(z_to=z_to, condition=2, std=0.0), torch.zeros(1, 4, DIM)
    one, two = torch.zeros(4, 2), torch.ones(4, 2)
    with torch.no_grad():
        assert torch.equal(made(z, one).log_prob(batch()), made(z, two).log_prob(batch()))
        for bridge in (made.z_to_slots, made.z_to_prefix, made.z_to_softmax):
            if bridge is not None:
                bridge.weight[:, DIM:] = torch.randn(len(bridge.weight), 2)
        assert not torch.allclose(made(z, one).log_prob(batch()), made(z, two).log_prob(batch()))


def test_a_dropped_word_is_the_learned_blank() -> None:
    made, x = decoder(), batch()
    inputs = x.inputs.clone()
    inputs[:, 2] = made.special.unk
    log_p = made(torch.randn(1, 4, DIM)).log_prob(x.replace(inputs=inputs))
    (gradient,) = torch.autograd.grad(log_p.sum(), made.blank)
    assert float(gradient.norm()) > 0
    assert made.special.unk not in x.targets


def test_ids_without_a_token_are_never_generated() -> None:
    folder = lm_folder("llama", extra_rows=5)
    words = read_pretrained_tokenizer(folder)
    made = PretrainedDecoder(words.vocab_size, words.special, DIM, folder).eval()
    assert len(made.head.weight) == words.vocab_size + 5
    assert bool(made.head.forbidden[-5:].isinf().all())


def test_checkpointing_changes_no_gradient() -> None:
    plain = decoder(z_to=("prefix",), train="lora").train()
    saving = decoder(z_to=("prefix",), train="lora", checkpointing=True).train()
    assert saving.backbone.network.is_activation_checkpointing
    z, x = torch.randn(1, 4, DIM), batch()
    found = []
    for made in (plain, saving):
        (-made(z).log_prob(x).sum()).backward()
        assert made.z_to_prefix is not None
        found.append(made.z_to_prefix.weight.grad)
    assert torch.allclose(found[0], found[1], atol=1e-4)  # type: ignore[arg-type]


def test_gradients_are_those_of_finite_differences() -> None:
    made, x = decoder("gpt2").double(), batch("gpt2", TEXTS[:2])  # llama computes some parts in fp32
    z = torch.randn(1, 2, DIM, dtype=torch.float64)

    def nll(codes: Tensor) -> Tensor:
        features, _ = made.read(x.inputs, made.start(codes[0]))
        log_p = torch.log_softmax(made.head.weight @ features.mT + made.head.forbidden[:, None], 1)
        return -log_p.gather(1, x.targets[:, None])[:, 0].masked_fill(~x.mask, 0.0).sum()

    assert torch.autograd.gradcheck(nll, z.requires_grad_(), atol=1e-4)


MISTAKES = {
    "no model": ({"model": "nowhere/at-all.gguf"}, "give a Hub id"),
    "no layer of that name": ({"train": "lora", "lora": LoRA(targets=("nope",))}, "known: .*q_proj"),
    "checkpointing with slots": ({"train": "lora", "checkpointing": True}, "slots"),
    "checkpointing nothing": ({"checkpointing": True, "z_to": ("prefix",)}, "nothing of the model trains"),
    "an empty prompt": ({"prompt": ""}, "at least one word"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case: str) -> None:
    arguments, message = MISTAKES[case]
    words = tokenizer()
    with pytest.raises(UserError, match=message) as told:
        PretrainedDecoder(**{"vocab_size": words.vocab_size, "special": words.special, "latent_dim": 2,
                             "model": lm_folder(), **arguments})  # type: ignore[arg-type]  # fmt: skip
    assert "\n" not in str(told.value)


def test_more_words_than_the_model_are_refused() -> None:
    with pytest.raises(UserError, match=r"tokenizer=.name: pretrained"):
        PretrainedDecoder(10_000, SpecialIds(2, 1, 0, 0), 2, lm_folder())


def test_too_long_a_text_is_refused() -> None:
    made = decoder()
    with pytest.raises(UserError, match="97 places are more than the model's 96"):
        made.read(torch.zeros(1, 93, dtype=torch.long), made.start(torch.zeros(1, DIM)))


def test_bf16_autocast_is_near() -> None:
    made, x, z = decoder(std=0.1), batch(), torch.randn(1, 4, DIM)
    with torch.no_grad():
        exact = made(z).log_prob(x)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = made(z).log_prob(x)
    assert rounded.dtype == torch.float32
    assert torch.allclose(exact, rounded, rtol=0.02)
    assert not math.isclose(float(exact.sum()), float(rounded.sum()), rel_tol=1e-7)
