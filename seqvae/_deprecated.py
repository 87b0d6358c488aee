"""Old import paths and names keep working and warn: each is one row of a table here."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# old module or folder -> the modules that hold its content now
MODULES: dict[str, tuple[str, ...]] = {
    "seqvae.api": ("seqvae.inference",),
    "seqvae.batch": (
        "seqvae.data.text.batch",
        "seqvae.data.image.batch",
        "seqvae.interfaces.outputs",
        "seqvae.interfaces.batch",
    ),
    "seqvae.checkpoint": ("seqvae.runs.run_folder", "seqvae.runs.checkpoint"),
    "seqvae.compare": ("seqvae.experiments.compare",),
    "seqvae.conditions": ("seqvae.models.conditioning",),
    "seqvae.data.image.cache": ("seqvae.data.cache",),
    "seqvae.data.text.cache": ("seqvae.data.cache",),
    "seqvae.evaluate": ("seqvae.evaluation.evaluate",),
    "seqvae.evaluation.metrics.active_units": ("seqvae.evaluation.metrics.latent_usage",),
    "seqvae.evaluation.metrics.image_scores": ("seqvae.evaluation.metrics.image",),
    "seqvae.evaluation.metrics.rate": ("seqvae.evaluation.metrics.latent_usage",),
    "seqvae.generate": ("seqvae.models.sampling",),
    "seqvae.image": ("seqvae.models.image", "seqvae.data.image"),
    "seqvae.latents": ("seqvae.models.latents",),
    "seqvae.lessons": ("seqvae.experiments.lessons",),
    "seqvae.metrics": ("seqvae.evaluation.metrics",),
    "seqvae.model": ("seqvae.models.vae",),
    "seqvae.objective": ("seqvae.objectives",),
    "seqvae.priors": ("seqvae.models.priors",),
    "seqvae.quality": ("seqvae.analysis.sample_quality",),
    "seqvae.registry": ("seqvae.errors", "seqvae.config.registry"),
    "seqvae.shipped": ("seqvae.config.shipped",),
    "seqvae.synthetic": ("seqvae.data.synthetic",),
    "seqvae.text": ("seqvae.models.text", "seqvae.data.text"),
    "seqvae.train": ("seqvae.training.loop",),
    "seqvae.wings": ("seqvae.modalities",),
}
# new module -> {old name: new name}
NAMES: dict[str, dict[str, str]] = {
    "seqvae.inference": {"FACES": "VAE_CLASSES"},
    "seqvae.interfaces": {
        "Codec": "Processor",
        "Facts": "RunContext",
        "Feed": "BatchSource",
        "Labelled": "LabeledSplit",
        "Measures": "ModalityMetrics",
        "Sourced": "Citable",
        "stands_for": "point_estimate",
    },
    "seqvae.modalities": {"WINGS": "MODALITIES", "Wing": "Modality"},
    "seqvae.models.conditioning": {
        "Hearing": "ConditionedModule",
        "Layers": "ConditionedSequential",
        "Modulation": "FiLM",
        "beside": "concat_condition",
        "modulated": "film_layers",
        "widened": "extend_inputs",
    },
    "seqvae.objectives": {"ENCODER_SIDE": "INFERENCE_PARTS"},
}
# module -> {name: the module that holds it now}
MOVED: dict[str, dict[str, str]] = {
    "seqvae.runs.checkpoint": dict.fromkeys(
        ("Run", "TRAINED", "create_run", "load_parts", "load_run", "read_card", "update_card", "write_card"),
        "seqvae.runs.run_folder",
    ),
    "seqvae.inference.posthoc_priors": dict.fromkeys(
        ("FitBudget", "fit_posthoc_prior"), "seqvae.inference.posthoc_prior_fit"
    ),
}
# methods of remedies that users wrote
HOOKS = {
    "adversary": "discriminator",
    "decoder_codes": "on_latent",
    "decoder_reads": "on_decoder_input",
    "encoder_first": "extra_encoder_step",
    "encoder_reads": "on_encoder_input",
    "extra": "auxiliary_losses",
    "settled_at": "schedule_end",
    "shape_kl": "transform_kl",
    "shapes_whole_kl": "transforms_whole_kl",
    "trained_parts": "trainable_parts",
}


def warn_renamed(old: str, new: str, level: int = 3) -> None:
    """Warn that `old` is called `new` now."""
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=level)


def renamed_names(module: str) -> Callable[[str], Any]:
    """Make a module's `__getattr__` that also finds its objects by old names, or those that moved away."""
    places = {old: (module, new) for old, new in NAMES.get(module, {}).items()}
    places |= {name: (home, name) for name, home in MOVED.get(module, {}).items()}

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, new = places[name]
        warn_renamed(f"{module}.{name}", f"{home}.{new}")
        return getattr(import_module(home), new)

    return get


def adopt_old_hooks(cls: type) -> None:
    """Give a remedy's methods with old names their new ones."""
    for old, new in HOOKS.items():
        if old in vars(cls) and new not in vars(cls):
            warn_renamed(f"{cls.__name__}.{old}", new, level=4)
            setattr(cls, new, vars(cls)[old])


def new_homes(name: str) -> tuple[str, ...]:
    """The modules that hold the content of an old module; empty for any other name."""
    if name in MODULES:
        return MODULES[name]
    folder, _, rest = name.rpartition(".")
    return tuple(f"{home}.{rest}" for home in MODULES.get(folder, ()))


class _AliasLoader(Loader):
    """Makes an empty module whose attributes are looked up in the new modules."""

    def __init__(self, homes: Sequence[ModuleType]) -> None:
        self.homes = homes

    def exec_module(self, module: ModuleType) -> None:
        """Redirect attributes to the new modules, by old or new name."""
        old = module.__name__
        warn_renamed(old, " or ".join(home.__name__ for home in self.homes), level=5)

        def get(name: str) -> Any:
            for home in self.homes:
                renamed = NAMES.get(home.__name__, {}).get(name, name)
                if hasattr(home, renamed):
                    return getattr(home, renamed)
            raise AttributeError(f"module {old!r} has no attribute {name!r}")

        module.__dict__["__getattr__"] = get


class _OldModules(MetaPathFinder):
    """Finds modules by their old import paths; the last finder, so existing modules take precedence."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of an alias, or None."""
        homes = []
        for home in new_homes(fullname):
            try:
                homes.append(import_module(home))
            except ModuleNotFoundError as error:
                if error.name != home:
                    raise
        if not homes:
            return None
        return ModuleSpec(fullname, _AliasLoader(homes), is_package=fullname in MODULES)


def install() -> None:
    """Make old import paths work from here on."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())
