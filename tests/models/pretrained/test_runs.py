"""Runs on pretrained models: they resume, load and move like others, and detect another base."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import Listener, assert_same, assert_same_runs, card
from tiny_backbones import bert_folder, lm_folder
from tiny_pretrained import LINES, config, corpus, shared_run, values

from seqvae.build import build_objective, check_config
from seqvae.config.loading import parse_config
from seqvae.errors import UserError
from seqvae.evaluation.metrics.likelihood import iw_nll, score_batch
from seqvae.inference import TextVAE, load
from seqvae.interfaces import RunContext
from seqvae.modalities import MODALITIES
from seqvae.models.latents import LATENTS
from seqvae.remedies import REMEDIES
from seqvae.runs.run_folder import load_run
from seqvae.training.loop import Interrupted, resume, train
from seqvae.training.trainer import Trainer

LORA = {"train": "lora", "lora": {"r": 2, "dropout": 0.1}}


@pytest.fixture
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a frozen encoder and a frozen decoder."""
    return shared_run(tmp_path_factory, "frozen")


def copied(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


@pytest.mark.parametrize("kind", ["frozen", "lora", "full"])
def test_resumes_bit_for_bit(kind: str, tmp_path: Path) -> None:
    more = LORA if kind == "lora" else {"train": kind}
    parts: dict[str, Any] = {
        "encoder": {"name": "pretrained", "model": bert_folder(), **more},
        "decoder": {"name": "pretrained", "model": lm_folder("gpt2"), **more},
        "remedies": [{"name": "word_dropout", "rate": 0.3}],
    }
    straight = train(config(tmp_path, **parts), tmp_path / "straight")
    with pytest.raises(Interrupted):
        train(config(tmp_path, **parts), tmp_path / "broken", Listener(stop_at="step 6 "))
    assert_same_runs(straight, resume(tmp_path / "broken"))


def test_a_run_names_its_bases_and_saves_trained_weights_only(frozen: Path) -> None:
    bases = card(frozen)["bases"]
    assert bases.keys() == {"encoder", "decoder"}
    assert bases["decoder"]["model"] == lm_folder()
    assert len(bases["decoder"]["sha256"]) == 64
    saved = load_file(frozen / "model.safetensors")
    assert not any("backbone" in name or "head" in name for name in saved)
    assert {"encoder.features.mean", "decoder.z_to_slots.weight", "decoder.blank"} <= saved.keys()


@pytest.mark.parametrize("kind", ["frozen", "lora", "dial", "lm"])
def test_a_loaded_run_is_the_same(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = shared_run(tmp_path_factory, kind)
    first, second = load(path), load(path)
    assert_same(first.vae.state_dict(), second.vae.state_dict())
    assert [s.iw_nll for s in first.score(LINES[:3])] == [s.iw_nll for s in second.score(LINES[:3])]
    golden = json.loads((path / "golden.json").read_text())
    assert len(golden["nll"]) == 3
    assert golden["versions"].keys() == {"torch", "transformers"}


def moved_base(run: Path, tmp_path: Path, part: str, folder: str, std: float) -> Path:
    """A copy of the run whose base lies at another place, changed by noise."""
    base = tmp_path / "base"
    shutil.copytree(folder, base)
    if std:
        from safetensors.torch import save_file

        weights = load_file(base / "model.safetensors")
        noisy = {k: v + std * torch.randn_like(v) for k, v in weights.items()}
        save_file(noisy, base / "model.safetensors", metadata={"format": "pt"})
    path = copied(run, tmp_path / "run")
    text = (path / "config.json").read_text().replace(folder, str(base))
    (path / "config.json").write_text(text)
    return path


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_changed_base_is_refused(part: str, frozen: Path, tmp_path: Path) -> None:
    folder = {"encoder": bert_folder(), "decoder": lm_folder()}[part]
    with pytest.raises(UserError, match=rf"the {part}'s base .* has other weights \(sha256 .{{12}}\) than"):
        load_run(moved_base(frozen, tmp_path, part, folder, 0.01))


def test_a_moved_base_is_as_good(frozen: Path, tmp_path: Path) -> None:
    path = moved_base(frozen, tmp_path, "decoder", lm_folder(), 0.0)
    assert load(path).score(LINES[:2]) == load(frozen).score(LINES[:2])


@pytest.mark.parametrize("what", ["z", "nll"])
def test_a_library_that_computes_otherwise_is_refused(what: str, frozen: Path, tmp_path: Path) -> None:
    path = copied(frozen, tmp_path / "run")
    golden = json.loads((path / "golden.json").read_text())
    golden["versions"]["transformers"] = "5.0.0"
    golden[what] = torch.tensor(golden[what]).mul(1.1).add(0.1).tolist()
    (path / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(UserError, match=r"no longer does what it did .*transformers 5\.0\.0; here .*torch"):
        load_run(path)


def test_a_whole_copy_needs_no_base(frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(frozen).save_pretrained(tmp_path / "small")
    load(frozen).save_pretrained(tmp_path / "whole", whole=True)
    assert not (tmp_path / "small" / "base").exists()
    for name in ("small", "whole"):  # as on another machine
        text = (tmp_path / name / "config.json").read_text()
        text = text.replace(lm_folder(), "nowhere/lm").replace(bert_folder(), "nowhere/bert")
        (tmp_path / name / "config.json").write_text(text)
    assert load(tmp_path / "whole").score(LINES[:2]) == load(frozen).score(LINES[:2])
    with pytest.raises(UserError, match="cannot be fetched from the Hub"):
        load(tmp_path / "small")
    again = TextVAE.from_pretrained(tmp_path / "whole")
    again.save_pretrained(tmp_path / "next")
    assert (tmp_path / "next" / "base" / "decoder" / "model.safetensors").is_file()


def test_the_tokenizer_is_the_decoders(tmp_path: Path) -> None:
    made = parse_config(values(tmp_path))
    assert made.tokenizer.model_dump() == {"name": "pretrained", "model": lm_folder()}  # type: ignore[union-attr]
    with pytest.raises(
        UserError, match="tokenizer got 'bpe' and decoder 'pretrained' knows its own ids only"
    ):
        check_config(parse_config(values(tmp_path, tokenizer={"name": "bpe"})))


def test_the_encoder_reads_the_text_and_not_the_decoders_tokens(frozen: Path, tmp_path: Path) -> None:
    """A sentence's code does not depend on the decoder's tokenizer."""
    gru = {"name": "gru", "embed": 8, "hidden": 16}
    other = config(tmp_path, decoder=gru, tokenizer={"name": "word"})
    data, ours = MODALITIES["text"].load_data(other, None), load(frozen)
    store, kept = data.train, ours.tokenizer  # type: ignore[attr-defined]
    texts = data.codec.decode_batch([store.tokens(i).tolist() for i in range(5)])  # type: ignore[attr-defined]
    batch = next(iter(ours._batches(texts, 0)))
    assert batch.source.shape == (5, 12)
    assert torch.allclose(batch.source, store.source.rows(torch.arange(5).numpy()).tensors()[0], atol=1e-6)
    assert kept.vocab_size != data.codec.vocab_size  # type: ignore[attr-defined]


def test_features_are_standardised_by_the_training_split(frozen: Path) -> None:
    vae = load(frozen)
    data = MODALITIES["text"].load_data(vae.run.config, vae.run.codec)
    rows = data.train.source.rows(torch.arange(len(data.train.source.values)).numpy())  # type: ignore[attr-defined]
    features = vae.vae.encoder.features(rows.tensors()[0])  # type: ignore[operator]
    assert torch.allclose(features.mean(0), torch.zeros(12), atol=1e-5)
    assert torch.allclose(features.std(0, correction=0), torch.ones(12), atol=1e-4)


def test_iw_nll_comes_to_the_integral_over_a_code_of_one_dim(tmp_path: Path) -> None:
    """-ln p(x) = -ln of the integral of p(z) p(x|z), by quadrature over z in [-8, 8]."""
    trainer = Trainer(tmp_path, made := config(tmp_path, "latent.dim=1"),
                      MODALITIES["text"].load_data(made, None), Listener())  # fmt: skip
    vae = trainer.vae.eval()
    assert vae.decoder.z_to_slots is not None
    torch.nn.init.normal_(vae.decoder.z_to_slots.weight, std=0.2)
    batch = next(trainer.batch_source.valid(4))
    grid = torch.linspace(-8, 8, 801)
    with torch.no_grad():
        z = grid[:, None, None].expand(-1, batch.size, 1)
        log_joint = vae.likelihood(z).log_prob(batch) + vae.prior().log_prob(z)
        exact = -(torch.logsumexp(log_joint.double(), 0) + math.log(16 / 800))
        found = iw_nll(score_batch(vae, batch, 4000, 200).log_weights)  # type: ignore[arg-type]
        plain = vae(batch)
    assert torch.allclose(found.double(), exact, atol=0.08)
    assert bool((plain.rate + plain.distortion > exact - 1).all())
    conditional = log_joint - vae.prior().log_prob(z).detach()
    assert float(conditional.std(0).min()) > 0.1  # z counts


@pytest.mark.parametrize("name", [n for n, made in REMEDIES.items() if made.batch_type in ("any", "text")])
def test_every_remedy_works_or_says_why_not(name: str, tmp_path: Path) -> None:
    made = config(tmp_path, remedies=[{"name": name}], data={**values(tmp_path)["data"]})
    data = MODALITIES["text"].load_data(made, None)
    if name == "denoising":
        with pytest.raises(
            UserError, match="this encoder reads vectors or tokens of its own: use word_dropout"
        ):
            Trainer(tmp_path / "run", made, data, Listener())
        return
    trainer = Trainer(tmp_path / "run", made, data, Listener())
    trainer.update()
    assert trainer.progress.step == 1


@pytest.mark.parametrize("name", [name for name in LATENTS if name != "none"])
def test_every_latent_takes_them(name: str, tmp_path: Path) -> None:
    made = config(tmp_path, latent={"name": name})
    trainer = Trainer(tmp_path / "run", made, MODALITIES["text"].load_data(made, None), Listener())
    trainer.update()
    trainer.update()
    assert trainer.progress.step == 2


@pytest.mark.parametrize("prior", ["mixture", "vamp", "flow"])
def test_every_prior_takes_them(prior: str, tmp_path: Path) -> None:
    made = config(tmp_path, latent={"name": "gaussian", "dim": 2, "prior": {"name": prior}})
    trainer = Trainer(tmp_path / "run", made, MODALITIES["text"].load_data(made, None), Listener())
    trainer.update()
    assert trainer.progress.step == 1


def test_vamp_needs_a_frozen_encoder(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"latent": {"name": "gaussian", "dim": 2, "prior": {"name": "vamp"}}}
    parts["encoder"] = {"name": "pretrained", "model": bert_folder(), "train": "full"}
    made = config(tmp_path, **parts)
    with pytest.raises(UserError, match="use prior mixture"):
        Trainer(tmp_path / "run", made, MODALITIES["text"].load_data(made, None), Listener())


def test_the_language_model_trains_the_same_parts(tmp_path_factory: pytest.TempPathFactory) -> None:
    lm, vae = (shared_run(tmp_path_factory, kind) for kind in ("lm", "frozen"))
    names = {n for n in load_file(lm / "model.safetensors") if "weight" not in n}
    theirs = {
        n for n in load_file(vae / "model.safetensors") if n.startswith("decoder.") and "weight" not in n
    }
    assert names == theirs
    assert card(lm)["bases"].keys() == {"decoder"}  # no encoder is asked for
    report = load(lm).evaluate(samples=1)
    assert report["iw_nll"] == pytest.approx(report["distortion"])


def test_a_range_of_rates_reaches_the_decoder(tmp_path_factory: pytest.TempPathFactory) -> None:
    vae = load(shared_run(tmp_path_factory, "dial"))
    for nats in (2.0, 6.0):
        assert vae.evaluate(samples=2, rate=nats)["rate"] == pytest.approx(nats, abs=1e-4)
    z = vae.encode(LINES[:2])
    weight = vae.vae.decoder.z_to_slots.weight
    assert weight.shape[1] == 4  # D and ln R
    assert float(weight[:, 3].detach().abs().max()) > 0  # it was conditioned on the rate, and learned from it
    assert len(vae.decode(z, rate=8)) == 2


def test_labels_reach_the_decoder(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = "\n".join(f"{line},{'here' if 'park' in line else 'there'}" for line in LINES)
    table.write_text(f"text,place\n{rows}\n")
    data = {**values(tmp_path)["data"], "train": str(table), "labels": ["place"]}
    run = train(config(tmp_path, data=data, condition=["place"]), tmp_path / "run")
    vae = load(run)
    texts = vae.sample(2, condition={"place": "here"})
    assert len(texts) == 2
    here, there = (vae.score(LINES[:2], condition={"place": p})[0].distortion for p in ("here", "there"))
    assert here != there


def test_facts_of_a_text_run_are_those_of_the_decoders_words(tmp_path: Path) -> None:
    made = config(tmp_path, remedies=[{"name": "bag_of_words"}])
    data = MODALITIES["text"].load_data(made, None)
    trainer = Trainer(tmp_path / "run", made, data, Listener())
    facts = RunContext(10, 10, 8, 3, data.codec.sizes["vocab_size"])
    assert build_objective(made, trainer.vae, facts).remedies[0] is not None


def test_the_corpus_is_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqvae.models.pretrained.embedder import Embedder

    calls: list[int] = []
    plain = Embedder.embed
    monkeypatch.setattr(Embedder, "embed", lambda self, texts: calls.append(len(texts)) or plain(self, texts))
    lines = tmp_path / "many.txt"
    lines.write_text("\n".join(f"a man sees {i} ball" for i in range(400)))
    data = {"train": str(lines), "max_tokens": 40}
    made = config(tmp_path, data=data)
    MODALITIES["text"].load_data(made, None)
    assert sum(calls) == 400
    other = config(tmp_path, data={**data, "max_tokens": 41})  # another store of the same texts
    MODALITIES["text"].load_data(other, None)
    assert sum(calls) < 500  # only what came in chunks too small to keep is made again
    assert corpus(tmp_path).is_file()
