"""Steps on fixed buffers write the sentences of the plain loop, and read no number on the host.

What a GPU captures is run here on the CPU; with `_asynchronous` it takes the branches of a GPU.
Shapes: N sentences, V words, D latent dims.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from host_reads import no_host_reads
from recorded_graphs import RecordedGraphs
from tiny_text import DECODERS, SPECIAL, WORDS, Spec, randomized, tiny_decoder, tiny_vae, untruncated
from torch import nn

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.sampling import make_condition, sample_prior
from seqvae.models.text import captured
from seqvae.models.text.beams import BeamSearch
from seqvae.models.text.captured import FixedStepper, Session, padded_size
from seqvae.models.text.decoding import GenerationConfig, generate_tokens
from seqvae.models.text.kernels.cells import run_one_step
from seqvae.models.text.kernels.recurrence import run_rnn
from seqvae.models.text.likelihood import DecoderState, TextDecoder
from seqvae.models.text.recurrent import GRUDecoder, LSTMDecoder
from seqvae.models.text.sampling import Sampling, filter_logits
from seqvae.models.text.transformer import TransformerDecoder
from seqvae.utils import accelerator
from seqvae.utils.accelerator import Graphs, SessionCache

N = 19  # a stage has room for 24
INDEX = torch.randperm(1000, generator=torch.Generator().manual_seed(3))[:N]
Z = 1.5 * torch.randn(N, 2, generator=torch.Generator().manual_seed(1))
HOW: dict[str, GenerationConfig] = {
    "greedy": untruncated(greedy=True, max_length=12),
    "one-word": untruncated(greedy=True, max_length=1),
    "sampled": untruncated(max_length=12),
    "filtered": untruncated(max_length=17, temperature=1.4, top_k=4, top_p=0.9),
    "beam": untruncated(beam=3, max_length=12),
    "more-beams-than-sentences": untruncated(beam=40, max_length=3),
}
PLAIN = {
    name: DECODERS[name]
    for name in ("gru-tied-2", "lstm-tied-2", "transformer-slots+norms+embeddings+softmax")
}
writers = pytest.mark.parametrize("spec", DECODERS.values(), ids=DECODERS.keys())
plain = pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN.keys())
hows = pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())


@pytest.fixture
def _asynchronous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "ASYNCHRONOUS", ("cpu", "cuda"))


def decoder(spec: Spec, end: float = 1.0, dim: int = 2) -> TextDecoder:
    """One that ends sentences at different places."""
    made = tiny_decoder(spec, dim, std=0.8)
    with torch.no_grad():
        made.head.bias[SPECIAL.eos] += end
    return made


def written(
    made: TextDecoder, how: GenerationConfig, interval: int, state: DecoderState | None = None
) -> list[list[int]]:
    state = made.start(Z) if state is None else state
    return generate_tokens(made, state, N, how, KeyedNoise(5, 0, INDEX), interval)


@writers
@hows
@pytest.mark.parametrize("interval", [1, 3, 16])
@torch.no_grad()
def test_the_same_sentences(spec: Spec, how: GenerationConfig, interval: int) -> None:
    lengths = set()
    for end in (-2.0, 1.0, 3.0):
        made = decoder(spec, end)
        wanted = written(made, how, 0)
        assert written(made, how, interval) == wanted
        lengths |= {len(ids) for ids in wanted}
    assert how.greedy or how.beam or len(lengths) > 1


@plain
@hows
@pytest.mark.usefixtures("_asynchronous")
@torch.no_grad()
def test_the_same_sentences_by_the_kernels_of_a_gpu(
    spec: Spec, how: GenerationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = decoder(spec)
    found = generate_tokens(made, made.start(Z), N, how, KeyedNoise(5, 0, INDEX))  # at its own interval
    monkeypatch.setattr(accelerator, "ASYNCHRONOUS", ())
    assert found == written(made, how, 0)


@plain
@hows
@pytest.mark.usefixtures("_asynchronous")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.no_grad()
def test_replays_of_recorded_steps(
    spec: Spec, how: GenerationConfig, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is nothing but operations on buffers: they write other sentences later, by other weights too."""
    monkeypatch.setattr(captured, "SMALLEST", 2)
    made, low = decoder(spec, end=2.0), precision == "bf16"
    kept = copy.deepcopy(made)
    for factor, rows, seed in ((1.0, 19, 5), (-0.8, 23, 6), (1.0, 20, 7)):  # 24 rows each
        for mine, own in zip(made.parameters(), kept.parameters(), strict=True):
            mine.copy_(own * factor)
        z, random = Z.repeat(2, 1)[:rows] * factor, KeyedNoise(seed, 0, torch.arange(rows))
        with monkeypatch.context() as recording, torch.autocast("cpu", torch.bfloat16, enabled=low):
            recording.setattr(captured, "Graphs", RecordedGraphs)
            found = generate_tokens(made, made.start(z), rows, how, random, interval=2)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            fresh = copy.deepcopy(made)
            assert found == generate_tokens(fresh, fresh.start(z), rows, how, random, interval=2)
    assert len(made.sessions.sessions) == 1


