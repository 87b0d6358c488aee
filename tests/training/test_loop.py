"""The training loop: selection, stopping, files, and which parameters it trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from tiny import Listener, assert_same, assert_same_runs, card, config, metrics, tiny_run
from torch import Tensor, nn

from seqvae.data.text.dataset import load_data
from seqvae.errors import UserError
from seqvae.interfaces import Remedy
from seqvae.modalities import MODALITIES
from seqvae.remedies import REMEDIES
from seqvae.runs.weights import own_copies
from seqvae.training import validation as module
from seqvae.training.loop import Interrupted, resume, train
from seqvae.training.trainer import DEFAULT_EPOCHS, DEFAULT_STEPS, Trainer, total_steps
from seqvae.utils.atomic_files import list_checkpoints
from seqvae.utils.reporter import Silent

SHORT = ("train.steps=6", "train.validate_every=6")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory)


def weights(run: Path) -> dict[str, Tensor]:
    """The selected ones."""
    return load_file(run / "model.safetensors")


def trainer(path: Path, *sets: str) -> Trainer:
    """A run that has not begun."""
    made = config(*sets)
    return Trainer(path, made, load_data(made.data, made.tokenizer), Silent())


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Validations with given results."""

    def tell(*values: float, distortions: tuple[float, ...] = ()) -> None:
        told: Iterator[float] = iter(values)
        others = iter(distortions or values)

        def validate(*_: Any, **__: Any) -> dict[str, float]:
            return {"neg_elbo": next(told), "distortion": next(others), "rate": 1.0, "active_units": 4}

        monkeypatch.setattr(module, "validate", validate)

    return tell


FIVE = ("train.steps=10", "train.validate_every=2", "train.keep=9")


def test_nothing_is_chosen_before_the_schedules_settle(tmp_path: Path, scripted: Any) -> None:
    scripted(1.0, 2.0, 5.0, 4.0, 4.5)  # the collapsed start looks best
    run = train(config(*FIVE, "remedies=[{name: linear_annealing, steps: 6}]"), tmp_path / "run")
    assert card(run)["selected"] == "step 8: lowest validation neg_elbo: 4.000"
    assert_same(weights(run), load_file(run / "checkpoints" / "step-8" / "model.safetensors"))
    early = tmp_path / "early"
    scripted(1.0, 2.0, 3.0, 4.0, 5.0)
    late = train(config(*FIVE, "remedies=[{name: linear_annealing, steps: 99}]"), early)
    assert card(late)["progress"]["best_step"] == 10, "a run shorter than its schedule keeps its end"


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("neg_elbo", "step 4: lowest validation neg_elbo: 1.000"),
        ("distortion", "step 6: lowest validation distortion: 0.500"),
        ("last", "step 10: the last validated"),
    ],
)
def test_what_is_chosen(tmp_path: Path, scripted: Any, select: str, expected: str) -> None:
    scripted(3.0, 1.0, 2.0, 1.0, 5.0, distortions=(3.0, 2.0, 0.5, 4.0, 5.0))
    run = train(config(*FIVE, f"train.select={select}"), tmp_path / "run")
    assert card(run)["selected"] == expected
    step = expected.split(":")[0].replace(" ", "-")
    assert_same(weights(run), load_file(run / "checkpoints" / step / "model.safetensors"))


def test_patience(tmp_path: Path, scripted: Any) -> None:
    scripted(5.0, 4.0, 6.0, 4.0)
    report = Listener()
    run = train(config(*FIVE, "train.patience=2"), tmp_path / "run", report)
    early = "finished 8 steps of 10, as 2 validations in a row were no better (train.patience), in "
    assert report.notes[-1].startswith(early)
    assert (card(run)["progress"]["step"], card(run)["progress"]["best_step"]) == (8, 4)
    assert card(run)["progress"]["finished"]


