"""Images from factors: the effect of each factor, and disjoint splits.

Shapes: N pictures, F factors.
"""

from __future__ import annotations

import numpy as np
import pytest

from seqvae.data.synthetic import PICTURES, blob, shapes
from seqvae.data.synthetic.blob import HIGH, LOW, RADIUS

SETS = pytest.mark.parametrize("name", PICTURES)


def centroid(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows (N,) of the middle of what is bright in (N, 1, H, W), in pixels from the edge."""
    weights = pixels[:, 0].astype(float)
    total = weights.sum((1, 2))
    places = np.arange(weights.shape[1]) + 0.5
    return (weights.sum(1) * places).sum(1) / total, (weights.sum(2) * places).sum(1) / total


def brightness(pixels: np.ndarray) -> np.ndarray:
    """(N,): the sum of all pixels, in white pixels."""
    return pixels.reshape(len(pixels), -1).sum(1) / 255


@SETS
def test_splits_are_disjoint_seeded_and_of_the_given_sizes(name: str) -> None:
    made = PICTURES[name]
    codes = {split: made.codes(split) for split in made.sizes}
    assert {split: len(rows) for split, rows in codes.items()} == dict(made.sizes)
    every = np.concatenate([*codes.values()])
    assert len(np.unique(every, axis=0)) == len(every)
    for column, values in zip(every.T, made.factors.values(), strict=True):
        assert set(np.unique(column)) == set(range(len(values)))
    assert np.array_equal(made.codes("valid"), codes["valid"])
    with pytest.raises(KeyError):
        made.codes("dev")


@SETS
def test_factors_are_drawn_evenly_and_independently(name: str) -> None:
    made = PICTURES[name]
    codes = made.codes("train").astype(float)
    n = len(codes)
    assert np.abs(np.corrcoef(codes.T) - np.eye(codes.shape[1])).max() < 5 / np.sqrt(n)
    for column, values in zip(codes.T, made.factors.values(), strict=True):
        middle, spread = (len(values) - 1) / 2, np.sqrt((len(values) ** 2 - 1) / 12)
        assert abs(column.mean() - middle) < 4 * spread / np.sqrt(n)


def test_the_order_is_the_same_on_every_machine() -> None:
    assert PICTURES["blob"].codes("train")[:3].tolist() == ORDER


ORDER = [[36, 24], [32, 59], [39, 25]]


@SETS
def test_labels_are_factor_values(name: str) -> None:
    made = PICTURES[name]
    codes = made.codes("test")[:50]
    values = made.values(codes)
    for row, code in zip(values, codes, strict=True):
        assert row.tolist() == [v[i] for v, i in zip(made.factors.values(), code, strict=True)]


@SETS
def test_pictures_of_different_codes_are_different_but_for_symmetry(name: str) -> None:
    made = PICTURES[name]
    codes = made.codes("valid")
    if name == "shapes":
        codes = codes[codes[:, 0] == 2]  # only a heart looks different at every angle
    pixels = made.render(codes)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels.reshape(len(pixels), -1), axis=0)) == len(pixels)
    assert np.array_equal(pixels[3:5], made.render(codes[3:5]))


def test_x_and_y_move_the_blob() -> None:
    line = np.linspace(0, 1, 9)
    for factor in (0, 1):
        values = np.full((9, 2), 0.5)
        values[:, factor] = line
        found = centroid(blob.draw(values))
        np.testing.assert_allclose(found[factor], LOW + (HIGH - LOW) * line, atol=0.02)
        np.testing.assert_allclose(found[1 - factor], 16, atol=0.02)


def test_a_step_of_the_blob_is_seen_in_every_picture() -> None:
    """Positions are closer than pixels; grey edges distinguish them."""
    made = PICTURES["blob"]
    codes = np.array([[i, 20] for i in range(64)])
    steps = np.abs(np.diff(made.render(codes).astype(int), axis=0)).sum((1, 2, 3))
    assert steps.min() > 255


def test_radius_and_brightness_of_the_blob() -> None:
    assert float(brightness(blob.draw(np.array([[0.3, 0.6]])))[0]) == pytest.approx(
        np.pi * RADIUS**2, rel=0.01
    )
    radii = np.array([2.0, 3.0, 5.0])
    middle = np.full((3, 1), 0.5)
    white = blob.draw(np.hstack([middle, middle, radii[:, None]]))
    np.testing.assert_allclose(brightness(white), np.pi * radii**2, rtol=0.025)
    assert (white.max((1, 2, 3)) == 255).all()
    dim = blob.draw(np.hstack([middle, middle, np.full((3, 1), 4.0), np.array([[0.4], [0.6], [1.0]])]))
    assert dim.max((1, 2, 3)).tolist() == [102, 153, 255]


def test_no_blob_touches_the_edge() -> None:
    made = PICTURES["blob_radius"]
    corners = [[i, j, len(blob.RADII) - 1] for i in (0, 63) for j in (0, 63)]
    pixels = made.render(np.array(corners))[:, 0]
    assert not pixels[:, [0, -1]].any()
    assert not pixels[:, :, [0, -1]].any()


def shape_values(**changes: float) -> np.ndarray:
    base = {"shape": 0.0, "scale": 1.0, "orientation": 0.0, "x": 0.5, "y": 0.5} | changes
    return np.array([[base[name] for name in shapes.FACTORS]])


@pytest.mark.parametrize("kind", range(3))
def test_x_and_y_move_a_shape(kind: int) -> None:
    start = np.array(centroid(shapes.draw(shape_values(shape=kind, x=0.0, y=0.0)))).ravel()
    for x, y in ((1.0, 0.0), (0.0, 1.0), (10 / 31, 20 / 31)):
        moved = np.array(centroid(shapes.draw(shape_values(shape=kind, x=x, y=y)))).ravel()
        np.testing.assert_allclose(moved - start, [31 * x, 31 * y], atol=1e-9)
    np.testing.assert_allclose(start, 16.5, atol=0.5)  # turning does not move it


@pytest.mark.parametrize("kind", range(3))
def test_scale_and_angle_of_a_shape(kind: int) -> None:
    angles = shapes.FACTORS["orientation"]
    areas = [
        np.mean([brightness(shapes.draw(shape_values(shape=kind, scale=s, orientation=a))) for a in angles])
        for s in (0.5, 0.7, 1.0)
    ]
    np.testing.assert_allclose(np.array(areas) / areas[-1], [0.25, 0.49, 1.0], atol=0.02)
    turned = [shapes.draw(shape_values(shape=kind, orientation=a)) for a in angles]
    different = len({picture.tobytes() for picture in turned})
    assert different == (10, 20, 40)[kind]
    sizes = [float(brightness(picture)[0]) for picture in turned]
    assert max(sizes) / min(sizes) < 1.1


def test_shapes_turn_anticlockwise_and_hearts_stand_upright() -> None:
    heart = shapes.sprite(np.array([[2.0, 1.0, 0.0]]))[0] > 0
    assert heart[:16].sum() > heart[17:].sum()  # wide above, a tip below
    assert np.array_equal(heart, heart[:, ::-1])
    left = shapes.sprite(np.array([[2.0, 1.0, np.pi / 2]]))[0] > 0
    assert np.array_equal(left, np.rot90(heart))


def test_every_shape_lies_inside_and_is_black_or_white() -> None:
    angles = shapes.FACTORS["orientation"]
    every = shapes.sprite(np.array([[kind, 1.0, a] for kind in range(3) for a in angles]))
    assert set(np.unique(every)) == {0, 255}
    for edge in (every[:, 0], every[:, -1], every[:, :, 0], every[:, :, -1]):
        assert not edge.any()


def test_no_codes_no_pictures() -> None:
    assert blob.draw(np.zeros((0, 2))).shape == (0, 1, 32, 32)
    assert shapes.draw(np.zeros((0, 5))).shape == (0, 1, 64, 64)
