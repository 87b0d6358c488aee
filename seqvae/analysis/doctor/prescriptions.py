"""Config lines, as `--set` takes them, that change a list of remedies or lay values over a config."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from typing import Any

from seqvae.config.schema import Component, RunConfig

BETA = frozenset(
    {
        "constant_beta", "linear_annealing", "sigmoid_annealing", "cosine_annealing", "exponential_annealing",
        "cyclical_annealing", "control_vae", "geco",
    }
)  # fmt: skip
FLOORS = frozenset({"free_bits", "free_bits_example", "free_bits_total"})
TARGETS = frozenset({"capacity", "target_rate"})
RATE = BETA | FLOORS | TARGETS | {"kl_dropout"}  # all that decides the rate


def remedies_line(
    config: RunConfig, without: frozenset[str] = frozenset(), plus: Sequence[dict[str, Any]] = ()
) -> str:
    """`remedies=[...]`: those of the config but for the names in `without`, then those in `plus`.

    Example:
        >>> from seqvae.config.loading import parse_config
        >>> config = parse_config({"remedies": [{"name": "free_bits", "nats": 4}, {"name": "align"}]})
        >>> remedies_line(config, FLOORS, [{"name": "linear_annealing"}])
        'remedies=[{"name": "align"}, {"name": "linear_annealing"}]'
    """
    names = without | {remedy["name"] for remedy in plus}
    kept = [remedy.model_dump() for remedy in config.remedies if remedy.name not in names]
    return f"remedies={dumps([*kept, *plus])}"


def annealed_floor(nats: float, dim: int) -> list[dict[str, Any]]:
    """Remedies: a slow start of beta, and free bits of `nats` in all dims together, at least .1 per dim."""
    per_dim = round(max(0.1, nats / max(1, dim)), 3)
    return [{"name": "linear_annealing"}, {"name": "free_bits", "nats": per_dim}]


def gaussian_line(config: RunConfig, dim: int) -> tuple[str, ...]:
    """The line that makes the code a plain Gaussian; nothing where it is one."""
    return () if config.latent.name == "gaussian" else (f'latent={{"name": "gaussian", "dim": {dim}}}',)


def pooling_line(config: RunConfig) -> tuple[str, ...]:
    """The line that lets a recurrent encoder pool over all tokens; nothing where it does."""
    recurrent = config.encoder.name in ("gru", "lstm")
    wanted = recurrent and config.encoder.arguments.get("pooling") != "max"
    return ("encoder.pooling=max",) if wanted else ()


def remedy(config: RunConfig, name: str) -> Component | None:
    """The first remedy of that name."""
    return next((one for one in config.remedies if one.name == name), None)


def setting(config: RunConfig, name: str, argument: str, default: float = 0.0) -> float:
    """An argument of a remedy; `default` where the remedy is not there or does not say."""
    found = remedy(config, name)
    return default if found is None else float(found.arguments.get(argument, default))