def test_patience_waits_for_the_schedules(tmp_path: Path, scripted: Any) -> None:
    scripted(1.0, 2.0, 3.0, 4.0, 5.0)
    sets = ("train.patience=1", "remedies=[{name: linear_annealing, steps: 8}]")
    assert card(train(config(*FIVE, *sets), tmp_path / "run"))["progress"]["step"] == 10


def test_the_plateau_rule_halves_the_rate(tmp_path: Path, scripted: Any) -> None:
    scripted(5.0, 6.0, 4.0, 4.0, 3.0)
    sets = ("train.decay=plateau", "train.log_every=1", "train.lr=0.008")
    rates = [line["lr"] for line in metrics(train(config(*FIVE, *sets), tmp_path / "run"), "train")]
    assert rates == [0.008] * 4 + [0.004] * 4 + [0.002] * 2


def test_the_fields_of_the_log(tiny: Path) -> None:
    trained, valid = metrics(tiny, "train"), metrics(tiny, "valid")
    assert [line["step"] for line in trained] == [10, 20, 30, 40]
    assert [line["step"] for line in valid] == [20, 40]
    assert set(trained[0]) == {"kind", "step", "total", "rate", "distortion", "beta", "grad_norm", "lr"}
    named = {"kind", "step", "n", "neg_elbo", "rate", "distortion", "active_units", "kl_per_dim"}
    assert set(valid[0]) == named | {"mi_low", "mi_n"}
    assert all(line["beta"] == pytest.approx(0.01) for line in trained)
    for line in trained:
        assert line["total"] == pytest.approx(line["distortion"] + 0.01 * line["rate"], rel=1e-5)
    for line in valid:  # beta = 1, whatever the remedies
        assert line["neg_elbo"] == pytest.approx(line["distortion"] + line["rate"], rel=1e-5)
        assert line["n"] == 50
    assert '"tokens_per_s": ' in (tiny / "metrics.jsonl").read_text().splitlines()[0]


def test_a_logged_line_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    by_one = metrics(train(config(*SHORT, "train.log_every=1"), tmp_path / "one"), "train")
    by_three = metrics(train(config(*SHORT, "train.log_every=3"), tmp_path / "three"), "train")
    for key in ("total", "rate", "distortion", "grad_norm"):
        expected = [sum(line[key] for line in by_one[i : i + 3]) / 3 for i in (0, 3)]
        assert [line[key] for line in by_three] == pytest.approx(expected, rel=1e-5)


def test_a_collapse_is_reported_with_remedies(tmp_path: Path) -> None:
    report = Listener()
    train(config("remedies=[{name: constant_beta, beta: 50}]"), tmp_path / "run", report)
    assert len(report.warnings) == 1, "two validations, one state"
    for word in (
        "the code has collapsed",
        "free_bits",
        "word_dropout",
        "cyclical_annealing",
        "constant_beta",
    ):
        assert word in report.warnings[-1]


HEALTHY = ("remedies=[{name: constant_beta, beta: 0}, {name: word_dropout, rate: 1}]", "encoder.pooling=max")


@pytest.mark.parametrize(
    ("sets", "warnings"),
    [
        ((*HEALTHY, "train.lr=0.1"), 0),  # a code that is read
        (("latent={name: deterministic, dim: 4}",), 0),  # no rate
        (("latent={name: none}",), 0),  # no code
        (("remedies=[{name: constant_beta, beta: 50}, {name: linear_annealing, steps: 99}]",), 1),
    ],
)
def test_no_false_collapse_is_reported(tmp_path: Path, sets: tuple[str, ...], warnings: int) -> None:
    report = Listener()
    run = train(config(*sets, "train.validate_every=30", "train.steps=60"), tmp_path / "run", report)
    assert len(metrics(run, "valid")) == 2
    assert len(report.warnings) == warnings, "only at the end while a schedule is at work"


