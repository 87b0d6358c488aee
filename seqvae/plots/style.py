"""Shared style of all plots: empty figures, axes, and colours safe for colour-blind readers.

Shapes: N examples, C channels, H, W image, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seqvae.errors import UserError
from seqvae.utils.atomic_files import write_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]
Numbers = Any  # a numpy array, a torch tensor on any device, or nested lists

DPI = 150
SUFFIXES = (".png", ".pdf")
# Paul Tol's "muted" scheme, safe for colour-blind readers, strongest contrasts first
COLOURS = (
    "#332288", "#CC6677", "#117733", "#88CCEE", "#DDCC77",
    "#AA4499", "#44AA99", "#882255", "#999933", "#777777",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))
SCALE = "viridis"  # colour map of continuous labels
INK, FAINT = "#222222", "#BBBBBB"
LABEL, SMALL = 9, 7.5  # points
MANY = 26  # legend entries per column


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, with a layout that clips nothing.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("pictures need the package matplotlib: `pip install 'seqvae[plots]'`") from None
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def check_picture(path: str | Path) -> Path:
    """Check the path of a figure, before the time-consuming measurements for it.

    Raises:
        UserError: another suffix than .png or .pdf, or a folder that does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"a picture's file got {path.name!r}: end it with {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path} (no such folder): give a file in a folder that exists")
    return path


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure atomically, in the format of its suffix: .png (150 dpi) or .pdf.

    Raises:
        UserError: another suffix, or a folder that does not exist or is not writable.
    """
    import matplotlib

    path = check_picture(path)
    kind = path.suffix.lower()[1:]
    stamps: Any = {"CreationDate": None} if kind == "pdf" else None  # equal figures give equal files
    looks: Any = {"format": kind, "dpi": DPI, "bbox_inches": "tight", "pad_inches": 0.08}
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # embed fonts, so that text stays text
        write_named(path, lambda p: figure.savefig(p, metadata=stamps, **looks))
    return path


def to_array(values: Numbers) -> Array:
    """Convert to a numpy array; a tensor may be on any device and require gradients."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().float()
    return np.asarray(values)


def label_axes(axes: Axes, x: str = "", y: str = "", title: str = "", grid: bool = True) -> None:
    """Name the axes, and remove the top and right frame."""
    axes.set_xlabel(x, fontsize=LABEL, color=INK)
    axes.set_ylabel(y, fontsize=LABEL, color=INK)
    if title:
        axes.set_title(title, fontsize=LABEL, color=INK, loc="left")
    axes.tick_params(labelsize=SMALL, color=INK, labelcolor=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)


def use_whole_numbers(axis: Axis) -> None:
    """Put ticks at integers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def colour(index: int) -> str:
    """The colour of the n-th kind; colours repeat after ten."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """The marker of the n-th kind; with its colour unique up to 70 kinds."""
    return MARKERS[(index // len(COLOURS)) % len(MARKERS)]


def dashes(index: int) -> Any:
    """The dashes of the n-th kind; with their colour unique up to 40 kinds."""
    return DASHES[(index // len(COLOURS)) % len(DASHES)]


def legend_beside(figure: Figure, handles: Sequence[Any], title: str = "") -> None:
    """Put one legend right of all axes, in as many columns as it needs."""
    figure.legend(
        handles=list(handles),
        loc="outside right upper",
        ncols=1 + (len(handles) - 1) // MANY,
        fontsize=SMALL,
        title=title or None,
        title_fontsize=SMALL,
        frameon=False,
    )
