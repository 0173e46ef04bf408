"""LoRA: small matrices beside frozen ones, trained in their place.

Source: Hu et al., 2021, https://arxiv.org/abs/2106.09685.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from textclf.errors import UserError
from textclf.types import PreTrainedModel


@dataclass(frozen=True)
class LoraSettings:
    """What `peft.LoraConfig` is told.

    Attributes:
        rank: Of the matrices.
        alpha: Their product is multiplied with alpha / rank.
        dropout: Share of their input that is dropped in training.
        target_modules: Names of the modules that get them, or `all-linear`; by default the queries and values, or
            what peft knows of the architecture.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    target_modules: str | list[str] | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be built, or not without `peft`."""
        if self.rank < 1:
            raise UserError(f"lora: rank {self.rank} is too small: give 1 or more")
        if self.alpha < 1:
            raise UserError(f"lora: alpha {self.alpha} is too small: give 1 or more, such as 16")
        if not 0 <= self.dropout < 1:
            raise UserError(f"lora: dropout {self.dropout} is no share: give 0 up to, not including, 1")
        if find_spec("peft") is None:
            raise UserError("lora needs the package peft: pip install 'textclf[lora]'")


def add_lora(network: PreTrainedModel, settings: LoraSettings, pretrained: set[int]) -> None:
    """Puts adapters into a network, and freezes all but them, the head, and what is not pretrained.

    Args:
        network: An encoder with a classification head; it is changed in place.
        settings: Of the adapters.
        pretrained: `id` of each parameter that is.

    Raises:
        UserError: The architecture has no such modules, or peft needs to be told which to take.
    """
    from peft import LoraConfig, inject_adapter_in_model

    head = {id(p) for p in network.parameters()} - {id(p) for p in network.base_model.parameters()}
    free = [p for p in network.parameters() if id(p) in head or id(p) not in pretrained]
    try:
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=settings.target_modules,
            task_type="SEQ_CLS",
        )
        inject_adapter_in_model(config, network)
    except (ValueError, TypeError) as error:
        names = sorted(
            {name.rpartition(".")[2] for name, module in network.named_modules() if hasattr(module, "weight")}
        )
        raise UserError(
            f"lora: target_modules {settings.target_modules}: {str(error).splitlines()[0]} "
            f"The modules are named {', '.join(names)}"
        ) from error
    for parameter in free:
        parameter.requires_grad_(True)


def merged(network: PreTrainedModel) -> Any:
    """A copy of a network, any adapters added to the weights beside them: what `transformers` alone can read."""
    network = deepcopy(network)
    for name, module in list(network.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())
    return network
