"""The page on a run of pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from pages import Page
from PIL import Image
from tiny_pictures import BASE

from seqvae.config.loading import parse_config
from seqvae.explore.items import png_bytes, sheet_bytes
from seqvae.explore.session import Explorer
from seqvae.inference import load
from seqvae.training.loop import train


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    run = train(parse_config(BASE, ()), tmp_path_factory.mktemp("explore") / "blob")
    return Page(Explorer(load(run), examples=12))


def _pixels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))


def test_pictures_come_as_one_sheet(page: Page) -> None:
    found = page.ask("examples")
    sheet, pictures = found["sheet"], page.explorer.points.inputs.x
    height, width = pictures.shape[2:]
    pixels = _pixels(sheet["address"])
    assert np.array_equal(pixels[:height, width : 2 * width], pictures[1, 0])
    assert found["texts"][1].startswith("picture 1, x ")


def test_views_of_pictures(page: Page) -> None:
    page.ask("examples")
    walk = page.ask("walk", {"a": {"index": 0}, "b": {"index": 1}, "steps": 3})
    assert all(step["nll"] > 0 for step in walk["steps"])
    ends = page.explorer.pictures.reconstruct(page.explorer.points.inputs.x[:1])[0]
    shown = _pixels(walk["steps"][0]["image"])
    factor = shown.shape[0] // ends.shape[1]
    assert np.abs(shown[::factor, ::factor] / 255 - ends[0].numpy()).max() < 0.01
    edit = page.ask("edit", {"base": {"index": 0}, "moves": [{"label": "x", "strength": 1}]})
    assert edit["decoded"]["image"] != edit["original"]["image"]
    assert page.ask("attributes")["attributes"]


def test_samples_of_pictures(page: Page) -> None:
    page.ask("samples", {"n": 2})
    page.explorer.jobs.wait("training codes")
    found = page.ask("samples", {"n": 2})
    assert found["samples"][0]["near"][0]["image"].startswith("data:image/png")
    assert "copied" not in found["samples"][0]


def test_texts_are_refused(page: Page) -> None:
    page.ask("examples")
    said = page.refusal("walk", {"a": {"text": "a dog"}, "b": {"index": 1}}, 400)
    assert said == "this run reads no typed text: pick a point on the map instead"
    assert "runs of text only" in page.refusal("edit", {"base": {"index": 0}, "keep_words": ["a"]}, 400)


def test_small_pictures_are_enlarged_by_a_whole_factor() -> None:
    picture = torch.zeros(1, 5, 7)
    picture[0, 2, 3] = 1
    shown = np.asarray(Image.open(io.BytesIO(png_bytes(picture))))
    assert shown.shape == (65, 91)
    assert shown[13 * 2 : 13 * 3, 13 * 3 : 13 * 4].min() == 255
    assert shown.sum() == 255 * 13 * 13


def test_sheet_keeps_colours() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(sheet_bytes(pictures, 2))))
    assert sheet.shape == (12, 12, 3)
    assert np.array_equal(sheet[4:8, 6:12], pictures[3].transpose(1, 2, 0))