def test_a_collapse_is_reported_at_its_beginning_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter((0.1, 0.2, 0.2, 3.0, 4.0, 0.0))

    def validate(*_: Any, **__: Any) -> dict[str, float]:
        return {"neg_elbo": 1.0, "distortion": 1.0, "rate": next(rates), "active_units": 4}

    monkeypatch.setattr(module, "validate", validate)
    sets, reports = ("train.steps=6", "train.validate_every=1"), (Listener(stop_at="step 2 "), Listener())
    with pytest.raises(Interrupted):
        train(config(*sets), tmp_path / "run", reports[0])
    resume(tmp_path / "run", reports[1])
    begun = "the code has collapsed: rate {} nats, 4 active units, so the decoder does not read z"
    assert [line.split(" and all")[0] for line in reports[0].warnings] == [begun.format("0.10")]
    assert [line.split(" and all")[0] for line in reports[1].warnings] == [begun.format("0.00")]
    over = [n for n in (*reports[0].notes, *reports[1].notes) if "collapsed" in n]
    assert over == ["the code is no longer collapsed: rate 3.00 nats, 4 active units"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_suggested_remedies_support_the_modality(modality: str) -> None:
    named = [name for name in REMEDIES if name in MODALITIES[modality].remedy_hint]
    assert {"free_bits", "constant_beta", "cyclical_annealing"} <= set(named)
    assert {REMEDIES[name].batch_type for name in named} <= {"any", modality}


def test_tensorboard(tmp_path: Path) -> None:
    run = train(config("train.tensorboard=true"), tmp_path / "run")
    (file,) = (run / "tensorboard").iterdir()
    content = file.read_bytes()
    assert content.count(b"train/distortion") == 4
    assert content.count(b"valid/neg_elbo") == 2, "the last ones too"


def test_no_tensorboard_unasked(tiny: Path) -> None:
    assert not (tiny / "tensorboard").exists()


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"needs the package tensorboard: `pip install tensorboard`"):
        train(config("train.tensorboard=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_parts_of_an_update_add_up_to_it(tmp_path: Path, optimizer: str) -> None:
    sets = ("train.steps=8", "train.validate_every=8", "data.examples=30", f"train.optimizer={optimizer}")
    whole = train(config(*sets), tmp_path / "whole")
    parts = train(config(*sets, "train.accumulate=4"), tmp_path / "parts")
    for name, expected in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], expected, atol=1e-5, rtol=0, msg=name)
    assert metrics(parts, "train")[0]["total"] == pytest.approx(metrics(whole, "train")[0]["total"], abs=1e-3)


def test_the_seed_decides(tmp_path: Path) -> None:
    sets = (*SHORT, "decoder.dropout=0.2")
    runs = [train(config(*sets, f"train.seed={s}"), tmp_path / f"{i}") for i, s in enumerate((7, 7, 8))]
    assert_same_runs(runs[0], runs[1])
    assert not torch.equal(
        weights(runs[0])["decoder.rnn.weight_hh_l0"], weights(runs[2])["decoder.rnn.weight_hh_l0"]
    )


@pytest.mark.parametrize("tie", [False, True])
def test_parts_of_another_run_are_taken(tmp_path: Path, tiny: Path, tie: bool) -> None:
    sets = (f"decoder.tie={str(tie).lower()}", "train.seed=5")
    source = train(config(*SHORT, *sets), tmp_path / "source")
    given = weights(source)
    fresh = own_copies(trainer(tmp_path / "fresh", *sets, "train.seed=6").vae.state_dict())
    for part in ("encoder", "decoder"):
        init = f"init={{from: {source}, parts: [{part}]}}"
        started = own_copies(trainer(tmp_path / "next", *sets, "train.seed=6", init).vae.state_dict())
        for name, value in started.items():
            expected = given.get(name, value) if name.startswith(part) else fresh[name]
            assert torch.equal(value, expected), name
        assert not torch.equal(fresh["encoder.embedding.weight"], given["encoder.embedding.weight"])


