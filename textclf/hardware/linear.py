"""Linear layers with weights in the order that oneDNN multiplies in, for x86 processors.

torch's own layer brings a bf16 weight into that order in each call, and gives fp32 to MKL, which is slow on some
processors. A frozen weight is brought there once: results are the same within rounding, and `python
scripts/benchmark.py likelihood` has both.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from textclf.hardware.precision import choose_precision
from textclf.types import PreTrainedModel

MODELS = {
    *("albert", "bart", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta", "t5"),
    *("xlm-roberta", "bloom", "gemma", "gemma2", "gemma3_text", "gpt_neo", "gpt_neox", "llama", "mistral", "mpt"),
    *("olmo2", "opt", "phi3", "qwen2", "qwen3"),
}
"""Kinds of models that, as they come, call their layers and do no arithmetic with a layer's weight themselves."""


class ReorderedLinear(nn.Linear):
    """A frozen layer on the CPU. Its weight can be counted, but not saved; cast or moved, it is as torch has it."""

    def __init__(self, linear: nn.Linear) -> None:
        """Takes the weight and bias of a layer on the CPU."""
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = _reordered(linear.weight)
        self.bias = linear.bias
        self.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        """What the layer gives, shape `(..., out_features)` from `(..., in_features)`."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return result

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        sample = torch.empty(0, dtype=self.weight.dtype)
        changed = fn(sample)
        if (changed.dtype, changed.device) == (sample.dtype, sample.device):
            return self
        self.weight = nn.Parameter(self.weight.to_dense(), requires_grad=False)
        self.__class__ = nn.Linear  # type: ignore[assignment]  # which it is from here on
        return nn.Linear._apply(self, fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """Copies, and what other processes are sent, hold the weight as torch has it."""
        return {**self.__dict__, "_parameters": {**self._parameters, "weight": self.weight.to_dense()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reorders the weight anew."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.weight = _reordered(self.weight)


def _reordered(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None), requires_grad=False)


def reorder_weights(model: PreTrainedModel) -> None:
    """Reorders the weights of a frozen model of a known kind, where that is faster and no accelerator is there.

    The projection onto the vocabulary is left alone: it may share its weight with the embeddings of tokens.
    """
    dtypes = faster_dtypes()
    adapted = getattr(model, "_hf_peft_config_loaded", False)  # some adapters do arithmetic with a layer's weight
    if model.config.model_type not in MODELS or adapted or not dtypes:
        return
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]

    def ordinary(layer: nn.Module) -> bool:
        if type(layer) is not nn.Linear or layer is head or "forward" in vars(layer):
            return False
        # Quantised weights are tensors of another class, or have another name, in layers of the same one.
        weight = layer._parameters.get("weight")
        return (
            weight is not None
            and type(weight.data) is Tensor
            and weight.device.type == "cpu"
            and weight.dtype in dtypes
        )

    # One at a time, and by name: a list of layers would keep all the old weights beside the new ones.
    for name in [name for name, layer in model.named_modules() if ordinary(layer)]:
        model.set_submodule(name, ReorderedLinear(model.get_submodule(name)))  # type: ignore[arg-type]


def faster_dtypes() -> set[torch.dtype]:
    """What this machine multiplies faster in that order; nothing where there is an accelerator to do it."""
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if torch.accelerator.is_available() or not (onednn and x86):
        return set()
    native = choose_precision("cpu")[0] == "bf16-mixed"
    return {torch.float32, torch.bfloat16} if native else {torch.float32}
