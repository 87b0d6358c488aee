"""Images of a white disc on black, with position and optionally radius and brightness as factors.

Similar to the data on which Burgess et al. 2018 show the effect of beta: a spot whose position is the factor.
Shapes: N images, F factors, C x H x W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 32
LOW, HIGH = 6.0, 26.0  # centre in pixels at positions 0 and 1, so that every disc is inside
RADIUS = 5.0  # pixels, if it is not a factor
_AT_ONCE = 4096  # images

Values = npt.NDArray[Any]


def _spread(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(np.linspace(low, high, count).tolist())


POSITIONS: dict[str, tuple[float, ...]] = {"x": _spread(0, 1, 64), "y": _spread(0, 1, 64)}
RADII: tuple[float, ...] = _spread(2.0, 5.0, 16)  # pixels
BRIGHTNESSES: tuple[float, ...] = _spread(0.4, 1.0, 16)  # 1 is white


def draw(values: Values) -> npt.NDArray[np.uint8]:
    """Draw discs (N, 1, 32, 32) with values (N, 2 to 4): x and y in [0, 1] (right, down), radius, brightness.

    A pixel's brightness is its coverage by the disc, approximated by clip(radius + 1/2 - distance, 0, 1).
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
