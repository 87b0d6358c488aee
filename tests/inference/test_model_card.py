"""The card of a run has metrics, sentences, bases and licences, and is exported."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from tiny import autoencoder, language_model, tiny_run
from tiny_backbones import bert_folder, lm_folder
from tiny_pretrained import config, shared_run

from seqvae.cli import main
from seqvae.inference import TextVAE
from seqvae.inference.model_card import UNMEASURED
from seqvae.models.pretrained.base import Base, find_base
from seqvae.training.loop import train

CARD = "---\nlanguage: en\nlicense: {}\ntags:\n- x\n---\n# A model\n"


def copy_of(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def row_of(card: str, name: str) -> list[str]:
    """The cells of the row of a table that begins with `name`."""
    (line,) = (line for line in card.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_card_holds_what_evaluate_says(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(shared_run(tmp_path_factory, "dial"), tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["card", str(run), "--samples", "3", "--examples", "6", "--rates", "2,8", "--device", "cpu"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"{run / 'README.md'}\n"
    card, vae = (run / "README.md").read_text(), TextVAE.from_pretrained(run)
    labels = row_of(card, "rate")
    for rate in (2.0, 8.0):
        report = vae.evaluate(samples=3, examples=6, rate=rate)
        found = dict(zip(labels, row_of(card, f"{rate:g} nats"), strict=True))
        assert found["IW-NLL"] == f"{report['iw_nll']:.2f} ± {report['iw_nll_se']:.2f}"
        assert found["active units"] == str(report["active_units"])
        assert float(found["MI"].split()[0]) == pytest.approx(report["mi_low"], abs=0.006)
    assert "Nats per example over 6 examples (test), IW-NLL from 3 codes each" in card
    for sentence in vae.sample(5):
        assert f"    {sentence}".rstrip() in card


def test_an_export_copies_the_card_or_writes_one_without_metrics(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    run = copy_of(tiny_run(tmp_path_factory), tmp_path)
    vae = TextVAE.from_pretrained(run)
    vae.save_pretrained(tmp_path / "unmeasured")
    assert UNMEASURED in (tmp_path / "unmeasured/README.md").read_text()
    file = vae.write_card(samples=2, examples=4, shown=2)
    vae.save_pretrained(tmp_path / "measured")
    card = (tmp_path / "measured/README.md").read_text()
    assert card == file.read_text()
    assert UNMEASURED not in card
    text, back = re.findall(r"^    (.*)$", card.partition("and their reconstructions")[2], re.MULTILINE)[:2]
    assert vae.reconstruct([text])[0].reconstruction == back
    loaded = ModelCard.load(tmp_path / "measured/README.md")
    assert (loaded.data.library_name, loaded.data.tags) == ("seqvae", ["text-vae"])
    assert TextVAE.from_pretrained(tmp_path / "measured").latent_dim == vae.latent_dim


@pytest.mark.parametrize("kind", ["lm", "ae", "vectors"])
def test_every_kind_of_text_run_has_one(
    kind: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    made = {"lm": language_model, "ae": autoencoder}
    run = made[kind](tmp_path_factory) if kind in made else shared_run(tmp_path_factory, kind)
    vae = TextVAE.from_pretrained(copy_of(run, tmp_path))
    card = vae.write_card(samples=2, examples=4, shown=2).read_text()
    assert ("and their reconstructions" in card) == (kind != "lm")
    assert "## Samples" in card
    assert ("SentenceTransformer" in card) == (kind == "ae")


def test_bases_are_named_with_their_hashes_and_licences_and_no_path(tmp_path: Path) -> None:
    folders = {"encoder": bert_folder(), "decoder": lm_folder()}
    for part, folder in folders.items():
        shutil.copytree(folder, tmp_path / part)
        (tmp_path / part / "README.md").write_text(CARD.format("apache-2.0"))
    sets = [f"{part}.model={tmp_path / part}" for part in folders]
    run = train(config(tmp_path, *sets, "train.steps=2", "train.validate_every=2"), tmp_path / "run")
    TextVAE.from_pretrained(run).save_pretrained(tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert ModelCard(card).data.license == "apache-2.0"
    for part in folders:
        base = find_base(str(tmp_path / part))
        assert f"| {part} | {part} | - | {base.sha256} | apache-2.0 |" in card
    assert str(tmp_path) not in card


def test_the_licence_is_what_the_files_say(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    for name, text in {
        "plain": CARD.format("mit"),
        "quoted": CARD.format("'cc-by-4.0'"),
        "none": "# A\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(text)
    found = [Base("x", tmp_path / name).licence for name in ("plain", "quoted", "none")]
    assert found == ["mit", "cc-by-4.0", None]
    for licence in ("apache-2.0", None):
        file = tmp_path / f"{licence}.gguf"
        writer = gguf.GGUFWriter(file, "llama")
        if licence is not None:
            writer.add_license(licence)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        assert Base("x", tmp_path / "none", packed=file).licence == licence
