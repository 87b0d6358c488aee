"""A white disc on black: where it lies and, if wanted, how large and how bright it is.

The kind of data on which Burgess et al. 2018 show what beta does: a spot, and where it lies is all there is.
Shapes: N pictures, F factors, C x H x W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 32
LOW, HIGH = 6.0, 26.0  # pixels from the edge to the centre at positions 0 and 1: every disc lies inside
RADIUS = 5.0  # pixels, where it is not a factor
_AT_ONCE = 4096  # pictures

Values = npt.NDArray[Any]


def _spread(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(np.linspace(low, high, count).tolist())


POSITIONS: dict[str, tuple[float, ...]] = {"x": _spread(0, 1, 64), "y": _spread(0, 1, 64)}
RADII: tuple[float, ...] = _spread(2.0, 5.0, 16)  # pixels
BRIGHTNESSES: tuple[float, ...] = _spread(0.4, 1.0, 16)  # 1 is white


def draw(values: Values) -> npt.NDArray[np.uint8]:
    """Discs (N, 1, 32, 32) of x and y in [0, 1] (right and down), radius and brightness: (N, 2 to 4).

    A pixel is as bright as the disc covers it, taken as radius + 1/2 - distance between 0 and 1.
    """
    values = np.asarray(values, np.float32)
    parts = [_render(values[i : i + _AT_ONCE]) for i in range(0, len(values), _AT_ONCE)]
    return np.concatenate(parts)[:, None] if parts else np.zeros((0, 1, SIDE, SIDE), np.uint8)


def _render(values: Values) -> npt.NDArray[np.uint8]:
    rows, count = values.shape
    centres = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    across = (centres - (LOW + (HIGH - LOW) * values[:, :1])) ** 2  # (N, W)
    down = (centres - (LOW + (HIGH - LOW) * values[:, 1:2])) ** 2  # (N, H)
    radius = values[:, 2] if count > 2 else np.full(rows, RADIUS, np.float32)
    brightness = values[:, 3] if count > 3 else np.ones(rows, np.float32)
    distance = np.sqrt(down[:, :, None] + across[:, None])  # (N, H, W)
    covered = np.clip(radius[:, None, None] + np.float32(0.5) - distance, 0, 1)
    drawn: npt.NDArray[np.uint8] = np.rint(255 * covered * brightness[:, None, None]).astype(np.uint8)
    return drawn
