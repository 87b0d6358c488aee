"""What the embedding projector reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_run

from seqvae.errors import UserError
from seqvae.inference import TextVAE
from seqvae.inference.projector import export_codes, make_sprite, write_projector


def table(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text().split("\n")[:-1]]


def test_files(tmp_path: Path) -> None:
    z = torch.tensor([[1.5, -2.0], [0.25, 3.0]])
    columns = {"text": ["a\tb\nc", "d"], "y": [1.0, float("nan")]}
    images = np.arange(2 * 1 * 2 * 2, dtype=np.uint8).reshape(2, 1, 2, 2)
    files = write_projector(tmp_path / "p", z, columns, images)
    assert all(file.is_file() for file in files)
    assert table(tmp_path / "p" / "tensors.tsv") == [["1.5", "-2"], ["0.25", "3"]]
    assert table(tmp_path / "p" / "metadata.tsv") == [["text", "y"], ["a b c", "1"], ["d", ""]]
    config = (tmp_path / "p" / "projector_config.pbtxt").read_text()
    assert "single_image_dim: 2 single_image_dim: 2" in config
    with Image.open(tmp_path / "p" / "sprite.png") as sprite:
        assert np.asarray(sprite)[:2].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_a_single_column_has_no_header(tmp_path: Path) -> None:
    write_projector(tmp_path, torch.zeros(2, 1), {"text": ["a", "b"]})
    assert table(tmp_path / "metadata.tsv") == [["a"], ["b"]]
    assert not (tmp_path / "sprite.png").exists()


def test_tensorboard_reads_the_config(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    images = np.zeros((3, 3, 4, 5), np.uint8)
    write_projector(tmp_path, torch.zeros(3, 2), {"text": ["a", "b", "c"]}, images)
    read = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert read.embeddings[0].tensor_path == "tensors.tsv"
    assert list(read.embeddings[0].sprite.single_image_dim) == [5, 4]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="column 'y' has 1 values for 2 codes"):
        write_projector(tmp_path, torch.zeros(2, 1), {"y": [1]})
    with pytest.raises(UserError, match="ask for --examples 4 at most"):
        make_sprite(np.zeros((5, 1, 4096, 4096), np.uint8))


def test_a_run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    vae = TextVAE.from_pretrained(tiny_run(tmp_path_factory))
    export_codes(vae, tmp_path / "test", "test", 12)
    head, *rows = table(tmp_path / "test" / "metadata.tsv")
    assert head == ["text", *vae.embedded_factors]
    assert rows[0][head.index("question")] == ("question" if rows[0][0].endswith("?") else "statement")
    z = torch.tensor([[float(x) for x in row] for row in table(tmp_path / "test" / "tensors.tsv")])
    assert torch.allclose(z, vae.encode([row[0] for row in rows]), atol=1e-4)
    file = tmp_path / "mine.txt"
    file.write_text("the old dog sees a ball .\nshe sells eggs\n")
    export_codes(vae, tmp_path / "mine", str(file))
    assert len(table(tmp_path / "mine" / "tensors.tsv")) == 2
