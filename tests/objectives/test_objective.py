"""The ELBO by hand, idle remedies, every hook in its order, and parts of an update that add up.

Shapes: B sentences, T tokens, D latent dims.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_text import PLAIN, RECURRENT, SPECIAL, WORDS, text_batch, tiny_config, tiny_vae
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from seqvae.build import build_objective
from seqvae.config.schema import TextDataConfig, TextRunConfig
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.dataset import TextData, load_data
from seqvae.interfaces import Remedy, RunContext
from seqvae.interfaces.outputs import Loss, VAEOutput
from seqvae.models.vae import VAE
from seqvae.objectives import ELBO, TrainStep
from seqvae.remedies import REMEDIES
from seqvae.remedies.free_bits import FreeBits
from seqvae.remedies.schedules import ConstantBeta, LinearAnnealing
from seqvae.remedies.word_dropout import WordDropout
from seqvae.training.trainer import Trainer
from seqvae.utils.reporter import Silent

FACTS = RunContext(total_steps=100, examples=50, batch_size=5, latent_dim=2, vocab_size=WORDS)
WALK = ["on_encoder_input", "on_decoder_input", "transform_kl", "beta", "auxiliary_losses", "discriminator"]


def by_hand(vae: VAE, batch: TextBatch) -> tuple[Tensor, Tensor]:
    """Rate and distortion (B,), with torch's own distributions and one sentence after the other."""
    h = vae.encoder(batch)
    q = Normal(vae.latent.mean(h), torch.exp(0.5 * vae.latent.logvar(h)))
    noise = batch.random.normal("posterior", 1, vae.latent.dim)[:, 0]
    z = q.mean + q.stddev * noise
    rate = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    distortion = []
    for row in range(batch.size):
        length = int(batch.lengths[row])
        features, _ = vae.decoder.read(
            batch.inputs[row : row + 1, :length], vae.decoder.start(z[row : row + 1])
        )
        logits = features[0] @ vae.decoder.head.weight.T + vae.decoder.head.bias
        logits[:, [SPECIAL.pad, SPECIAL.bos]] = -torch.inf
        distortion.append(nn.functional.cross_entropy(logits, batch.targets[row, :length], reduction="sum"))
    return rate, torch.stack(distortion)


def gradients(vae: VAE, objective: ELBO, batch: TextBatch, step: int = 0) -> list[Tensor | None]:
    vae.zero_grad()
    objective(vae, batch, step).total.backward()
    return [None if p.grad is None else p.grad.clone() for p in vae.parameters()]


