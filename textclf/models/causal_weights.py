"""Causal language models and their tokenizers, from wherever transformers reads them; GGUF files too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from textclf.attention import use_products
from textclf.errors import UserError
from textclf.hub import loading, local_reference
from textclf.linear import reorder_weights
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

REMEDY = "pass --model.pretrained with a causal LM: a hub id that can be reached, a folder, package://, or a .gguf file"
SHARED_OPTIONS = ("revision", "subfolder", "trust_remote_code", "token", "cache_dir")
"""Those of `load_options` that hold for config and tokenizer, too."""


def source(reference: str) -> tuple[str, dict[str, str]]:
    """Where to load from, and which file of it.

    `folder/model.gguf` is a file of `folder`; where there is no such file, `owner/name/more/model.gguf` is the file
    `more/model.gguf` of the hub's `owner/name`.
    """
    place = local_reference(reference)
    if not place.lower().endswith(".gguf"):
        return place, {}
    path = PurePosixPath(place)
    if len(path.parts) < 3 or Path(place).exists():
        return str(path.parent), {"gguf_file": path.name}
    return "/".join(path.parts[:2]), {"gguf_file": "/".join(path.parts[2:])}


def load_tokenizer(reference: str, options: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """Loads a tokenizer.

    Raises:
        UserError: It cannot be loaded.
    """
    from transformers import AutoTokenizer

    with loading("tokenizer", reference, REMEDY):
        place, file = source(reference)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, **file, **_shared(options))
    return tokenizer


def load_config(reference: str, options: Mapping[str, Any]) -> Any:
    """Loads a model's configuration, without its weights.

    Raises:
        UserError: It cannot be loaded.
    """
    from transformers import AutoConfig

    with loading("model", reference, REMEDY):
        place, file = source(reference)
        return AutoConfig.from_pretrained(place, **file, **_shared(options))


def load_network(reference: str, options: Mapping[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    """Loads a causal language model, in evaluation mode.

    Args:
        reference: Hub id, folder, `package://module/path`, or a `.gguf` file in one of them.
        options: Handed to `from_pretrained`; a `dtype` among them wins.
        dtype: Of the weights.

    Raises:
        UserError: It cannot be loaded, or is no causal language model.
    """
    from transformers import AutoModelForCausalLM

    config = load_config(reference, options)
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"pretrained {reference!r} is an encoder-decoder ({config.model_type}): {REMEDY}")
    with loading("model", reference, REMEDY):
        place, file = source(reference)
        network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(place, **file, **{"dtype": dtype, **options})
    network.train(False)
    if "attn_implementation" not in options:
        use_products(network)
    reorder_weights(network)
    return network


def dtype_of(precision: str) -> torch.dtype:
    """The dtype of weights that are not trained, for `trainer.precision`."""
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else torch.float32


def _shared(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in SHARED_OPTIONS if name in options}
