"""The configs shipped with the package, in a checkout or an installed wheel."""

from __future__ import annotations

from pathlib import Path

from seqvae.config.renamed_keys import current_config_name

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_configs() -> dict[str, Path]:
    """Every shipped config: a name like `text/quickstart` to its file, in the order of the names.

    Raises:
        FileNotFoundError: the package was installed without them.
    """
    home = _home()
    files = sorted(home.rglob("*.yaml"))
    return {file.relative_to(home).with_suffix("").as_posix(): file for file in files}


def find_config(name: str) -> str:
    """The path of a shipped config by its name, or `name` itself if it is a file."""
    known = shipped_configs()
    name = name if Path(name).is_file() else current_config_name(name)
    return str(known[name]) if name in known and not Path(name).is_file() else name


def read_first_comment(path: Path) -> str:
    """The description of a config: its first line without the `#`, or "" if that is not a comment."""
    with path.open(encoding="utf-8") as lines:
        line = lines.readline().strip()
    return line.lstrip("#").strip() if line.startswith("#") else ""


def _home() -> Path:
    """The configs' folder: next to the package in a checkout, inside it in a wheel."""
    inside, checkout = _PACKAGE / "configs", _PACKAGE.parent
    beside = checkout / "configs"
    if beside.is_dir() and (checkout / "pyproject.toml").is_file():  # not another package's
        return beside
    if inside.is_dir():
        return inside
    raise FileNotFoundError(f"no shipped configs in {inside} or {beside}: install seqvae again")
