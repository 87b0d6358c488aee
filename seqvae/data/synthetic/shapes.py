"""Images of squares, ellipses and hearts, white on black, with the factors of dSprites.

The factors have as many values as those of Matthey et al. 2017, but orientations exclude 2 pi, and positions
are integer pixels. Every pixel is black or white. A square is symmetric under rotation by 90 degrees and an
ellipse by 180 degrees, so several of their orientations give the same image.
Shapes: N images, F factors, C x H x W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 64
SPRITE = 33  # pixels that the largest shape needs at any angle
KINDS: tuple[str, ...] = ("square", "ellipse", "heart")
HALF_SIDE = 11.3  # pixels, of the square at scale 1
HALF_AXES = (14.4, 8.4)  # of the ellipse
HEART, HEART_CENTRE = 12.0, 0.29  # pixels per unit of its curve, and height of its centroid in these units
EDGE = 1e-9  # tolerance, so that symmetric shapes do not differ by rounding

Values = npt.NDArray[Any]

FACTORS: dict[str, tuple[float, ...]] = {
    "shape": tuple(float(i) for i in range(len(KINDS))),
    "scale": tuple(np.linspace(0.5, 1.0, 6).tolist()),
    "orientation": tuple((2 * np.pi * np.arange(40) / 40).tolist()),
    "x": tuple(np.linspace(0, 1, SIDE - SPRITE + 1).tolist()),
    "y": tuple(np.linspace(0, 1, SIDE - SPRITE + 1).tolist()),
}
CATEGORIES: dict[str, tuple[str, ...]] = {"shape": KINDS}


def draw(values: Values) -> npt.NDArray[np.uint8]:
    """Draw images (N, 1, 64, 64) with values (N, 5): shape, scale, orientation (radians, left), x, y.

    x and y in [0, 1] go right and down in whole pixels, so a shape is rendered once for all positions.
    """
    values = np.asarray(values, np.float64)
    kinds, which = np.unique(values[:, :3], axis=0, return_inverse=True)
    sprites = sprite(kinds)[which.reshape(-1)]  # (N, 33, 33)
    left, top = np.rint(values[:, 3:].T * (SIDE - SPRITE)).astype(np.int64)
    out = np.zeros((len(values), SIDE, SIDE), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(out, (SPRITE, SPRITE), (1, 2), writeable=True)
    windows[np.arange(len(values)), top, left] = sprites
    return out[:, None]


def sprite(values: Values) -> npt.NDArray[np.uint8]:
    """Render centred shapes (N, 33, 33) with values (N, 3): shape, scale and orientation."""
    kind, scale, angle = np.asarray(values, np.float64).T[..., None, None]
    line = np.arange(SPRITE) - SPRITE // 2
    right, up = line[None, None, :], -line[None, :, None]
    u = (np.cos(angle) * right + np.sin(angle) * up) / scale  # coordinates of the shape
    v = (np.cos(angle) * up - np.sin(angle) * right) / scale
    inside = np.where(kind == 0, _square(u, v), np.where(kind == 1, _ellipse(u, v), _heart(u, v)))
    return inside.astype(np.uint8) * np.uint8(255)


def _square(u: Values, v: Values) -> Values:
    return np.maximum(np.abs(u), np.abs(v)) <= HALF_SIDE + EDGE


def _ellipse(u: Values, v: Values) -> Values:
    return (u / HALF_AXES[0]) ** 2 + (v / HALF_AXES[1]) ** 2 <= 1 + EDGE


def _heart(u: Values, v: Values) -> Values:
    """Inside of the curve (x^2 + y^2 - 1)^3 = x^2 y^3, with the notch up."""
    x, y = u / HEART, v / HEART + HEART_CENTRE
    return (x**2 + y**2 - 1) ** 3 <= x**2 * y**3 + EDGE
