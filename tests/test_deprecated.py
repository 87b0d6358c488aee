"""Old import paths, names and hooks work, with a warning that has the new name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch

from seqvae._deprecated import HOOKS, MODULES, MOVED, NAMES, new_homes
from seqvae.inference import TextVAE


@pytest.mark.parametrize("old", MODULES)
def test_old_module_gives_the_new_one_s_content(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{old} is deprecated: use seqvae\."):
        alias = _fresh(old)
    for home in map(import_module, new_homes(old)):
        public = [name for name in getattr(home, "__all__", vars(home)) if not name.startswith("_")]
        for name in public[:3]:
            assert hasattr(alias, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        alias.nothing  # noqa: B018


def _fresh(name: str) -> object:
    import sys

    sys.modules.pop(name, None)
    return import_module(name)


def test_old_paths_of_files_in_folders() -> None:
    with pytest.warns(DeprecationWarning, match=r"seqvae\.latents is deprecated"):
        _fresh("seqvae.latents")
    with pytest.warns(DeprecationWarning, match=r"seqvae\.latents\.gaussian is deprecated"):
        gaussian = _fresh("seqvae.latents.gaussian")
    assert gaussian.Gaussian is import_module("seqvae.models.latents.gaussian").Gaussian  # type: ignore[attr-defined]
    with pytest.raises(ModuleNotFoundError):
        import_module("seqvae.nowhere")


@pytest.mark.parametrize(("module", "old"), [(m, old) for m, names in NAMES.items() for old in names])
def test_every_new_name_is_there(module: str, old: str) -> None:
    assert hasattr(import_module(module), NAMES[module][old])


@pytest.mark.parametrize("module", ["seqvae.interfaces", "seqvae.inference", "seqvae.objectives"])
def test_old_names_of_public_modules(module: str) -> None:
    home = import_module(module)
    for old, new in NAMES[module].items():
        with pytest.warns(DeprecationWarning, match=rf"{module}\.{old} is deprecated: use {module}\.{new}"):
            assert getattr(home, old) is getattr(home, new)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        home.nothing  # noqa: B018


@pytest.mark.parametrize("old", MOVED)
def test_names_that_moved(old: str) -> None:
    for name, home in MOVED[old].items():
        with pytest.warns(DeprecationWarning, match=rf"{old}\.{name} is deprecated: use {home}\.{name}"):
            assert getattr(import_module(old), name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        import_module(old).nothing  # noqa: B018


def test_hooks_by_their_old_names() -> None:
    from seqvae.interfaces import Remedy

    assert all(hasattr(Remedy, new) for new in HOOKS.values())
    with pytest.warns(DeprecationWarning, match=r"Halve\.shape_kl is deprecated: use transform_kl"):

        class Halve(Remedy):
            def shape_kl(self, kl: torch.Tensor, out: object, step: int) -> torch.Tensor:
                return kl / 2

    assert Halve().transform_kl(torch.ones(2), None, 0).tolist() == [0.5, 0.5]  # type: ignore[arg-type]


def test_batches_by_the_old_name_of_replace() -> None:
    from tiny_text import text_batch

    batch = text_batch()
    with pytest.warns(DeprecationWarning, match="use replace"):
        assert batch.changed(labels=batch.labels).index is batch.index


def test_method_by_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(TextVAE, "shift", lambda *given, **options: asked.append((given, options)))
    vae = object.__new__(TextVAE)
    with pytest.warns(DeprecationWarning, match=r"TextVAE\.shifted is deprecated: use TextVAE\.shift"):
        vae.shifted(["a dog ."], 1.0, constraint="a.*")
    assert asked == [((vae, ["a dog ."], 1.0), {"constraint": "a.*"})]
