"""Training losses equal recorded ones: refactoring changes no number."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_losses import CONFIGS, STEPS, measure_losses, read_record


def test_record_has_a_row_per_config() -> None:
    assert {name: len(losses) for name, losses in read_record().items()} == dict.fromkeys(CONFIGS, STEPS)


@pytest.mark.parametrize("name", CONFIGS)
def test_losses_equal_the_record(name: str, tmp_path: Path) -> None:
    """Within 1e-5, as CPUs round differently; the line printed says whether they are equal bit for bit."""
    recorded, losses = read_record()[name], measure_losses(name, tmp_path)
    differing = sum(a != b for a, b in zip(recorded, losses, strict=True))
    print(f"{name}: {'bit for bit equal' if not differing else f'{differing} of {STEPS} losses differ'}")
    assert losses == pytest.approx(recorded, rel=1e-5)
