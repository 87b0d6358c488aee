"""A pretrained network inside a VAE: frozen, LoRA or full training, and which weights a run saves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field
from torch import Tensor, nn

from seqvae.errors import UserError

Train = Literal["frozen", "lora", "full"]


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates of linear layers, W + (alpha / r) B A, with B initialised to zero.

    Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models. `targets` are the names of the layers
    (`q_proj`), by default those that `peft` chooses for the architecture.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    r: Annotated[int, Field(gt=0)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ()


class Backbone(nn.Module):
    """A pretrained network whose state dict holds only the weights that are trained.

    A frozen one stays in evaluation mode, because its dropout would add noise to the inputs of the rest.

    Raises:
        UserError: a LoRA target that the network does not have, or `peft` is not installed.
    """

    def __init__(self, network: nn.Module, train: Train, lora: LoRA) -> None:
        super().__init__()
        self.network: Any = network
        self.mode = train
        network.requires_grad_(train == "full")
        if train == "lora":
            _add_lora(network, lora)
        if train != "full":
            leave_out(network, lambda name: "lora_" in name)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for a frozen network."""
        return super().train(mode and self.mode != "frozen")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the network."""
        return self.network(*args, **kwargs)


def leave_out(module: nn.Module, kept: Callable[[str], bool] = lambda name: False) -> None:
    """Exclude all names from state dicts of `module` except those that are `kept`.

    Call it when the names are final, after adding LoRA. On loading, excluded values are those of the module.
    """
    names = [name for name in module.state_dict() if not kept(name)]

    def drop(_: nn.Module, state: dict[str, Tensor], prefix: str, __: Any) -> None:
        for name in names:
            state.pop(prefix + name, None)

    def fill(owner: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        own = dict(owner.named_parameters(remove_duplicate=False)) | dict(owner.named_buffers())
        for name in names:
            state.setdefault(prefix + name, own[name].detach())

    module.register_state_dict_post_hook(drop)  # type: ignore[no-untyped-call]
    module.register_load_state_dict_pre_hook(fill)  # type: ignore[no-untyped-call]


def _add_lora(network: Any, lora: LoRA) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UserError("train: lora needs peft: pip install 'seqvae[pretrained]'") from None
    targets = list(lora.targets) or None
    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets,
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in network.modules()),  # GPT-2's linear layer
    )
    try:
        inject_adapter_in_model(settings, network)
    except ValueError as error:
        linear = {name.rpartition(".")[2] for name, m in network.named_modules() if _is_linear(m)}
        known = ", ".join(sorted(linear))
        raise UserError(
            f"lora.targets got {targets}, which fit no layer ({str(error).splitlines()[0]}): known: {known}"
        ) from None


def _is_linear(module: nn.Module) -> bool:
    """Whether LoRA applies: a linear layer, or GPT-2's `Conv1D`, whose weight is transposed."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def parameter_counts(module: nn.Module) -> tuple[int, int]:
    """Number of all parameters, and of those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)
