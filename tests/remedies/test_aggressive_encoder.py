"""The aggressive encoder: whose parameters move, when it ends, and that it resumes bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Listener, assert_same_runs, card, config, metrics
from torch import Tensor

from seqvae.data.text.dataset import load_data
from seqvae.remedies.aggressive_encoder import AggressiveEncoder, loss_still_falls
from seqvae.training import validation as module
from seqvae.training.loop import Interrupted, TrainingLoop, resume, train
from seqvae.training.trainer import Trainer
from seqvae.utils.atomic_files import list_checkpoints
from seqvae.utils.reporter import Silent

SHORT = ("train.steps=6", "train.validate_every=3", "train.log_every=2")
FIVE = ("train.steps=10", "train.validate_every=2", "train.log_every=1")
FEW = "{name: aggressive_encoder, max_inner_steps: 4, window: 2}"


def trainer(path: Path, *sets: str) -> Trainer:
    made = config(*sets)
    return Trainer(path, made, load_data(made.data, made.tokenizer), Silent())


def moved(made: Trainer, before: dict[str, Tensor]) -> set[str]:
    """The parts and remedies of which some parameter changed."""
    names = {name for name, p in made.step_module.named_parameters() if not torch.equal(p, before[name])}
    return {
        ".".join(name.split(".")[1:2] if name.startswith("vae") else name.split(".")[:3]) for name in names
    }


def parameters(made: Trainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in made.step_module.named_parameters()}


@pytest.mark.parametrize(
    ("losses", "goes_on"),
    [
        ([], True),
        ([5, 4, 3], True),  # one window, nothing to compare it with
        ([5, 4, 3, 9, 9], True),  # within a window there is no check
        ([5, 4, 3, 3, 2, 1], True),
        ([5, 4, 3, 3, 5, 4], True),  # as low as before
        ([5, 4, 3, 5, 5, 5], False),
        ([9, 9, 9, 5, 5, 5, 5, 5, 6], False),
        ([9 - i for i in range(9)], True),
        ([99 - i for i in range(10)], False),  # as many as are allowed
    ],
)
def test_when_the_encoder_has_caught_up(losses: list[float], goes_on: bool) -> None:
    assert loss_still_falls([torch.tensor(float(x)) for x in losses], max_inner_steps=10, window=3) is goes_on


def test_each_side_moves_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = "{name: bag_of_words, hidden: 4}, {name: factor_vae, hidden: 4}"
    made = trainer(tmp_path, f"remedies=[{FEW}, {heads}]", "train.weight_decay=0.1")
    before = parameters(made)
    made.step_module.train()
    made._encoder_updates(0)
    assert moved(made, before) == {"encoder", "latent"}
    assert (made.progress.step, made.progress.inner) == (0, 4)
    monkeypatch.setattr(made, "_encoder_updates", lambda step: None)
    before = parameters(made)
    made.update()
    assert moved(made, before) == {"decoder", "objective.remedies.1", "objective.remedies.2"}
    assert (made.progress.step, made.progress.inner) == (1, 4)


def test_the_encoders_own_updates_have_their_own_sentences_and_noise(tmp_path: Path) -> None:
    feed = trainer(tmp_path, "train.seed=3").batch_source
    (plain,), (first,), (second,) = (feed.update(5, inner) for inner in (0, 1, 2))
    assert torch.equal(plain.index, first.index)
    assert not torch.equal(plain.random.normal("posterior", 2), first.random.normal("posterior", 2))
    others = [feed.update(5, inner)[0].index for inner in range(2, 20)]
    assert torch.equal(others[0], second.index)
    assert len({tuple(index.tolist()) for index in others}) > 5
    assert torch.equal(feed.update(5)[0].random.normal("posterior", 2), plain.random.normal("posterior", 2))


def test_schedules_and_logs_count_decoder_updates(tmp_path: Path) -> None:
    remedies = f"remedies=[{FEW}, {{name: linear_annealing, steps: 8}}]"
    run = train(config(*FIVE, remedies, "train.validate_every=5"), tmp_path / "run")
    lines = metrics(run, "train")
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert [line["beta"] for line in lines] == pytest.approx([min(1.0, i / 8) for i in range(10)])
    assert card(run)["progress"]["inner"] >= 5 * 4


@pytest.mark.parametrize(
    ("mis", "asked"),
    [
        ((1.0, 2.0, 1.9, 5.0, 6.0), [True, True, True, False, False]),
        ((0.0, 0.0, 0.0, 0.1, 0.2), [True] * 5),
        ((-0.01, -0.02, 3.0, 3.0, 3.0), [True, True, False, False, False]),
    ],
)
def test_it_ends_when_mi_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mis: tuple[float, ...], asked: list[bool]
) -> None:
    values, heard, counted = iter(mis), [], []

    def validate(*_: Any, mi_examples: int) -> dict[str, float]:
        heard.append(mi_examples > module.MI_EXAMPLES)  # more than every validation takes
        return {"neg_elbo": 1.0, "distortion": 1.0, "rate": 1.0, "active_units": 4, "mi_low": next(values)}

    monkeypatch.setattr(module, "validate", validate)
    made = trainer(tmp_path / "run", *FIVE, f"remedies=[{FEW}]")
    monkeypatch.setattr(module, "select_checkpoint", lambda *_: None)
    loop = TrainingLoop(made)
    monkeypatch.setattr(loop.log_file, "write", lambda *_: None)
    for _ in mis:
        before, start = parameters(made), made.progress.inner
        made.update()
        counted.append(made.progress.inner - start)
        assert moved(made, before) == {"encoder", "latent", "decoder"}
        loop.validate()
    assert heard == asked
    assert [count > 0 for count in counted] == asked
    assert all(count in (0, 4) for count in counted)


def test_memory_is_saved() -> None:
    remedy, again = AggressiveEncoder(), AggressiveEncoder()
    remedy.after_validation({"mi_low": 2.0})
    assert remedy.wants_mi()
    remedy.after_validation({"mi_low": 1.0})
    again.load_state_dict(remedy.state_dict())
    assert not again.wants_mi()
    assert again.trainable_parts(frozenset({"encoder", "decoder"})) == {"encoder", "decoder"}


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    sets = (*SHORT, f"remedies=[{FEW}]", "decoder.dropout=0.2", "encoder.dropout=0.2", "train.accumulate=2")
    whole, parted = train(config(*sets), tmp_path / "whole"), tmp_path / "parted"
    with pytest.raises(Interrupted, match="stopped at step 3 of 6"):
        train(config(*sets), parted, Listener(stop_at="step 3 "))
    assert card(parted)["progress"]["inner"] > 0
    assert_same_runs(resume(parted), whole)
    states = torch.load(list_checkpoints(whole)[-1] / "objective.pt", weights_only=True)
    assert float(states["remedies.0.mi"]) == metrics(whole, "valid")[-1]["mi_low"]