@pytest.mark.parametrize("name", ["gru", "lstm", "transformer"])
@hows
@torch.no_grad()
def test_a_language_model(name: str, how: GenerationConfig) -> None:
    spec = {key: value for key, value in DECODERS[f"{name}-softmax"].items() if key != "z_to"}
    made = decoder(spec, dim=0)
    state = made.start(torch.zeros(N, 0))
    assert written(made, how, 3, state) == written(made, how, 0, state)


@pytest.mark.parametrize(
    "make",
    [
        partial(GRUDecoder, embed=5, hidden=6, z_to=("state", "steps", "softmax")),
        partial(LSTMDecoder, embed=5, hidden=6, z_to=("state", "steps", "softmax")),
        partial(TransformerDecoder, width=8, heads=2, z_to=("slots", "norms", "softmax")),
    ],
    ids=["gru", "lstm", "transformer"],
)
@hows
@torch.no_grad()
def test_a_condition(make: Callable[..., TextDecoder], how: GenerationConfig) -> None:
    made = randomized(make(WORDS, SPECIAL, 2, condition=2), 0.8)
    condition = torch.linspace(-1, 1, 2 * N).view(N, 2)
    wanted = written(made, how, 0, made.start(Z, condition))
    assert written(made, how, 3, made.start(Z, condition)) == wanted
    assert how.max_length == 1 or written(made, how, 3, made.start(Z, -condition)) != wanted


@hows
@torch.no_grad()
def test_a_range_of_rates(how: GenerationConfig) -> None:
    vae = tiny_vae(latent={"name": "exact_rate", "dim": 2, "nats": [2, 8]}, std=0.8)
    rates = torch.linspace(2, 8, N).tolist()
    c = make_condition(vae, N, rates)
    likelihood: Any = vae.likelihood(2 * sample_prior(vae, N, 0, c=c)[None], c)
    made = vae.decoder
    assert written(made, how, 3, likelihood.start()) == written(made, how, 0, likelihood.start())


@plain
@torch.no_grad()
def test_words_are_drawn_with_the_noise_they_always_had(spec: Spec) -> None:
    """Word number t is drawn by the stream "word t" of its sentence, from all words before it at once."""
    made, how = decoder(spec), HOW["filtered"]
    wanted = []
    for z, number in zip(Z, INDEX, strict=True):
        words: list[int] = []
        while len(words) < how.max_length:
            features, _ = made.read(torch.tensor([[SPECIAL.bos, *words]]), made.start(z[None]))
            p = filter_logits(made.head(features[:, -1]) / 1.4, 4, 0.9).softmax(-1)[0].double()
            chance = KeyedNoise(5, 0, number[None]).uniform(f"word {len(words)}", 1)[0, 0].double()
            word = int((p.cumsum(0) <= chance * p.sum()).sum())
            if word == SPECIAL.eos:
                break
            words.append(word)
        wanted.append(words)
    for interval in (0, 3):
        assert written(made, how, interval) == wanted