def test_parts_that_do_not_fit(tmp_path: Path, tiny: Path) -> None:
    init = f"init={{from: {tiny}, parts: [encoder]}}"
    with pytest.raises(UserError, match=r"init: encoder of .* does not fit this config \(size mismatch"):
        train(config("encoder.hidden=24", init), tmp_path / "run")
    with pytest.raises(UserError, match="no-run is not a run folder"):
        train(config("init={from: no-run, parts: [encoder]}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parts_that_read_other_words_are_refused(tmp_path: Path) -> None:
    for name, words in (("a", "one two three"), ("b", "two one one four")):
        (tmp_path / f"{name}.txt").write_text(f"{words}\n" * 60)
    short = (*SHORT, "data.name=null", "tokenizer.vocab_size=6", "data.examples=null")
    source = train(config(*short, f"data.train={tmp_path / 'a.txt'}"), tmp_path / "a")
    other = f"data.train={tmp_path / 'b.txt'}"
    for part in ("encoder", "decoder"):
        init = f"init={{from: {source}, parts: [latent, {part}]}}"
        with pytest.raises(UserError, match=f"^init: {source} has another vocabulary, its weights would"):
            train(config(*short, other, init), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    train(config(*short, other, f"init={{from: {source}, parts: [latent]}}"), tmp_path / "latent")
    own = f"tokenizer={{name: file, path: {source}}}"  # as the message says
    train(config(*SHORT, "data.name=null", other, own, init), tmp_path / "own")


class Rival(Remedy):
    """A second player that reads codes, for tests."""

    def __init__(self) -> None:
        super().__init__()
        self.player = Player()

    def discriminator(self) -> nn.Module:
        """The player."""
        return self.player


class Player(nn.Module):
    """Wants detached codes to be 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, out: Any, batch: Any) -> Tensor:
        """Its own loss."""
        loss: Tensor = ((self.layer(out.z.detach()) - 1) ** 2).mean()
        return loss


def test_an_adversary_is_trained_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REMEDIES, "rival", Rival)
    with_rival = (*SHORT, "remedies=[{name: rival}]")
    made = trainer(tmp_path / "run", *with_rival)
    held = {
        name: {id(p) for group in o.param_groups for p in group["params"]}
        for name, o in made.optimizers.items()
    }
    rival = {id(p) for p in made.objective.discriminators()[0].parameters()}
    assert held["adversary"] == rival
    assert held["model"] == {id(p) for p in made.step_module.parameters()} - rival
    before = [p.clone() for p in made.objective.discriminators()[0].parameters()]
    made.update()
    assert all(
        not torch.equal(a, b) for a, b in zip(before, made.discriminators[0].parameters(), strict=True)
    )
    run = train(config(*with_rival), tmp_path / "with")
    assert_same(weights(run), weights(train(config(*SHORT), tmp_path / "without")))
    states = torch.load(list_checkpoints(run)[-1] / "optimizers.pt", weights_only=True)
    assert set(states) == {"model", "adversary"}


def test_a_stopped_run_takes_its_adversary_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REMEDIES, "rival", Rival)
    sets = (*SHORT, "remedies=[{name: rival}]", "train.validate_every=3")
    whole = train(config(*sets), tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config(*sets), tmp_path / "parted", Listener(stop_at="step 3 "))
    assert_same_runs(resume(tmp_path / "parted"), whole)


class Frozen(Remedy):
    """Leaves the encoder alone from the third update on, for tests."""

    def __init__(self) -> None:
        super().__init__()
        self.updates = 0

    def trainable_parts(self, parts: frozenset[str]) -> frozenset[str]:
        """All but the encoder."""
        self.updates += 1
        return parts - {"encoder"} if self.updates > 2 else parts


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])  # both have moments that would go on moving it
def test_a_frozen_part_does_not_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    monkeypatch.setitem(REMEDIES, "frozen", Frozen)
    sets = (f"train.optimizer={optimizer}", "train.weight_decay=0.1")
    made = trainer(tmp_path / "run", "remedies=[{name: frozen}]", *sets)
    seen = []
    for _ in range(4):
        made.update()
        seen.append({name: value.clone() for name, value in made.vae.named_parameters()})
    for name in seen[0]:
        moved = [not torch.equal(a[name], b[name]) for a, b in pairwise(seen)]
        assert moved == [True, name.split(".")[0] != "encoder", name.split(".")[0] != "encoder"], name


def test_gradients_are_clipped_but_their_norm_is_logged_as_it_was(tmp_path: Path) -> None:
    sets = (*SHORT, "train.optimizer=sgd", "train.lr=1.0", "train.log_every=1", "train.steps=1")
    start = own_copies(trainer(tmp_path / "none", *sets).vae.state_dict())
    run = train(config(*sets, "train.clip=0.01"), tmp_path / "run")
    moved = math.sqrt(
        sum(float(((weights(run)[k] - v) ** 2).sum()) for k, v in start.items() if k in weights(run))
    )
    assert moved == pytest.approx(0.01, rel=1e-2)
    assert metrics(run, "train")[0]["grad_norm"] > 1


@pytest.mark.parametrize(
    ("sets", "a_epoch", "expected"),
    [
        (("train.steps=7", "train.epochs=2"), 10, 7),
        (("train.steps=null", "train.epochs=3"), 10, 30),
        (("train.steps=null",), 10, DEFAULT_STEPS[0]),
        (("train.steps=null",), 500, 500 * DEFAULT_EPOCHS),
        (("train.steps=null",), 5000, DEFAULT_STEPS[1]),
    ],
)
def test_how_long_a_run_is(sets: tuple[str, ...], a_epoch: int, expected: int) -> None:
    assert total_steps(config(*sets), a_epoch) == expected


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    run, sets = (
        tmp_path / "run",
        ("train.lr=1e9", "train.clip=null", "train.optimizer=sgd", "train.save_every=1"),
    )
    with pytest.raises(
        UserError, match=r"not a number at step [1-9].*the last good checkpoint is .*step-\d+; lower"
    ):
        train(config(*sets), run)
    for folder in list_checkpoints(run):
        for name, value in load_file(folder / "model.safetensors").items():
            assert bool(torch.isfinite(value).all()), (folder, name)


def test_weights_that_are_no_numbers_are_not_chosen(tmp_path: Path, scripted: Any) -> None:
    scripted(3.0, math.nan)
    with pytest.raises(
        UserError, match=r"not a number at step 3: the last good checkpoint is .*step-2; lower"
    ):
        train(config(*FIVE), tmp_path / "run")
    assert card(tmp_path / "run")["selected"].startswith("step 2:")


def test_a_config_that_cannot_be_built_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes no argument 'hiden': did you mean 'hidden'"):
        train(config("encoder.hiden=3"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    train(config(*SHORT, "train.threads=2"), tmp_path / "run")
    assert torch.get_num_threads() == before


TRANSFORMER = [
    f"{part}={{name: transformer, width: 8, heads: 2, layers: 1}}" for part in ("encoder", "decoder")
]


def test_without_a_compiler_nothing_is_compiled_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    report = Listener()
    sets = (*SHORT, *TRANSFORMER, "train.device=cpu")  # where it is a CPU that has to compile
    run = train(config(*sets, "train.compile=true"), tmp_path / "run", report)
    expected = "train.compile is left out: no C++ compiler 'no-such-compiler' here, install one"
    assert report.warnings[0] == expected
    assert_same(weights(run), weights(train(config(*sets), tmp_path / "plain")))


class Counting(Remedy):
    """Counts its feedback, for tests."""

    heard: ClassVar[list[float]] = []

    def after_step(self, loss: Any) -> None:
        """Feedback."""
        self.heard.append(float(loss.total))


def test_feedback_comes_once_an_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REMEDIES, "counting", Counting)
    monkeypatch.setattr(Counting, "heard", [])
    sets = (*SHORT, "remedies=[{name: counting}]", "train.accumulate=3", "train.log_every=1")
    logged = [line["total"] for line in metrics(train(config(*sets), tmp_path / "run"), "train")]
    assert Counting.heard == pytest.approx(logged, rel=1e-6)