@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_without_remedies_it_is_the_negative_elbo(name: str) -> None:
    vae, batch = (
        tiny_vae(decoder={"name": name, **({} if name == "transformer" else RECURRENT)}, std=0.3),
        text_batch(),
    )
    loss = ELBO([])(vae, batch, 17)
    rate, distortion = by_hand(vae, batch)
    torch.testing.assert_close(loss.rate, rate.mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss.distortion, distortion.mean(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(loss.total, (rate + distortion).mean(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(loss.kl_per_dim.sum(), loss.rate)
    assert loss.beta == 1
    assert loss.terms == {}
    assert float(loss.adversary) == 0


@torch.no_grad()
def test_sentences_are_summed_over_tokens_and_averaged_over_the_batch() -> None:
    """A mean over tokens would weigh the KL by the length of sentences."""
    vae, batch = tiny_vae(), text_batch([[4, 5, 6, 4, 5, 6]] * 4 + [[4]])
    out = vae(batch)
    assert out.rate.shape == out.distortion.shape == (5,)
    torch.testing.assert_close(ELBO([])(vae, batch, 0).distortion, out.distortion.sum() / 5)
    torch.testing.assert_close(out.distortion, by_hand(vae, batch)[1], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "idle",
    [[ConstantBeta(1.0)], [WordDropout(0.0)], [Remedy()], [Remedy(), ConstantBeta(1.0), WordDropout(0.0)]],
)
def test_an_idle_remedy_changes_no_bit(idle: list[Remedy]) -> None:
    vae, batch = tiny_vae(), text_batch()
    plain, with_idle = ELBO([])(vae, batch, 5), ELBO(idle)(vae, batch, 5)
    for name in ("total", "rate", "distortion", "kl_per_dim"):
        assert torch.equal(getattr(with_idle, name), getattr(plain, name)), name
    for one, other in zip(gradients(vae, ELBO(idle), batch), gradients(vae, ELBO([]), batch), strict=True):
        assert one is other is None or torch.equal(one, other)  # type: ignore[arg-type]


def test_no_free_bits_is_the_plain_kl() -> None:
    """Up to rounding: dims are averaged before they are added, not after."""
    vae, batch = tiny_vae(), text_batch()
    plain, none_free = ELBO([])(vae, batch, 5), ELBO([FreeBits(0.0)])(vae, batch, 5)
    torch.testing.assert_close(none_free.total, plain.total, atol=0, rtol=1e-6)
    ours, theirs = gradients(vae, ELBO([FreeBits(0.0)]), batch), gradients(vae, ELBO([]), batch)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.3, 4.0])
def test_beta_weighs_the_rate_and_is_not_called_rate(beta: float) -> None:
    vae, batch = tiny_vae(), text_batch()
    plain, weighed = ELBO([])(vae, batch, 0), ELBO([ConstantBeta(beta)])(vae, batch, 0)
    torch.testing.assert_close(weighed.total, plain.distortion + beta * plain.rate)
    assert torch.equal(weighed.rate, plain.rate)
    assert torch.equal(weighed.distortion, plain.distortion)
    assert weighed.beta == beta


def test_annealing_starts_as_an_autoencoder() -> None:
    vae, batch, remedy = tiny_vae(), text_batch(), LinearAnnealing(10)
    objective = ELBO([remedy])
    loss = objective(vae, batch, 0)
    assert torch.equal(loss.total, loss.distortion)
    half = objective(vae, batch, 5)
    torch.testing.assert_close(half.total, half.distortion + 0.5 * half.rate)
    assert torch.equal(objective(vae, batch, 10).total, ELBO([])(vae, batch, 10).total)


class Rival(nn.Module):
    """Distinguishes codes from zeros; trained on detached codes."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.judge, self.calls = nn.Linear(2, 1), calls

    def forward(self, out: VAEOutput, batch: TextBatch) -> Tensor:
        """Its loss ()."""
        return (self.judge(out.z.detach()) ** 2).mean() + 1.0


class Toy(Remedy):
    """Uses every hook and records the order."""

    paper, year = "none", 1
    made: list[Toy] = []  # noqa: RUF012

    def __init__(self, frozen: str = "", rival: bool = True) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.frozen, self.rival = frozen, Rival(self.calls) if rival else None
        self.seen: dict[str, Any] = {}
        Toy.made.append(self)

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Create a parameter of the model's size."""
        self.calls.append("attach")
        self.head = nn.Linear(facts.latent_dim, 1)
        self.seen["facts"] = facts

    def on_encoder_input(self, batch: TextBatch) -> TextBatch:
        """Every word becomes another one."""
        self.calls.append("on_encoder_input")
        return batch.replace(source=torch.where(batch.source > 3, 4, batch.source))

    def on_decoder_input(self, batch: TextBatch) -> TextBatch:
        """So do the inputs."""
        self.calls.append("on_decoder_input")
        return batch.replace(inputs=torch.where(batch.inputs > 3, 5, batch.inputs))

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: int) -> Tensor:
        """Twice the KL."""
        self.calls.append("transform_kl")
        return 2 * kl

    def beta(self, step: int) -> Tensor:
        """A tensor."""
        self.calls.append("beta")
        return torch.tensor(0.25)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: TextBatch) -> Mapping[str, Tensor]:
        """A term with a parameter of its own."""
        self.calls.append("auxiliary_losses")
        return {"toy": (self.head(out.z) ** 2).mean()}

    def trainable_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """All but the frozen one."""
        self.calls.append("trainable_parts")
        return parts - {self.frozen}

    def after_step(self, loss: Loss) -> None:
        """Keep the loss."""
        self.calls.append("after_step")
        self.seen["loss"] = loss

    def after_validation(self, metrics: Mapping[str, float]) -> None:
        """Keep the metrics."""
        self.calls.append("after_validation")
        self.seen["metrics"] = metrics

    def discriminator(self) -> nn.Module | None:
        """The second player."""
        self.calls.append("discriminator")
        return self.rival


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    Toy.made.clear()
    monkeypatch.setitem(REMEDIES, "toy", Toy)


