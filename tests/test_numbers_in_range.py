"""A number out of range is one line, wherever it is given."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel
from tiny import config

from seqvae.cli import (
    arithmetic,
    augment,
    bench,
    compare,
    edit,
    evaluate,
    explore,
    export,
    fit_prior,
    generate,
    infill,
    lesson,
    main,
    neighbors,
    plot,
    probe,
    quality,
    rate,
    score,
)
from seqvae.cli import inspect as look
from seqvae.cli import train as training
from seqvae.config.loading import parse_config
from seqvae.config.registry import construct
from seqvae.config.schema import Component, ImageRunConfig, TextRunConfig
from seqvae.errors import UserError
from seqvae.models.text.decoding import GenerationConfig
from seqvae.remedies import REMEDIES
from seqvae.training.loop import train

TOOLS = (arithmetic, augment, edit, export, infill, neighbors)
GROUPS = (
    bench,
    *TOOLS,
    explore,
    lesson,
    look,
    plot,
    fit_prior,
    probe,
    quality,
    rate,
    score,
    training,
    evaluate,
    compare,
    generate,
)
HUGE = ("1" + "0" * 30, "-1" + "0" * 30, "9" * 5000)
NO_NUMBERS = ("nan", "inf", "-inf", "1e308", "1e999")


def members(hint: Any) -> Iterator[Any]:
    """A type, and all types and extras inside it."""
    yield hint
    for inner in get_args(hint):
        yield from members(inner)


def options() -> Iterator[tuple[str, str, str]]:
    """(command, option, value) for every option that takes a number, and numbers that none can take."""
    for command in (command for group in GROUPS for command in group.COMMANDS):
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
            found = list(members(parameter.annotation))
            written = [word for each in found for word in getattr(each, "param_decls", None) or ()]
            plain = f"--{name.strip('_').replace('_', '-')}"
            option = next((word for word in written if word.startswith("--")), plain)
            values = HUGE if int in found else NO_NUMBERS if float in found else ()
            yield from ((verb(command), option, value) for value in values)


def verb(command: Any) -> str:
    return str(command.__name__.strip("_").replace("_", "-"))


def test_there_are_many_of_them() -> None:
    assert len({(command, option) for command, option, _ in options()}) > 40


def arguments(command: str) -> list[str]:
    """What a command cannot do without; none of it is there."""
    needed: dict[str, list[str]] = {
        "interpolate": ["run", "a", "b"],
        "encode": ["run", "--output", "z.npy"],
        "decode": ["run", "--input", "z.npy"],
        "edit": ["run", "--towards", "a", "--away", "b"],
        "augment": ["run", "a", "--output", "a.jsonl", "--label", "y"],
        "export": ["run", "folder"],
        "quality": ["run", "--with", "lm"],
        "probe": ["run", "label"],
        "plot": ["run", "curves", "--output", "a.png"],
        "lesson": ["holes"],
        "compare": ["compare/sentences", "--out", "runs"],
        "bench": [],
        "train": [],
    }
    return needed.get(command, ["run"])


def test_numbers_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command, option, value in options():
        with pytest.raises(SystemExit) as left:
            main([command, *arguments(command), f"{option}={value}"])
        out, err = capsys.readouterr()
        assert (left.value.code, out) == (2, ""), (command, option, value[:40], err)
        assert len(err.splitlines()) == 1, err
        assert option.strip("-") in err, (command, option, err)


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Component:
            yield from fields(kind, f"{path}{name}.")
        elif {int, float} & set(members(kind)) and bool not in members(kind):
            values = ("nan", ".inf", "-.inf", *(HUGE if int in members(kind) else HUGE[2:]))
            yield from ((f"{path}{name}", value) for value in values)


@pytest.mark.parametrize("model", [TextRunConfig, ImageRunConfig])
def test_numbers_of_a_config(model: type[BaseModel]) -> None:
    found = list(fields(model))
    assert len(found) > 100
    for path, value in found:
        with pytest.raises(UserError, match=path):
            parse_config({"modality": model.model_fields["modality"].default}, [f"{path}={value}"])


def test_numbers_of_a_component() -> None:
    for value in (10**30, -(10**30), float("inf"), float("nan")):
        spec = Component.model_validate({"name": "word_dropout", "rate": value})
        with pytest.raises(UserError, match="remedy 'word_dropout', argument 'rate' got"):
            construct("remedy", REMEDIES, spec)


def test_how_to_decode() -> None:
    with pytest.raises(UserError, match="temperature got inf: it must be finite"):
        GenerationConfig(temperature=float("inf"))
    with pytest.raises(UserError, match="temperature got nan: it must be finite"):
        GenerationConfig(temperature=float("nan"))


def test_a_seed_may_be_negative(tmp_path: Path) -> None:
    made = train(config("train.seed=-3", "train.steps=2", "data.split_seed=-1"), tmp_path / "run")
    assert yaml.safe_load((made / "config.yaml").read_text())["train"]["seed"] == -3
