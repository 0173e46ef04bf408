"""Linear layers with weights in the order that oneDNN multiplies in, for x86 processors.

torch's own layer brings a bf16 weight into that order in each call, and gives fp32 to MKL, which is slow on some
processors. A frozen weight is brought there once: results are the same within rounding, and `python
scripts/benchmark.py likelihood` shows what that is worth.
"""

from __future__ import annotations

import platform

import torch
from torch import Tensor, nn

from textclf.precision import choose_precision
from textclf.types import PreTrainedModel

MODELS = {
    *("albert", "bart", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta", "t5"),
    *("xlm-roberta", "bloom", "gemma", "gemma2", "gemma3_text", "gpt_neo", "gpt_neox", "llama", "mistral", "mpt"),
    *("olmo2", "opt", "phi3", "qwen2", "qwen3"),
}
"""Kinds of models that call their layers, and do no arithmetic with a layer's weight themselves (by the tests)."""


class ReorderedLinear(nn.Linear):
    """A frozen layer, whose weight can be counted, but neither saved nor moved."""

    def __init__(self, linear: nn.Linear) -> None:
        """Takes the weight and bias of a layer on the CPU."""
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        reordered = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.weight = nn.Parameter(reordered, requires_grad=False)
        self.bias = linear.bias

    def forward(self, input: Tensor) -> Tensor:
        """What the layer gives, shape `(..., out_features)` from `(..., in_features)`."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return result


def reorder_weights(model: PreTrainedModel) -> None:
    """Reorders the weights of a frozen model of a known kind, where that is faster and no accelerator is there.

    The projection onto the vocabulary is left alone: it shares its weight with the embeddings of tokens.
    """
    dtypes = faster_dtypes()
    if model.config.model_type not in MODELS or not dtypes:
        return
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    for name, layer in list(model.named_modules()):
        # Quantised weights are tensors of another class, in layers of the same one.
        ordinary = type(layer) is nn.Linear and type(layer.weight.data) is Tensor and layer is not head
        if ordinary and layer.weight.dtype in dtypes and layer.weight.device.type == "cpu":
            model.set_submodule(name, ReorderedLinear(layer))


def faster_dtypes() -> set[torch.dtype]:
    """What this machine multiplies faster in that order; nothing where there is an accelerator to do it."""
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if torch.accelerator.is_available() or not (onednn and x86):
        return set()
    native = choose_precision("cpu")[0] == "bf16-mixed"
    return {torch.float32, torch.bfloat16} if native else {torch.float32}