def test_seams_are_met_in_the_documented_order() -> None:
    vae, batch = tiny_vae(), text_batch()
    objective = build_objective(tiny_config(remedies=[{"name": "toy"}]), vae, FACTS)
    (toy,) = Toy.made
    assert toy.calls == ["attach"]
    assert toy.seen["facts"] is FACTS
    toy.calls.clear()
    objective(vae, batch, 0)
    assert toy.calls == WALK


def test_what_the_seams_give_is_used() -> None:
    vae, batch = tiny_vae(), text_batch()
    objective = build_objective(tiny_config(remedies=[{"name": "toy"}]), vae, FACTS)
    (toy,) = Toy.made
    loss = objective(vae, batch, 0)
    read = toy.on_decoder_input(toy.on_encoder_input(batch))
    plain = ELBO([])(vae, read, 0)
    assert not torch.equal(plain.rate, ELBO([])(vae, batch, 0).rate)
    assert torch.equal(loss.rate, plain.rate)
    assert torch.equal(loss.distortion, plain.distortion)
    assert list(loss.terms) == ["toy"]
    torch.testing.assert_close(loss.total, plain.distortion + 0.25 * 2 * plain.rate + loss.terms["toy"])
    assert float(loss.adversary.detach()) >= 1  # type: ignore[union-attr]
    objective.after_validation({"neg_elbo": 3.0})
    assert toy.seen["metrics"] == {"neg_elbo": 3.0}


def test_remedies_follow_one_another() -> None:
    vae, batch = tiny_vae(), text_batch()
    spec = [{"name": "toy", "rival": False}] * 2
    objective = build_objective(tiny_config(remedies=spec), vae, FACTS)
    order: list[tuple[int, str]] = []
    for number, toy in enumerate(Toy.made):
        toy.calls.clear()
        for name in WALK:
            monitored(toy, name, number, order)
    objective(vae, batch, 0)
    assert order == [(number, name) for name in WALK for number in (0, 1)]


def monitored(toy: Toy, name: str, number: int, order: list[tuple[int, str]]) -> None:
    before = getattr(toy, name)

    def record(*args: Any) -> Any:
        order.append((number, name))
        return before(*args)

    object.__setattr__(toy, name, record)


