"""A pretrained network inside a VAE: what of it trains, and what of it a run saves."""

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
    """Low-rank changes of linear layers, W + (alpha / r) B A, B zero at first.

    Hu et al. 2022, LoRA: Low-Rank Adaptation of Large Language Models. `targets` are the names of the layers
    (`q_proj`); without any they are those that `peft` takes for this architecture.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)
    r: Annotated[int, Field(gt=0)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ()


class Backbone(nn.Module):
    """Holds a pretrained network; its state dict has only what trains.

    A frozen one stays in evaluation mode: its dropout would be noise in what the rest learns from.

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
        """Training mode for what trains."""
        return super().train(mode and self.mode != "frozen")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network makes of its inputs."""
        return self.network(*args, **kwargs)


def leave_out(module: nn.Module, kept: Callable[[str], bool] = lambda name: False) -> None:
    """Let state dicts of `module` leave out all names but those that are `kept`.

    Call it when the names are final, after LoRA went in. Loading takes what is left out from the module.
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
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in network.modules()),  # GPT-2's
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
    """Whether LoRA can change it: a linear layer, or GPT-2's, whose weight is transposed."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def parameter_counts(module: nn.Module) -> tuple[int, int]:
    """How many parameters there are, and how many of them train."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)
