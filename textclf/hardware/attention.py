"""Attention by plain matrix products, for processors that compute bf16 natively.

There torch's fused kernel works through small blocks, and for the lengths of prompts and sentences two matrix products
are faster (`python scripts/benchmark.py likelihood` has both). They need memory for all scores at once, so that long
rows are left to the fused kernel, as is whatever else a model asks of it. Only kinds of models that were compared with
that kernel are changed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textclf.types import PreTrainedModel

NAME = "textclf_products"
MOST_SCORES = 2**26  # of a batch in one layer: 128 MiB in bf16
MODELS = ("gemma", "gpt2", "gpt_neox", "llama", "mistral", "olmo2", "opt", "phi3", "qwen2", "qwen3")
IDLE = {"position_ids", "sliding_window", "use_cache"}
"""What models hand on to their attention although the mask, or the caller, has seen to it."""


def use_products(model: PreTrainedModel) -> None:
    """Makes a bf16 model of a known kind attend by products instead of `sdpa`, where there is no GPU to run it."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    known = model.config.model_type in MODELS and model.config._attn_implementation == "sdpa"
    if known and model.dtype == torch.bfloat16 and not torch.cuda.is_available():
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attends as transformers' `sdpa` does, whose arguments it takes.

    Args:
        module: The layer.
        query: Shape (batch, heads, seq, width).
        key: Shape (batch, key heads, cached + seq, width).
        value: Shape (batch, key heads, cached + seq, width).
        attention_mask: None, boolean, or to be added to the scores; (batch, 1, seq, cached + seq).
        scaling: Of the scores; by default one by the root of the width.
        options: What else a model asks for.

    Returns:
        Shape (batch, seq, heads, width); and None in the place of the weights.
    """
    batch, heads, seq, width = query.shape
    length = key.shape[2]
    large = batch * heads * seq * length > MOST_SCORES
    if query.device.type != "cpu" or attention_mask is None or large or not _plain(options):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    scale = width**-0.5 if scaling is None else scaling
    # Heads that share a key head stand below each other, so that keys need not be repeated.
    rows = (query * scale).reshape(batch, key.shape[1], -1, width)
    scores = (rows @ key.transpose(-1, -2)).view(batch, heads, seq, length)
    if attention_mask.dtype == torch.bool:
        scores.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
    else:
        scores += attention_mask
    weights = scores.softmax(-1).view(batch, key.shape[1], -1, length)
    return (weights @ value).view(batch, heads, seq, -1).transpose(1, 2).contiguous(), None


def _plain(options: dict[str, Any]) -> bool:
    """Whether nothing is asked for that only the fused kernel, or the model's own way, may do."""
    unknown = (value for name, value in options.items() if name not in IDLE and name != "dropout")
    return not options.get("dropout") and all(value is None for value in unknown)