def test_the_second_player_gets_no_gradient_of_the_model_and_gives_none() -> None:
    vae, batch = tiny_vae(), text_batch()
    objective = build_objective(tiny_config(remedies=[{"name": "toy"}]), vae, FACTS)
    loss = objective(vae, batch, 0)
    rival = objective.discriminators()[0]
    theirs = torch.autograd.grad(loss.adversary, list(vae.parameters()), allow_unused=True, retain_graph=True)
    assert all(g is None for g in theirs)
    ours = torch.autograd.grad(loss.total, list(rival.parameters()), allow_unused=True)
    assert all(g is None for g in ours)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TextData:
    """Ten words, 60 sentences of several lengths."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = torch.Generator().manual_seed(0)
    lines = []
    for _ in range(60):
        length = int(torch.randint(1, 9, (), generator=generator))
        lines.append(" ".join(f"w{i}" for i in torch.randint(0, 10, (length,), generator=generator)))
    (folder / "train.txt").write_text("\n".join(lines) + "\n")
    data = TextDataConfig(train=str(folder / "train.txt"), valid=str(folder / "train.txt"))
    return load_data(data, TextRunConfig().tokenizer)


def trainer(path: Path, corpus: TextData, remedies: list[dict[str, Any]], **settings: Any) -> Trainer:
    train = {"steps": 50, "batch_size": 12, "device": "cpu", "precision": "fp32", "seed": 1} | settings
    return Trainer(path, tiny_config(remedies=remedies, train=train), corpus, Silent())


def test_an_update_calls_the_seams_in_the_documented_order(tmp_path: Path, corpus: TextData) -> None:
    made = trainer(tmp_path, corpus, [{"name": "toy"}])
    (toy,) = Toy.made
    toy.calls.clear()
    for _ in range(2):
        made.update()
    assert toy.calls == [*WALK, "trainable_parts", "after_step"] * 2
    assert isinstance(toy.seen["loss"], Loss)


def test_feedback_comes_once_an_update_and_is_that_of_the_whole(tmp_path: Path, corpus: TextData) -> None:
    """A controller must not count parts as updates."""
    losses = []
    for accumulate in (1, 3):
        Toy.made.clear()
        made = trainer(tmp_path, corpus, [{"name": "toy"}], accumulate=accumulate)
        (toy,) = Toy.made
        toy.calls.clear()
        made.update()
        assert toy.calls == [*WALK * accumulate, "trainable_parts", "after_step"]
        losses.append(toy.seen["loss"])
    whole, parts = losses
    for name in ("total", "rate", "distortion", "kl_per_dim", "adversary"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-5, rtol=1e-5)
        assert not getattr(parts, name).requires_grad
    torch.testing.assert_close(parts.terms["toy"], whole.terms["toy"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frozen", ["", "encoder", "latent", "decoder"])
def test_a_frozen_part_does_not_move(frozen: str, tmp_path: Path, corpus: TextData) -> None:
    made = trainer(tmp_path, corpus, [{"name": "toy", "frozen": frozen}], weight_decay=0.1)
    modules = {name: getattr(made.vae, name) for name in ("encoder", "latent", "decoder")}
    modules |= {"remedy": Toy.made[0].head, "rival": made.discriminators[0]}
    before = {name: [p.clone() for p in module.parameters()] for name, module in modules.items()}
    for _ in range(2):
        made.update()
    for name, module in modules.items():
        same = [torch.equal(a, b) for a, b in zip(before[name], module.parameters(), strict=True)]
        assert all(same) if name == frozen else not any(same), name


def test_players_have_optimizers_of_their_own(tmp_path: Path, corpus: TextData) -> None:
    made = trainer(tmp_path, corpus, [{"name": "toy"}])
    owned = {
        name: {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, optimizer in made.optimizers.items()
    }
    assert owned["adversary"] == {id(p) for p in made.discriminators[0].parameters()}
    everything = {id(p) for p in made.step_module.parameters()}
    assert owned["model"] | owned["adversary"] == everything
    assert owned["model"].isdisjoint(owned["adversary"])


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_parts_of_an_update_add_up(accumulate: int, tmp_path: Path, corpus: TextData) -> None:
    """12 sentences in one part, in equal parts or in unequal ones: the same weights after 4 updates."""
    remedies = [{"name": "word_dropout", "rate": 0.3}, {"name": "linear_annealing", "steps": 3}]
    weights = []
    for parts in (1, accumulate):
        made = trainer(tmp_path, corpus, remedies, accumulate=parts, optimizer="sgd", lr=0.05)
        before = [p.clone() for p in made.vae.parameters()]
        for _ in range(4):
            made.update()
        weights.append([p.detach() for p in made.vae.parameters()])
        assert not any(torch.equal(a, b) for a, b in zip(before, weights[-1], strict=True))
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_no_latent_is_noise_for_two_examples_or_two_steps(corpus: TextData, tmp_path: Path) -> None:
    made = trainer(tmp_path, corpus, [])
    one, other = made.batch_source.update(0)[0], made.batch_source.update(1)[0]
    draws = torch.cat([batch.random.normal("posterior", 2) for batch in (one, other)])
    assert len(draws.unique()) == draws.numel()


def test_train_step_is_the_objective() -> None:
    vae, batch, objective = tiny_vae(), text_batch(), ELBO([ConstantBeta(0.5)])
    module = TrainStep(vae, objective)
    assert torch.equal(module(batch, 3).total, objective(vae, batch, 3).total)
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"vae"}
