"""Prints README's table rows from evaluations.

seqvae evaluate RUN --json > vae.json
python scripts/table.py "GRU VAE=vae.json" "its language model=lm.json"
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

COLUMNS = {
    "neg_elbo": "-ELBO",
    "iw_nll": "IW-NLL",
    "ppl": "PPL",
    "rate": "rate",
    "mi_low": "MI",
    "active_units": "AU",
    "shuffle_gap": "shuffle gap",
    "bleu": "BLEU",
    "distinct_samples": "distinct of 1,000",
}


def cell(values: dict[str, object], name: str) -> str:
    """One number; IW-NLL with its standard error and K."""
    value = values.get(name)
    if value is None:
        return "-"
    if name == "iw_nll" and values["iw_samples"] != 1:
        return f"{value:.2f} ± {values['iw_nll_se']:.2f} (K {values['iw_samples']})"
    return f"{value:.2f}" if isinstance(value, float) else f"{value}"


def main() -> None:
    """Print the table in Markdown."""
    print("| model | " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for argument in sys.argv[1:]:
        label, _, file = argument.partition("=")
        values = json.loads(Path(file).read_text(encoding="utf-8"))
        print(f"| {label} | " + " | ".join(cell(values, name) for name in COLUMNS) + " |")


if __name__ == "__main__":
    main()
