"""Variable rate: one model at every rate of a range, in training, the Python API and the command line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_cli import run_cli
from tiny import SENTENCES, tiny_run, trained
from tiny_text import DECODERS, ENCODERS, SIZES, Spec, randomized, text_batch, tiny_config, tiny_vae
from torch import Tensor

from seqvae.analysis.minimum_rate import MinimumRate, ReconstructionTarget, bisect_rates, minimum_rates
from seqvae.build import build_vae
from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.data.image.batch import ImageBatch
from seqvae.errors import UserError
from seqvae.evaluation.evaluate import validate
from seqvae.inference import TextVAE
from seqvae.inference.inputs import Inputs
from seqvae.keyed_noise import KeyedNoise
from seqvae.modalities import MODALITIES
from seqvae.models.vae import VAE
from seqvae.objectives import ELBO, IWAE
from seqvae.training.loop import train
from seqvae.training.optim import make_optimizer

LOW, HIGH = 1.0, 16.0
TRAIN = {"lr": 1e-2, "weight_decay": 0.1}
A, B = SENTENCES[:2]
EVERY = [name for name in DECODERS if name.endswith(("steps+softmax", "embeddings+softmax"))]


def latent(nats: float | list[float], **more: Any) -> Spec:
    return {"name": "exact_rate", "dim": 3, "nats": nats} | more


def losses(nats: float | list[float], decoder: Spec, steps: int = 12) -> list[float]:
    config = tiny_config(latent=latent(nats), decoder=decoder, train=TRAIN)
    return losses_of(config, SIZES, lambda step: text_batch(seed=1, step=step), steps)


def losses_of(*of: Any, **more: Any) -> list[float]:
    return trained_on(*of, **more)[1]


def trained_on(
    config: RunConfig, sizes: Spec, batch: Callable[[int], Any], steps: int = 12
) -> tuple[VAE, list[float]]:
    torch.manual_seed(0)
    vae, objective, found = build_vae(config, sizes), ELBO(), []
    optimizer = make_optimizer(config.train, vae)
    for step in range(steps):
        torch.manual_seed(step)
        loss = objective(vae.train(), batch(step), step).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        found.append(float(loss.detach()))
    return vae, found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    block = f"latent={{name: exact_rate, dim: 4, nats: [{LOW}, {HIGH}]}}"
    return trained(tmp_path_factory.getbasetemp(), "tiny-dial", block)


@pytest.fixture(scope="module")
def vae(run: Path) -> TextVAE:
    """A trained one, of 4 nats by default, whose decoder depends strongly on the rate."""
    made = TextVAE.from_pretrained(run)
    made.vae.latent.rate.fill_(4.0)
    for layer in (made.vae.decoder.first, made.vae.decoder.skip):
        torch.manual_seed(3)
        torch.nn.init.normal_(layer.weight[:, -1:].detach(), std=3.0)
    return made


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TextVAE:
    return TextVAE.from_pretrained(tiny_run(tmp_path_factory))


@pytest.mark.parametrize("name", ["gru-tied-2", "transformer-tied-1", *EVERY])
def test_a_range_of_one_rate_trains_as_the_fixed_rate(name: str) -> None:
    alone, pinned = losses(6.0, DECODERS[name]), losses([6.0, 6.0], DECODERS[name])
    assert pinned == pytest.approx(alone, rel=1e-5)
    assert losses([2.0, 18.0], DECODERS[name]) != pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize("name", MODALITIES["image"].decoders)
def test_so_does_a_range_of_an_image_model(name: str) -> None:
    def of(nats: float | list[float]) -> list[float]:
        return losses_of(picture_config(name, latent(nats)), {"shape": (1, 8, 8)}, picture_batch, steps=5)

    alone = of(6.0)
    assert of([6.0, 6.0]) == pytest.approx(alone, rel=1e-5)
    assert of([2.0, 18.0]) != pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("parts", ["both", "encoder", "decoder"])
@pytest.mark.parametrize("by", ["film", "concat"])
def test_which_parts_are_conditioned_on_the_rate_and_how(parts: str, by: str) -> None:
    """Codes have the requested rate however it is read; a part without the condition ignores it."""
    spec, decoder = latent([2, 64], condition_on=parts, conditioning=by), DECODERS["gru-state+steps+softmax"]
    config = tiny_config(latent=spec, decoder=decoder, train=TRAIN)
    vae = trained_on(config, SIZES, lambda step: text_batch(seed=1, step=step))[0].eval()
    ends = [vae.latent.rate_condition(torch.full((7,), nats)) for nats in (2.0, 64.0)]
    for nats, c in zip((2.0, 64.0), ends, strict=True):
        kl = vae.posterior(text_batch().replace(condition=c)).kl.sum(-1).detach()
        torch.testing.assert_close(kl, torch.full((7,), nats), atol=1e-4, rtol=0)
    h = torch.randn(7, vae.latent.raw.in_features - (by == "concat" and parts != "decoder"))
    raw = [vae.latent._raw_features(h, c) for c in ends]
    assert torch.equal(*raw) == (parts == "decoder")
    z = torch.randn(1, 7, 3)
    log_probs = [vae.likelihood(z, c).log_prob(text_batch()) for c in ends]
    assert torch.equal(*log_probs) == (parts == "encoder")


@pytest.mark.parametrize("by", ["film", "concat"])
def test_a_range_of_one_rate_is_the_fixed_rate_for_each_conditioning(by: str) -> None:
    decoder = DECODERS["gru-state+steps+softmax"]
    found = {}
    for parts in ("both", "encoder", "decoder"):
        config = tiny_config(
            latent=latent([6.0, 6.0], condition_on=parts, conditioning=by), decoder=decoder, train=TRAIN
        )
        found[parts] = losses_of(config, SIZES, lambda step: text_batch(seed=1, step=step))
    for one in found.values():
        assert one == pytest.approx(losses(6.0, decoder), rel=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_depends_on_the_rate(name: str) -> None:
    vae, z = tiny_vae(latent=latent([2, 64]), decoder=DECODERS[name]), torch.randn(1, 7, 3)
    ends = [vae.latent.rate_condition(torch.full((7,), nats)) for nats in (2.0, 64.0)]
    low, high = (vae.likelihood(z, c).log_prob(text_batch()) for c in ends)
    assert bool((low != high).all())
    new = build_vae(tiny_config(latent=latent([2, 64]), decoder=DECODERS[name]), SIZES).eval()
    low, high = (new.likelihood(z, c).log_prob(text_batch()) for c in ends)
    torch.testing.assert_close(low, high)  # at initialisation the rate is ignored


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_pass_has_the_rates_of_the_batch(precision: str) -> None:
    vae = tiny_vae(latent=latent([2, 64]))
    nats = torch.tensor([2.0, 3, 5, 8, 13, 40, 64])
    batch = text_batch().replace(condition=vae.latent.rate_condition(nats))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"), torch.no_grad():
        for mode in (vae.train(), vae.eval()):
            torch.testing.assert_close(mode(batch).rate, nats, atol=1e-4, rtol=0)
        torch.testing.assert_close(vae(text_batch()).rate, torch.full((7,), 128**0.5), atol=1e-4, rtol=0)
    assert torch.equal(batch.to("cpu").condition, batch.condition)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("modality", "name"), [(m, n) for m, kind in MODALITIES.items() for n in kind.encoders]
)
def test_every_encoder_has_codes_of_what_is_asked_for(modality: str, name: str, precision: str) -> None:
    if modality == "text":
        made, batch = tiny_vae(ENCODERS.get(name), latent([2, 64])), text_batch()
    else:
        made = randomized(build_vae(picture_config(name, latent([2, 64])), {"shape": (1, 8, 8)}), 0.3)
        batch = picture_batch()
    nats = torch.linspace(2, 64, batch.size)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"), torch.no_grad():
        out = made(batch.replace(condition=made.latent.rate_condition(nats)))
    torch.testing.assert_close(out.rate, nats, atol=1e-4, rtol=0)


def test_training_draws_the_rates_that_posterior_and_decoder_then_share() -> None:
    vae, heard = tiny_vae(latent=latent([2, 64])).train(), []
    hook = vae.decoder.forward
    vae.decoder.forward = lambda z, c=None: (heard.append(c), hook(z, c))[1]  # type: ignore[method-assign]
    for objective in (ELBO(), IWAE(samples=3)):
        heard.clear()
        objective(vae, text_batch(seed=5, step=2), 2)
        assert len(heard) == 1
        drawn = vae.latent.rate_range.nats(heard[0])[:, 0]
        rates = vae(text_batch(seed=5, step=2)).rate
        torch.testing.assert_close(rates.double(), drawn, atol=1e-4, rtol=0)
        assert float(drawn.max() / drawn.min()) > 2


def test_batches_and_models_without_a_range_are_unchanged() -> None:
    vae = tiny_vae(latent=latent(6.0))
    assert vae.condition(text_batch()) is None
    added = {"scale", "shift", "spread", "trust", "rate"}
    assert not [name for name in vae.state_dict() if name.split(".")[-1] in added]
    assert vae.decoder.first.in_features == 3


def test_evaluation_is_that_of_the_rate_asked_for(vae: TextVAE, tmp_path: Path) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join(SENTENCES * 5) + "\n")
    for nats in (LOW, 3.0, HIGH):
        report = vae.evaluate(str(file), samples=2, rate=nats)
        assert report["rate"] == pytest.approx(nats, abs=1e-4)
    assert vae.evaluate(str(file), samples=2)["rate"] == pytest.approx(4.0, abs=1e-4)
    assert report == {**vae.with_rate(HIGH).evaluate(str(file), samples=2), "seconds": report["seconds"]}


def test_codes_have_the_rate_asked_for(vae: TextVAE) -> None:
    default = vae.encode(SENTENCES)
    torch.testing.assert_close(vae.encode(SENTENCES, rate=4.0), default)
    high = vae.encode(SENTENCES, rate=HIGH)
    assert bool((high.norm(dim=1) > default.norm(dim=1)).all())
    torch.testing.assert_close(vae.with_rate(HIGH).encode(SENTENCES), high)
    each = vae.encode([A, A, B], rate=[2.0, HIGH, HIGH])
    torch.testing.assert_close(each[1:], high[:2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(each[:1], vae.encode([A], rate=2.0), atol=1e-5, rtol=1e-5)


def test_the_decoder_is_conditioned_on_the_rate_wherever_sentences_are_written(vae: TextVAE) -> None:
    z, loud = vae.encode(SENTENCES), vae.with_rate(HIGH)
    assert vae.decode(z, rate=HIGH) == loud.decode(z) != vae.decode(z)
    assert vae.decode(z, rate=4.0) == vae.decode(z)
    both = vae.decode(z[:1].repeat(2, 1), rate=[4.0, HIGH])
    assert both == [vae.decode(z[:1])[0], loud.decode(z[:1])[0]]
    assert vae.sample(8, rate=HIGH) == loud.sample(8) != vae.sample(8)
    assert vae.reconstruct(SENTENCES, rate=HIGH) == loud.reconstruct(SENTENCES)
    assert vae.interpolate(A, B, 4, rate=HIGH) == loud.interpolate(A, B, 4) != vae.interpolate(A, B, 4)
    from_gist_to_copy = vae.reconstruct([A] * 3, rate=[LOW, 4.0, HIGH])
    assert from_gist_to_copy == [vae.reconstruct([A], rate=nats)[0] for nats in (LOW, 4.0, HIGH)]


def test_sentences_are_written_from_what_the_likelihood_reads(vae: TextVAE) -> None:
    z, trust = vae.encode(SENTENCES), vae.vae.latent.trust
    middle = vae.vae.latent.rate_range.geometric_mean
    known = vae.decode(z * (HIGH / middle) ** 3, rate=HIGH)
    with torch.no_grad():
        trust.add_(3.0)  # z counts with the third power of its rate
        written = vae.decode(z, rate=HIGH)
        trust.sub_(3.0)
    assert written == known != vae.decode(z, rate=HIGH)


def test_a_chosen_rate_leaves_the_model_alone(vae: TextVAE) -> None:
    before = {name: value.clone() for name, value in vae.vae.state_dict().items()}
    loud = vae.with_rate(HIGH)
    assert float(loud.vae.latent.rate) == HIGH
    assert all(torch.equal(before[name], value) for name, value in vae.vae.state_dict().items())
    assert loud.vae.decoder is vae.vae.decoder
    assert not loud.vae.training


def test_what_is_refused(vae: TextVAE, plain: TextVAE) -> None:
    out = r"^rate got 20 nats: this run was trained for 1 to 16$"
    none = r"^this run is not variable-rate: a rate can be chosen where the latent is exact_rate"
    for face, message in ((vae, out), (plain, none)):
        z = face.encode([A])
        for call in (
            lambda face=face: face.encode([A], rate=20.0),
            lambda face=face, z=z: face.decode(z, rate=20.0),
            lambda face=face: face.sample(2, rate=20.0),
            lambda face=face: face.reconstruct([A], rate=20.0),
            lambda face=face: face.interpolate(A, B, rate=20.0),
            lambda face=face: face.evaluate(rate=20.0),
        ):
            with pytest.raises(UserError, match=message):
                call()
    with pytest.raises(UserError, match="rate got 2 values for 3 examples: give one, or one for each"):
        vae.encode([A, A, B], rate=[2.0, 3.0])


def test_bisection_finds_planted_needs() -> None:
    planted = torch.tensor([0.5, 2.0, 2.01, 3.7, 11.0, 50.0, 63.9, 64.0, 65.0, 1000.0], dtype=torch.double)
    calls: list[int] = []

    def comes_back(rows: Tensor, nats: Tensor) -> Tensor:
        calls.append(len(rows))
        assert bool(((nats >= 2) & (nats <= 64)).all())
        return nats >= planted[rows]

    least = bisect_rates(comes_back, len(planted), 2.0, 64.0, rounds=8)
    assert least[:2].tolist() == [2.0, 2.0]
    assert least[8:].tolist() == [math.inf, math.inf]
    share = least[2:8] / planted[2:8]
    assert bool(((share >= 1) & (share <= 32 ** (1 / 2**8))).all())
    assert calls == [10, 8] + [6] * 8, "all sentences in each call"
    assert bisect_rates(lambda rows, nats: nats > 100, 3, 2.0, 64.0).tolist() == [math.inf] * 3
    assert bisect_rates(comes_back, 0, 2.0, 64.0).tolist() == []


class Planted:
    """Reconstructs as many words of a sentence as it has nats; with drawn codes one word less."""

    vae = SimpleNamespace(latent=SimpleNamespace(condition=1, rate_range=SimpleNamespace(low=2.0, high=10.0)))
    tokenizer = SimpleNamespace(encode_batch=lambda texts: [[len(w) for w in t.split()] for t in texts])
    references = staticmethod(tokenizer.encode_batch)
    greedy_untruncated = staticmethod(lambda: None)

    def reconstruct(
        self, texts: list[str], rate: list[float], condition: None, sample: bool = False, **_: Any
    ) -> Any:
        """As many words as nats."""
        lengths = [int(nats) - sample for nats in rate]
        back = [" ".join(text.split()[:n]) for text, n in zip(texts, lengths, strict=True)]
        return [SimpleNamespace(text=a, reconstruction=b) for a, b in zip(texts, back, strict=True)]


def test_needs_of_sentences() -> None:
    texts = ["a bb ccc dddd eeeee", "a", " ".join(["word"] * 12), "a bb ccc"]
    fake: Any = Planted()
    found = minimum_rates(fake, Inputs(texts), ReconstructionTarget(rounds=12))
    assert [need.nats for need in found] == [
        pytest.approx(5, rel=1e-3), 2.0, None, pytest.approx(3, rel=1e-3)
    ]  # fmt: skip
    assert found[2] == MinimumRate(texts[2], None, " ".join(["word"] * 10))
    half = minimum_rates(fake, Inputs(texts), ReconstructionTarget(accuracy=0.5, rounds=12))
    assert [need.nats for need in half][::2] == [pytest.approx(3, rel=1e-3), pytest.approx(7, rel=1e-3)]
    drawn = minimum_rates(fake, Inputs(texts), ReconstructionTarget(draws=3, rounds=12))
    assert drawn[0].nats == pytest.approx(6, rel=1e-3)
    for accuracy in (0.0, 1.1):
        with pytest.raises(UserError, match=r"accuracy got .*: give a fraction of the tokens in"):
            ReconstructionTarget(accuracy=accuracy)


def test_needs_of_a_run(vae: TextVAE, plain: TextVAE) -> None:
    found = minimum_rates(vae, Inputs(SENTENCES), ReconstructionTarget(accuracy=0.3, rounds=3))
    assert [need.text for need in found] == [pair.text for pair in vae.reconstruct(SENTENCES)]
    assert all(need.nats is None or LOW <= need.nats <= HIGH for need in found)
    with pytest.raises(UserError, match="this run is not variable-rate"):
        minimum_rates(plain, Inputs(SENTENCES))


def test_commands_take_a_rate(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, z = tmp_path / "in.txt", tmp_path / "z.npy"
    file.write_text("\n".join(SENTENCES * 3) + "\n")
    verbs: list[tuple[object, ...]] = [
        ("sample", run, "-n", 2),
        ("reconstruct", run, A),
        ("interpolate", run, A, B),
        ("encode", run, "--input", file, "--output", z),
        ("decode", run, "--input", z),
        ("evaluate", run, "--data", file, "--samples", 1, "--json"),
    ]
    for verb in verbs:
        code, out, err = run_cli(capsys, *verb, "--rate", 9)
        assert code == 0, err
    assert json.loads(out)["rate"] == pytest.approx(9, abs=1e-4)
    verbs[3] = (*verbs[3][:-1], tmp_path / "other.npy")
    for verb in verbs:
        code, out, err = run_cli(capsys, *verb, "--rate", 17)
        assert (code, out) == (2, "")
        assert err.endswith("seqvae: rate got 17 nats: this run was trained for 1 to 16\n")


def test_the_command_of_minimum_rates(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_cli(capsys, "rate", run, *SENTENCES, "--accuracy", 0.2, "--rounds", 3, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert len(found) == 4
    assert all(row.keys() == {"text", "nats", "reconstruction"} for row in found)
    order = [math.inf if row["nats"] is None else row["nats"] for row in found]
    assert order == sorted(order)
    code, out, _ = run_cli(capsys, "rate", run, *SENTENCES, "--rounds", 1)
    assert out.splitlines()[0].split() == ["nats", "sentence"]
    assert len(out.splitlines()) == 6
    assert out.splitlines()[-1].startswith("> 16"), "a barely trained run cannot reconstruct them"


def test_a_run_without_a_range_is_refused(plain: TextVAE, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (("sample", plain.run.path, "--rate", 3), ("rate", plain.run.path, A)):
        code, out, err = run_cli(capsys, *verb)
        assert (code, out) == (2, "")
        assert "this run is not variable-rate" in err


def test_evaluation_uses_the_default_rate() -> None:
    vae: VAE = tiny_vae(latent=latent([2, 8]))
    report = validate(vae, [text_batch()])
    assert report["rate"] == pytest.approx(4.0, abs=1e-4)


@pytest.mark.parametrize("prior", ["vamp", "mixture", "flow"])
def test_it_goes_with_every_prior(prior: str) -> None:
    vae = tiny_vae(latent=latent([2, 8], dim=4, prior={"name": prior})).train()
    loss = ELBO()(vae, text_batch(seed=1), 0)
    loss.total.backward()
    assert math.isfinite(float(loss.total.detach()))


def picture_config(name: str, of: Spec) -> RunConfig:
    parts = {"encoder": {"name": name}, "decoder": {"name": name}, "latent": of}
    return parse_config({"modality": "image", "train": TRAIN, **parts})


def picture_batch(step: int = 0) -> ImageBatch:
    pixels, index = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(step)), torch.arange(4)
    return ImageBatch(pixels, pixels, index, torch.zeros(4, 0), KeyedNoise(0, step, index))


@pytest.mark.parametrize("name", MODALITIES["image"].decoders)
def test_image_models_have_a_range_too(name: str) -> None:
    vae = randomized(build_vae(picture_config(name, latent([2, 64])), {"shape": (1, 8, 8)}), 0.3).train()
    batch = picture_batch()
    nats = torch.tensor([2.0, 10.0, 30.0, 64.0])
    asked = batch.replace(condition=vae.latent.rate_condition(nats))
    torch.testing.assert_close(vae(asked).rate.detach(), nats, atol=1e-4, rtol=0)
    ELBO()(vae, batch, 0).total.backward()
    assert bool(vae.latent.shift.grad.any())
    z, vae = torch.randn(1, 4, 3), vae.eval()
    scores = [vae.likelihood(z, c).log_prob(batch) for c in (None, vae.condition(batch), asked.condition)]
    assert torch.equal(scores[0], scores[1]), "untold, the decoder takes the default"
    assert not torch.equal(scores[0], scores[2])


@pytest.mark.long
@pytest.mark.parametrize("count", [4, 16])
def test_the_need_of_equally_frequent_sentences_is_the_log_of_their_number(
    count: int, tmp_path: Path
) -> None:
    """One-word sentences: drawn codes need the log of their number and a little, the noise-free mean less.

    Right in 90 % of the draws (an accuracy of 0.95: the end is always right) takes at least ln N - H(0.1)
    - 0.1 ln(N - 1) nats on average (Fano's inequality): 0.95 of 4 words, 2.18 of 16.
    """
    words = re.findall(r"\w+", "ant bee cat dog elk fox gnu hen ibis jay kiwi lynx mole newt owl pug")[:count]
    file = tmp_path / "words.txt"
    file.write_text("\n".join(words * (512 // count)) + "\n")
    sizes = {"name": "gru", "embed": 16, "hidden": 32}
    made = train(
        parse_config(
            {
                "data": {"train": str(file), "valid": str(file), "max_tokens": 4, "test_share": 0.0},
                "encoder": sizes,
                "latent": {"name": "exact_rate", "dim": 8, "nats": [0.5, 32]},
                "decoder": sizes,
                "train": {"steps": 600, "batch_size": 32, "lr": 0.01, "decay": "cosine", "device": "cpu"},
            }
        ),
        tmp_path / "run",
    )
    vae = TextVAE.from_pretrained(made)
    least = math.log(count) - (-0.9 * math.log(0.9) - 0.1 * math.log(0.1)) - 0.1 * math.log(count - 1)
    drawn = [
        need.nats for need in minimum_rates(vae, Inputs(words), ReconstructionTarget(accuracy=0.95, draws=50))
    ]
    assert least < sum(drawn) / count < least + 1.5
    assert max(need.nats for need in minimum_rates(vae, Inputs(words))) < least
    report = vae.evaluate(str(file), samples=100, rate=max(2.0, 2 * math.log(count)))
    assert report["mi_low"] == pytest.approx(math.log(count), abs=0.05), "the code identifies every example"
