"""Configs of runs: their schema, reading and writing them, the registry, and those shipped."""

from __future__ import annotations

from seqvae.config.loading import dump_config, load_config, parse_config
from seqvae.config.schema import (
    RUN_CONFIGS,
    Component,
    DataConfig,
    ImageDataConfig,
    ImageRunConfig,
    InitConfig,
    LabelConfig,
    RunConfig,
    TextDataConfig,
    TextRunConfig,
    TrainConfig,
)

__all__ = [
    "RUN_CONFIGS",
    "Component",
    "DataConfig",
    "ImageDataConfig",
    "ImageRunConfig",
    "InitConfig",
    "LabelConfig",
    "RunConfig",
    "TextDataConfig",
    "TextRunConfig",
    "TrainConfig",
    "dump_config",
    "load_config",
    "parse_config",
]
