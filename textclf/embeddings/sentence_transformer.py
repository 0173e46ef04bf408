"""Changes to models of sentence-transformers: pooling and dtype; and their configuration for the cache's key."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from textclf.backbones.tokenizer_files import tokenizer_files
from textclf.embeddings.settings import DType, Pooling
from textclf.errors import UserError
from textclf.hardware.kernels import reorder_weights
from textclf.hardware.precision import choose_precision

PROVENANCE = ("_name_or_path", "transformers_version")
"""Entries of a configuration that name the origin of a model, and do not change what it computes."""


def set_pooling(model: Any, pooling: Pooling, reference: str) -> None:
    """Replaces the pooling module of a model.

    Args:
        model: A `SentenceTransformer`; changed in place.
        pooling: The new pooling.
        reference: Of the model, for the error.

    Raises:
        UserError: The model has no pooling module.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

    for name, module in model.named_children():
        if isinstance(module, PoolingModule):
            new = PoolingModule(module.embedding_dimension, pooling, include_prompt=module.include_prompt)
            setattr(model, name, new)
            return
    raise UserError(f"embedding: {reference!r} has no pooling module: leave pooling {pooling!r} out")


def set_dtype(model: Any, dtype: DType) -> str:
    """Casts the transformer of a model to a dtype; the modules after it, such as pooling, compute in fp32.

    Args:
        model: A `SentenceTransformer`; changed in place.
        dtype: The dtype; `auto` is bf16 where the hardware has it natively, else fp32.

    Returns:
        The dtype of the transformer; fp32 if the model has none.
    """
    from sentence_transformers.base.modules import Transformer

    model.float()
    first = model[0]
    if not isinstance(first, Transformer):
        return "float32"
    name: str = dtype
    if name == "auto":
        accelerator = model.device.type if model.device.type in ("cuda", "mps") else "cpu"
        precision, _ = choose_precision(accelerator)
        name = "bfloat16" if precision == "bf16-mixed" else "float32"
    first.to(getattr(torch, name))
    reorder_weights(first.model)
    first.register_forward_hook(_cast_outputs_to_fp32)
    return name


def _cast_outputs_to_fp32(module: nn.Module, inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    for name, value in features.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            features[name] = value.float()
    return features


def configuration(model: Any) -> list[Any]:
    """The modules of a `SentenceTransformer`, their settings, and its tokenizer: all but the weights."""
    from transformers import PreTrainedTokenizerBase

    modules = []
    for module in model.children():
        settings = module.get_config_dict() if hasattr(module, "get_config_dict") else {}
        modules.append([type(module).__name__, repr(settings)])
    tokenizer = model.tokenizer
    files: Any
    if isinstance(tokenizer, PreTrainedTokenizerBase):
        files = tokenizer_files(tokenizer)
    elif hasattr(tokenizer, "to_str"):
        files = tokenizer.to_str()
    else:
        files = repr(tokenizer)
    config = {} if model.config is None else model.config.to_dict()
    for name in PROVENANCE:
        config.pop(name, None)
    return [modules, config, files]
