"""Loads weights, configurations and tokenizers of transformers models: from the hub, folders and GGUF files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from textclf.backbones.announced import check_depth, check_memory
from textclf.backbones.compatibility import check_vocabulary
from textclf.backbones.gguf import converted_folder
from textclf.backbones.tokenization import ModelTokenizer
from textclf.console import say
from textclf.errors import UserError
from textclf.hardware.kernels import reorder_weights, use_products
from textclf.hub import loading, local_reference
from textclf.types import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

REMEDY = "pass --model.pretrained with a hub id that can be reached, a folder, or package://module/path"
CAUSAL_REMEDY = (
    "pass --model.pretrained with a causal LM: a hub id that can be reached, a folder, package://, or a .gguf file"
)
MAX_LENGTH = 512
"""Default maximum length of a ready-made model, where it can read as many tokens."""
SHARED_OPTIONS = ("revision", "subfolder", "trust_remote_code", "token", "cache_dir")
"""Options of `from_pretrained` for models that apply to configurations and tokenizers, too."""

NO_CODE = {"trust_remote_code": False}
"""Code of a model is not run unless the user asks for it; without this, transformers asks on a terminal."""


def source(reference: str) -> tuple[str, dict[str, str]]:
    """Splits a reference into what `from_pretrained` loads from, and the GGUF file in it.

    `folder/model.gguf` is a file of `folder`; if there is no such file, `owner/name/more/model.gguf` is the file
    `more/model.gguf` of the hub's `owner/name`.

    Returns:
        Folder or hub id; and `{"gguf_file": name}`, empty where the reference is not a GGUF file.
    """
    place = local_reference(reference)
    if not place.lower().endswith(".gguf"):
        return place, {}
    path = PurePosixPath(place)
    if len(path.parts) < 3 or Path(place).exists():
        return str(path.parent), {"gguf_file": path.name}
    return "/".join(path.parts[:2]), {"gguf_file": "/".join(path.parts[2:])}


def _located(reference: str, options: Mapping[str, Any] | None, remedy: str) -> tuple[str, dict[str, Any]]:
    """Folder or hub id, and options, for `from_pretrained`; a GGUF file is converted to a folder first."""
    location, file = source(reference)
    own_options = dict(options or {})
    if not file:
        return location, own_options
    folder = converted_folder(location, file["gguf_file"], own_options, reference, remedy)
    # The options for the hub applied to the GGUF file; the converted folder is local.
    for name in SHARED_OPTIONS:
        own_options.pop(name, None)
    return folder, own_options


def load_tokenizer(
    reference: str, options: Mapping[str, Any] | None = None, remedy: str = REMEDY
) -> PreTrainedTokenizerBase:
    """Loads a model's tokenizer.

    Args:
        reference: Hub id, folder, `package://module/path`, or a `.gguf` file in one of them.
        options: Options of `from_pretrained` for the model; those that apply to tokenizers are used.
        remedy: What to do if it cannot be loaded, for the message.

    Raises:
        UserError: It cannot be loaded, or there is none.
    """
    from transformers import AutoTokenizer

    folder, options = _located(reference, options, remedy)
    with loading("tokenizer", reference, remedy):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, **_shared(options))
    check_vocabulary(tokenizer, reference)
    return tokenizer


def load_config(reference: str, options: Mapping[str, Any] | None = None, remedy: str = REMEDY) -> PreTrainedConfig:
    """Loads a model's configuration, without its weights; arguments as for `load_tokenizer`.

    Raises:
        UserError: It cannot be loaded.
    """
    folder, options = _located(reference, options, remedy)
    return _read_config(folder, options, reference, remedy)


def _read_config(folder: str, options: Mapping[str, Any], reference: str, remedy: str) -> PreTrainedConfig:
    from transformers import AutoConfig

    with loading("model", reference, remedy):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, **_shared(options))
    return config


def skeleton(kind: str, config: PreTrainedConfig, reference: str, remedy: str = REMEDY) -> PreTrainedModel:
    """Builds a network on the meta device: its limits are known before any weight is loaded.

    Args:
        kind: A class of transformers, such as `AutoModelForSequenceClassification`.
        config: Of the network.
        reference: Of the model, for the error.
        remedy: What to do if there is none, for the message.

    Raises:
        UserError: There is no such network for this configuration, or it is too large for this machine.
    """
    import transformers

    check_depth(config, reference)
    with loading("model", reference, remedy), torch.device("meta"):
        network: PreTrainedModel = getattr(transformers, kind).from_config(config, trust_remote_code=False)
    check_memory(network, reference)
    return network


# Ready-made models: loaded once, never trained


def load_matched(kind: str, reference: str, max_length: int | None) -> ModelTokenizer:
    """Loads the tokenizer of a model, and checks that they belong together; no weights are loaded.

    Args:
        kind: A class of transformers, such as `AutoModelForSequenceClassification`.
        reference: Hub id, folder, or `package://module/path`.
        max_length: Maximum length in tokens; None for what the model can read, at most 512.

    Raises:
        UserError: One of them cannot be loaded, they do not belong together, or so many tokens cannot be read.
    """
    tokenizer = load_tokenizer(reference)
    network = skeleton(kind, load_config(reference), reference)
    return ModelTokenizer.matched(tokenizer, network, reference, max_length, MAX_LENGTH)


def load_frozen(kind: str, reference: str, dtype: torch.dtype) -> Any:
    """Loads a model in evaluation mode, without gradients; none of its weights may be missing.

    Args:
        kind: A class of transformers, such as `AutoModelForSequenceClassification`.
        reference: Hub id, folder, or `package://module/path`.
        dtype: Of its weights.

    Raises:
        UserError: It cannot be loaded, or some of its weights would be drawn at random.
    """
    import transformers

    skeleton(kind, load_config(reference), reference)  # refuses what would not fit into memory
    with loading("model", reference, REMEDY):
        network, found = getattr(transformers, kind).from_pretrained(
            local_reference(reference), dtype=dtype, output_loading_info=True, trust_remote_code=False
        )
    missing = sorted(found["missing_keys"])
    if missing:
        raise UserError(
            f"{reference!r} has no weights for {', '.join(missing[:3])}: it was not trained as a "
            f"{type(network).__name__}; name a model that was"
        )
    attend_fully(network)
    network.eval().requires_grad_(False)
    reorder_weights(network)
    return network


def attend_fully(network: Any) -> None:
    """Switches BigBird from sparse to full attention, which it uses for short texts anyway.

    (Its sparse attention draws blocks at random, begins at a length that padding reaches as well, and is switched off
    for good by the first short batch: scores would depend on the batch, and on the batches before.)
    """
    if getattr(network.config, "attention_type", None) == "block_sparse":
        network.config.attention_type = "original_full"
        for module in network.modules():
            if hasattr(module, "set_attention_type"):
                module.set_attention_type("original_full")


def dtype_of(precision: str) -> torch.dtype:
    """The dtype of weights that are not trained.

    Args:
        precision: `trainer.precision`, such as `bf16-mixed`.
    """
    if precision.startswith("bf16"):
        return torch.bfloat16
    if precision.startswith("16"):
        return torch.float16
    return torch.float32


def ready_made_dtype(precision: str, method: str) -> torch.dtype:
    """The dtype of a ready-made model's weights: as `dtype_of`, but fp32 instead of fp16.

    Ready-made models may overflow in fp16 (T5 and mDeBERTa do).

    Args:
        precision: `trainer.precision`, such as `bf16-mixed`.
        method: Name of the method, for messages.

    Raises:
        UserError: The precision is 16-true, with which the trainer converts all weights to fp16.
    """
    dtype = dtype_of(precision)
    if dtype != torch.float16:
        return dtype
    if precision == "16-true":
        raise UserError(f"precision 16-true: models of {method} may overflow in fp16: give bf16-true or 32-true")
    say(f"{method} computes in fp32, not in fp16, in which its models may overflow (precision {precision})")
    return torch.float32


@contextmanager
def own_precision(network: PreTrainedModel) -> Iterator[None]:
    """Computes in the dtype of the network's weights, without the trainer's autocast and without gradients."""
    with torch.no_grad(), torch.autocast(network.device.type, enabled=False):
        yield


# Causal language models


def load_causal(reference: str, options: Mapping[str, Any], dtype: torch.dtype) -> PreTrainedModel:
    """Loads a causal language model, in evaluation mode.

    Args:
        reference: Hub id, folder, `package://module/path`, or a `.gguf` file in one of them.
        options: Passed to `from_pretrained`; a `dtype` among them takes precedence.
        dtype: Of the weights.

    Raises:
        UserError: It cannot be loaded, or is not a causal language model.
    """
    from transformers import AutoModelForCausalLM

    folder, options = _located(reference, options, CAUSAL_REMEDY)
    config = _read_config(folder, options, reference, CAUSAL_REMEDY)
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"pretrained {reference!r} is an encoder-decoder ({config.model_type}): {CAUSAL_REMEDY}")
    if not options.get("trust_remote_code"):
        skeleton("AutoModelForCausalLM", config, reference, CAUSAL_REMEDY)  # refuses what would not fit into memory
    with loading("model", reference, CAUSAL_REMEDY):
        network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, **{"dtype": dtype, **NO_CODE, **options}
        )
    network.train(False)  # `eval` has no type hints in transformers
    if "attn_implementation" not in options:
        use_products(network)
    reorder_weights(network)
    return network


def _shared(options: Mapping[str, Any]) -> dict[str, Any]:
    return NO_CODE | {name: options[name] for name in SHARED_OPTIONS if name in options}