@plain
@torch.no_grad()
def test_padding_order_and_other_sentences_change_nothing(spec: Spec) -> None:
    made = decoder(spec)
    for how in (HOW["filtered"], HOW["beam"]):
        whole = written(made, how, 3)
        for rows in (torch.arange(N).flip(0), torch.tensor([4]), torch.tensor([7, 2, 11, 3])):
            found = generate_tokens(
                made, made.start(Z[rows]), len(rows), how, KeyedNoise(5, 0, INDEX[rows]), 3
            )
            assert found == [whole[i] for i in rows.tolist()]


def test_nothing_to_write() -> None:
    made = decoder(DECODERS["gru-state"])
    for interval in (0, 3):
        none = torch.arange(0)
        assert (
            generate_tokens(made, made.start(Z[:0]), 0, HOW["greedy"], KeyedNoise(0, 0, none), interval) == []
        )


def session(made: TextDecoder, how: GenerationConfig) -> FixedStepper[Any]:
    """The first stage of a search on fixed buffers."""
    kind: Any = BeamSearch if how.beam else Sampling
    search = kind(made, how, captured._cast_reader(made), True)
    first = search.begin(made.start(Z), KeyedNoise(5, 0, INDEX)).compacted()
    return Session(search, torch.device("cpu")).start(first)


@writers
@hows
@pytest.mark.usefixtures("_asynchronous")
@torch.no_grad()
def test_a_step_reads_no_number(spec: Spec, how: GenerationConfig) -> None:
    stepper = session(decoder(spec), how)
    addresses = [x.data_ptr() for x in captured.tensors_in(stepper.state)]
    with no_host_reads():
        for _ in range(min(3, how.max_length)):
            stepper.step()
    assert int(stepper.state.position) == min(3, how.max_length)
    assert [x.data_ptr() for x in captured.tensors_in(stepper.state)] == addresses


def test_the_guard_sees_what_reads_a_number() -> None:
    x, place = torch.arange(6).view(2, 3), torch.tensor(1)
    for reads in (
        lambda: x.sum().item(), lambda: bool((x > 1).all()), lambda: x[x > 1], lambda: x[place],
        lambda: torch.equal(x, x), lambda: (x > 1).nonzero(), lambda: x.tolist(), lambda: x.cpu(),
    ):  # fmt: skip
        with pytest.raises(AssertionError), no_host_reads():
            reads()


