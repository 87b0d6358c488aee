"""Run configs: schema, loading, overrides, registry of components, shipped configs."""

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
