"""The packages that the page needs beyond those of the toolkit."""

from __future__ import annotations

from importlib.util import find_spec

from seqvae.errors import UserError

PACKAGES = ("fastapi", "uvicorn")


def require_packages() -> None:
    """Refuse to start without them.

    Raises:
        UserError: one is not installed.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f'seqvae explore needs {" and ".join(missing)}: `pip install "seqvae[explore]"`, or '
            f"`pip install {' '.join(missing)}`"
        )