@plain
@torch.no_grad()
def test_sentences_leave_in_stages(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as half the rows are enough, at a question of the host."""
    monkeypatch.setattr(captured, "SMALLEST", 2)
    sizes: list[int] = []
    step = FixedStepper.step

    def counted(stepper: FixedStepper[Any]) -> None:
        sizes.append(len(stepper.state.active))
        step(stepper)

    monkeypatch.setattr(FixedStepper, "step", counted)
    made = decoder(spec, end=4.0)
    for how in (HOW["sampled"], HOW["beam"]):
        sizes.clear()
        assert written(made, how, 2) == written(made, how, 0)
        assert sizes[0] == 24
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) > 1, how
        assert all(sizes[i] == sizes[i + 1] for i in range(0, len(sizes) - 1, 2)), "only at every other word"


def test_sizes_of_stages() -> None:
    assert [padded_size(n) for n in (1, 16, 17, 24, 25, 49, 64, 65, 256, 257)] == [
        16, 16, 24, 24, 32, 64, 64, 96, 256, 384
    ]  # fmt: skip


@plain
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.no_grad()
def test_work_is_kept_for_the_next_call_and_weights_are_read_anew(
    spec: Spec, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, made_sessions = decoder(spec), []
    init = Session.__init__
    monkeypatch.setattr(Session, "__init__", lambda *a: (made_sessions.append(1), init(*a))[1])

    def both(how: GenerationConfig) -> list[list[int]]:
        """What it writes, and a copy without work from before; bf16 rounds by the number of rows."""
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            kept, anew = (written(one, how, 3) for one in (made, copy.deepcopy(made)))
        assert kept == anew
        if precision == "fp32":
            assert kept == written(made, how, 0)
        return kept

    for how in (HOW["greedy"], HOW["sampled"], HOW["beam"]):
        first = both(how)
        for parameter in made.parameters():
            parameter.mul_(-0.9)
        made.head.forbidden[4] = -torch.inf
        second = both(how)
        assert second != first
        assert not any(4 in ids for ids in second)
        made.head.forbidden[4] = 0.0
    assert len(made_sessions) == 3 + 6, "one for each setting, and one for each copy"


@torch.no_grad()
def test_other_weights_shapes_and_settings_are_other_work() -> None:
    made = decoder(DECODERS["gru-state"])
    written(made, HOW["greedy"], 3)
    written(made, HOW["sampled"], 3)
    assert len(made.sessions.sessions) == 2
    made.head.bias = nn.Parameter(made.head.bias.flip(0))  # not in the place that was captured
    assert written(made, HOW["greedy"], 3) == written(made, HOW["greedy"], 0)
    assert len(made.sessions.sessions) == 3
    for rows in (1, 2, 3, 17):  # 16 and 24 rows
        generate_tokens(made, made.start(Z[:rows]), rows, HOW["greedy"], KeyedNoise(0, 0, INDEX[:rows]), 3)
    assert len(made.sessions.sessions) == captured.KEPT


@torch.no_grad()
def test_large_buffers_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "KEPT_BYTES", 100)
    made = decoder(DECODERS["gru-state"])
    written(made, HOW["greedy"], 3)
    assert not made.sessions.sessions


@torch.no_grad()
def test_copies_of_a_decoder_start_without_work() -> None:
    made = decoder(DECODERS["gru-state"])
    wanted = written(made, HOW["greedy"], 3)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert not other.sessions.sessions
        assert written(other, HOW["greedy"], 3) == wanted
    assert made.sessions.sessions
    assert "sessions" not in " ".join(made.state_dict())


def test_a_session_serves_one_call_at_a_time() -> None:
    cache = SessionCache()
    cache.put("a", 1, most=2)
    assert cache.take("a") == 1
    assert cache.take("a") is None
    for number, key in enumerate("abc"):
        cache.put(key, number, most=2)
    assert list(cache.sessions) == ["b", "c"]


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("always", [0, 2])
@torch.no_grad()
def test_a_step_of_cells_is_a_step_of_the_recurrence(
    cell: type[nn.GRU] | type[nn.LSTM], layers: int, always: int
) -> None:
    rnn = cell(5 + always, 6, layers, batch_first=True).eval()
    x, condition = torch.randn(4, 1, 5), torch.randn(4, always)
    state = tuple(torch.randn(layers, 4, 6) for _ in range(2 if cell is nn.LSTM else 1))
    for precision, near in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != torch.float32):
            y, last = run_one_step(rnn, x, state, condition)
            wanted, wanted_last = run_rnn(rnn, x, state, condition)
        assert y.shape == (4, 1, 6)
        for one, other in zip((y, *last), (wanted, *wanted_last), strict=True):
            torch.testing.assert_close(one.float(), other.float(), atol=near, rtol=near)


def test_a_plain_call_replaces_capture_where_it_is_impossible() -> None:
    graphs, calls = Graphs(torch.device("cpu")), []
    graphs.warm_up(lambda: calls.append("warm"))
    replay = graphs.capture(lambda: calls.append("work"))
    assert calls == ["warm"]
    replay()
    replay()
    assert calls == ["warm", "work", "work"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@plain
@hows
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.no_grad()
def test_captured_steps_write_what_plain_ones_write(
    spec: Spec, how: GenerationConfig, precision: str
) -> None:
    """On the device itself, twice, so that the second call replays what the first one captured."""
    made = decoder(spec).cuda()
    random = KeyedNoise(5, 0, INDEX.cuda())
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
        wanted = generate_tokens(made, made.start(Z.cuda()), N, how, random, interval=0)
        for _ in range(2):
            assert generate_tokens(made, made.start(Z.cuda()), N, how, random) == wanted
