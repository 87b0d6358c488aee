"""Import of optional packages, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from seqvae.errors import UserError


def import_sklearn(module: str) -> Any:
    """Import the module `sklearn.<module>`.

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise UserError(
            "this measure needs scikit-learn, which is not installed: `pip install 'seqvae[metrics]'`"
        ) from None
