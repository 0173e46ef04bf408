"""Faster replacements on a CPU for three parts of a network: attention, linear layers and dropout.

They compute what torch's own parts compute, within rounding (dropout draws other random numbers). `python
scripts/benchmark.py likelihood` times a model with and without the first two.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from textclf.hardware.precision import choose_precision
from textclf.types import PreTrainedModel

ATTENTION = "textclf_products"
"""Name under which `attend` is registered with transformers."""
ATTENTION_MODELS = ("gemma", "gpt2", "gpt_neox", "llama", "mistral", "olmo2", "opt", "phi3", "qwen2", "qwen3")
"""Kinds of models whose results with `attend` were compared with those of torch's fused kernel."""
MAX_SCORES = 2**26
"""Number of attention scores of a batch in one layer that `attend` computes at once: 128 MiB in bf16."""
IGNORED_OPTIONS = {"position_ids", "sliding_window", "use_cache"}
"""Options that models pass to their attention although the mask, or the caller, has already applied them."""
LINEAR_MODELS = {
    *("albert", "bart", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta", "t5"),
    *("xlm-roberta", "bloom", "gemma", "gemma2", "gemma3_text", "gpt_neo", "gpt_neox", "llama", "mistral", "mpt"),
    *("olmo2", "opt", "phi3", "qwen2", "qwen3"),
}
"""Kinds of models that, as transformers has them, call their linear layers and never use a layer's weight directly."""
DROPOUT_STEPS = 2**16
"""Number of different values of the 16-bit random numbers of `drop`."""


def attention_of(model: PreTrainedModel) -> str | None:
    """The name of the attention function that a model uses, such as `sdpa`.

    (transformers has a public `set_attn_implementation`, but nothing public that reads it.)
    """
    name: str | None = model.config._attn_implementation
    return name


def use_products(model: PreTrainedModel) -> None:
    """Replaces `sdpa` attention by `attend` in a bf16 model of a known kind, if there is no GPU.

    On processors that compute bf16 natively, torch's fused kernel works through small blocks; for the lengths of
    prompts and sentences two matrix products are faster.
    """
    # Both load modules of transformers that take seconds to import.
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    known = model.config.model_type in ATTENTION_MODELS and attention_of(model) == "sdpa"
    if known and model.dtype == torch.bfloat16 and not torch.cuda.is_available():
        AttentionInterface.register(ATTENTION, attend)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.set_attn_implementation(ATTENTION)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention by two plain matrix products; the signature and the result are those of transformers' `sdpa`.

    Long rows, for which the matrix of all scores would need too much memory, and options that it does not implement
    are left to the fused kernel.

    Args:
        module: The attention layer.
        query: Shape (batch, heads, seq, width).
        key: Shape (batch, key heads, cached + seq, width).
        value: Shape (batch, key heads, cached + seq, width).
        attention_mask: None, a boolean mask, or a mask that is added to the scores; (batch, 1, seq, cached + seq).
        scaling: Factor of the scores; by default the width to the power of -0.5.
        options: Further options of the model.

    Returns:
        Shape (batch, seq, heads, width), and None in place of the attention weights.
    """
    batch, heads, seq, width = query.shape
    length = key.shape[2]
    too_large = batch * heads * seq * length > MAX_SCORES
    if query.device.type != "cpu" or attention_mask is None or too_large or not _is_plain(options):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward  # takes seconds to import

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    scale = width**-0.5 if scaling is None else scaling
    # Query heads that share a key head become rows of one matrix, so that keys need not be repeated.
    rows = (query * scale).reshape(batch, key.shape[1], -1, width)
    scores = (rows @ key.transpose(-1, -2)).view(batch, heads, seq, length)
    if attention_mask.dtype == torch.bool:
        scores.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
    else:
        scores += attention_mask
    weights = scores.softmax(-1).view(batch, key.shape[1], -1, length)
    return (weights @ value).view(batch, heads, seq, -1).transpose(1, 2).contiguous(), None


def _is_plain(options: dict[str, Any]) -> bool:
    """Whether a model's options ask for nothing that only the fused kernel implements."""
    for name, value in options.items():
        if name == "dropout":
            if value:
                return False
        elif name not in IGNORED_OPTIONS and value is not None:
            return False
    return True


class ReorderedLinear(nn.Linear):
    """A frozen linear layer on the CPU, its weight in the order in which oneDNN multiplies.

    torch's own layer brings a bf16 weight into that order in each call, and passes fp32 to MKL, which is slow on some
    processors. The weight can be counted, but not saved; cast or moved, the layer becomes an `nn.Linear`.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Copies the weight of a layer on the CPU, and shares its bias."""
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = _reordered(linear.weight)
        self.bias = linear.bias
        self.train(linear.training)

    def forward(self, input: Tensor) -> Tensor:
        """Applies the layer: shape `(..., in_features)` to `(..., out_features)`."""
        return _multiply(input, self.weight, self.bias)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        sample = torch.empty(0, dtype=self.weight.dtype)
        changed = fn(sample)
        if (changed.dtype, changed.device) == (sample.dtype, sample.device):
            return self
        self.weight = nn.Parameter(self.weight.to_dense(), requires_grad=False)
        self.__class__ = nn.Linear  # type: ignore[assignment]  # the order is lost: an ordinary layer from here on
        return nn.Linear._apply(self, fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """Gives copies, and other processes, the weight in torch's own order: the other cannot be pickled."""
        return {**self.__dict__, "_parameters": {**self._parameters, "weight": self.weight.to_dense()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Reorders the weight again."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.weight = _reordered(self.weight)


def _reordered(weight: Tensor) -> nn.Parameter:
    """A weight in oneDNN's order.

    (torch has no public way to do it; its compiler, `torch.compile` with frozen weights, uses this same operator.)
    """
    return nn.Parameter(torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None), requires_grad=False)


def _multiply(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer with a weight in oneDNN's order; see `_reordered` for why the operator is not a public one."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return result


def reorder_weights(model: PreTrainedModel) -> None:
    """Makes the linear layers of a frozen model of a known kind `ReorderedLinear`, where these are faster.

    The projection onto the vocabulary is left as it is: it may share its weight with the embeddings of tokens.
    """
    dtypes = faster_dtypes()
    has_adapter = hasattr(model, "peft_config")  # some adapters use a layer's weight directly
    if model.config.model_type not in LINEAR_MODELS or has_adapter or not dtypes:
        return
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    names = [name for name, layer in model.named_modules() if layer is not head and _can_be_reordered(layer, dtypes)]
    # One layer after the other, and by name: a list of layers would keep all the old weights in memory.
    for name in names:
        model.set_submodule(name, ReorderedLinear(model.get_submodule(name)))  # type: ignore[arg-type]


def _can_be_reordered(layer: nn.Module, dtypes: set[torch.dtype]) -> bool:
    """Whether a module is an unchanged `nn.Linear` with an ordinary weight of one of some types on the CPU."""
    if type(layer) is not nn.Linear or "forward" in vars(layer):
        return False
    # Quantised weights are of a subclass of `Tensor`, or have another name, in layers of this same class.
    weight = dict(layer.named_parameters(recurse=False)).get("weight")
    if weight is None or type(weight.data) is not Tensor:
        return False
    return weight.device.type == "cpu" and weight.dtype in dtypes


def faster_dtypes() -> set[torch.dtype]:
    """The types of weights for which `ReorderedLinear` is faster on this machine; none if it has an accelerator."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if torch.accelerator.is_available() or not (has_onednn and is_x86):
        return set()
    has_bf16 = choose_precision("cpu")[0] == "bf16-mixed"
    return {torch.float32, torch.bfloat16} if has_bf16 else {torch.float32}


def drop(values: Tensor, probability: float) -> Tensor:
    """Sets values to 0 with a probability, and scales the others so that the mean is kept.

    On a GPU it is `torch.nn.functional.dropout`. On a CPU torch draws one random number for each value, on one core;
    here a 64-bit number serves four values, so that the probability is rounded to a multiple of 1/65,536.

    Args:
        values: Of any shape.
        probability: From 0 to 1.

    Returns:
        A tensor of the same shape and type.
    """
    dropped_steps = round(probability * DROPOUT_STEPS)
    if values.device.type != "cpu" or not 0 < dropped_steps < DROPOUT_STEPS:
        return nn.functional.dropout(values, probability)
    numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    steps = numbers.view(torch.int16)[: values.numel()].view(values.shape)
    kept = torch.empty_like(values, requires_grad=False)
    torch.ge(steps, dropped_steps - DROPOUT_STEPS // 2, out=kept)  # int16 begins at -DROPOUT_STEPS / 2
    return values * kept.mul_(DROPOUT_STEPS / (DROPOUT_STEPS - dropped_steps))


class FastDropout(nn.Dropout):
    """`torch.nn.Dropout` that uses `drop`."""

    def forward(self, input: Tensor) -> Tensor:
        """Applies dropout in training mode."""
        return drop(input, self.p) if self.training else input


def use_fast_dropout(network: nn.Module) -> None:
    """Makes each `torch.nn.Dropout` of a network a `FastDropout`."""
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = FastDropout
