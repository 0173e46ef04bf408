"""The networks behind `FineTunedClassifier`: from pretrained weights, from a checkpoint, or from nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from textclf.backbones.compatibility import embedded_tokens, padding_id
from textclf.backbones.weights import REMEDY, attend_fully, load_config, skeleton
from textclf.console import say
from textclf.errors import UserError, check_least, check_range
from textclf.hub import loading, local_reference
from textclf.parsing import parse_json
from textclf.types import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

AUTO_CLASS = "AutoModelForSequenceClassification"
"""The class of transformers for an encoder with a classification head."""
MAX_NAMES = 4
"""Number of weights that a message names: as many as a classification head has."""


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of a small BERT and its vocabulary, under the names of `transformers.BertConfig`.

    Attributes:
        vocab_size: Upper limit of the tokenizer's vocabulary.
        hidden_size: Dimension of the hidden states.
        num_hidden_layers: Number of layers.
        num_attention_heads: Number of attention heads of each layer; they divide `hidden_size` among them.
        intermediate_size: Dimension of the feed-forward layers.
        hidden_dropout_prob: Dropout probability of hidden states, also before the head.
        attention_probs_dropout_prob: Dropout probability of attention weights.
        lowercase: Whether texts are converted to lower case.
    """

    vocab_size: int = 16000
    hidden_size: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_dropout_prob: float = 0.2
    attention_probs_dropout_prob: float = 0.0  # with dropout there is no fused attention on a CPU
    lowercase: bool = True

    def __post_init__(self) -> None:
        """Checks the ranges of all values."""
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        for name, least in {"vocab_size": 100, **dict.fromkeys(sizes, 1)}.items():
            check_least(f"encoder_config: {name}", getattr(self, name), least)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            probability = getattr(self, name)
            check_range(f"encoder_config: {name}", probability, 0 <= probability < 1, "0 or more, and less than 1")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"encoder_config: hidden_size {self.hidden_size} cannot be divided among num_attention_heads "
                f"{self.num_attention_heads}: give a multiple of it"
            )


def new_network(
    config: EncoderConfig, tokenizer: PreTrainedTokenizerBase, max_length: int, label_names: Sequence[str]
) -> Any:
    """Builds a small BERT with random weights.

    Args:
        config: Its sizes.
        tokenizer: Its tokenizer.
        max_length: Maximum length in tokens.
        label_names: Name of each class.
    """
    from transformers import AutoModelForSequenceClassification, BertConfig

    return AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            hidden_dropout_prob=config.hidden_dropout_prob,
            attention_probs_dropout_prob=config.attention_probs_dropout_prob,
            max_position_embeddings=max_length,
            pad_token_id=tokenizer.pad_token_id,
            **_label_arguments(label_names),
        ),
        dtype=torch.float32,
    )


def stored_config(config: str) -> PreTrainedConfig:
    """The configuration of a checkpoint's network, from JSON."""
    from transformers import AutoConfig

    stored = parse_json(config)
    return AutoConfig.for_model(stored["model_type"]).from_dict(stored)


def stored_network(config: str) -> Any:
    """Builds the network of a checkpoint, whose weights come later, from its configuration as JSON."""
    from transformers import AutoModelForSequenceClassification

    stored = stored_config(config)
    skeleton(AUTO_CLASS, stored, "the checkpoint")  # refuses what would not fit into memory
    network = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        stored, dtype=torch.float32, trust_remote_code=False
    )
    attend_fully(network)
    return network


def pretrained_network(reference: str, label_names: Sequence[str], *, restored: bool = False) -> tuple[Any, set[int]]:
    """Loads an encoder with a classification head.

    Args:
        reference: Hub id, folder, or `package://module/path`.
        label_names: Name of each class.
        restored: Whether a checkpoint replaces the randomly initialised parameters: no message names them then.

    Returns:
        The network in fp32, and the `id` of each pretrained parameter: the others were initialised randomly.

    Raises:
        UserError: It cannot be loaded, or weights of its encoder are missing.
    """
    from transformers import AutoModelForSequenceClassification

    skeleton(AUTO_CLASS, load_config(reference), reference)  # refuses what would not fit into memory
    with loading("model", reference, REMEDY), _without_report():
        network, found = AutoModelForSequenceClassification.from_pretrained(
            local_reference(reference),
            dtype=torch.float32,  # not the dtype of the file: bf16 master weights train badly
            ignore_mismatched_sizes=True,  # a head for another number of labels is replaced
            output_loading_info=True,
            trust_remote_code=False,
            **_label_arguments(label_names),
        )
    random = set(found["missing_keys"])
    random.update(key for key, *_ in found["mismatched_keys"])
    # Checkpoints of masked language models have no pooler: it belongs to the head.
    encoder_prefix = f"{network.base_model_prefix}."
    missing = sorted(name for name in random if name.startswith(encoder_prefix) and "pooler" not in name)
    if missing:
        raise UserError(
            f"{reference!r} has no weights for {', '.join(missing[:3])}, as its config.json describes them: "
            "name a folder that holds weights and configuration of one model"
        )
    if random and not restored:
        more = f" and {len(random) - MAX_NAMES} more" if len(random) > MAX_NAMES else ""
        say(f"random at first, not in {reference!r}: {', '.join(sorted(random)[:MAX_NAMES])}{more}")
    attend_fully(network)
    return network, {id(p) for name, p in network.named_parameters() if name not in random}


@contextmanager
def _without_report() -> Iterator[None]:
    """Silences transformers' table of missing weights; `pretrained_network` reports them in one line."""
    from transformers.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(before)


def name_padding(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Adds the tokenizer's padding token to the configuration of a network to be trained, if it has none.

    Heads on the last token need it for batches of more than one row, also those of an exported folder.
    """
    rows = embedded_tokens(network)
    padding = tokenizer.pad_token_id
    known = padding is not None and (rows is None or padding < rows)
    if padding_id(network) is None and known:
        network.config.get_text_config().pad_token_id = padding


def freeze_lower_layers(network: PreTrainedModel, count: int) -> None:
    """Freezes the embeddings and the first `count` layers of an encoder.

    Raises:
        UserError: It has fewer, or they cannot be found.
    """
    total = getattr(network.config, "num_hidden_layers", None)
    layers = None
    for module in network.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == total:
            layers = module
            break
    if layers is None:
        raise UserError(
            f"freeze_layers {count}: the layers of a {type(network).__name__} are not found: give freeze_layers 0"
        )
    if count > len(layers):
        raise UserError(f"freeze_layers {count} is more than the encoder has: give at most {len(layers)}")
    in_layers = {id(parameter) for parameter in layers.parameters()}
    for parameter in network.base_model.parameters():  # the embeddings come first
        if id(parameter) in in_layers:
            break
        parameter.requires_grad_(False)
    layers[:count].requires_grad_(False)


def checkpoint_gradients(network: PreTrainedModel) -> None:
    """Makes each layer recompute its activations in the backward pass, which saves memory.

    Raises:
        UserError: The architecture cannot.
    """
    try:
        # Newer versions of transformers deprecate the second name for the first, which older ones do not have.
        enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    except ValueError as error:
        raise UserError(f"a {type(network).__name__} cannot do gradient_checkpointing: set it to false") from error
    network.config.use_cache = False  # a classifier needs no key-value cache; with one, transformers warns


def _label_arguments(label_names: Sequence[str]) -> dict[str, Any]:
    """Arguments of a configuration of transformers that name the labels."""
    id2label = dict(enumerate(label_names))
    label2id = {name: i for i, name in id2label.items()}
    return {"num_labels": len(label_names), "id2label": id2label, "label2id": label2id}


# LoRA: Hu et al., 2021, https://arxiv.org/abs/2106.09685


@dataclass(frozen=True)
class LoraSettings:
    """Settings of the LoRA adapters, for `peft.LoraConfig`.

    Attributes:
        rank: Rank of the adapter matrices.
        alpha: The product of the matrices is scaled by alpha / rank.
        dropout: Dropout probability of the adapters' input.
        target_modules: Names of the modules that get adapters, or `all-linear`; by default peft's choice for the
            architecture, such as queries and values.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    target_modules: str | list[str] | None = None

    def __post_init__(self) -> None:
        """Checks the ranges of all values, and that `peft` is installed."""
        check_least("lora: rank", self.rank, 1)
        check_least("lora: alpha", self.alpha, 1, ", such as 16")
        check_range("lora: dropout", self.dropout, 0 <= self.dropout < 1, "0 or more, and less than 1")
        if find_spec("peft") is None:
            raise UserError("lora needs the package peft: pip install 'textclf[lora]'")


def add_lora(network: PreTrainedModel, settings: LoraSettings, pretrained: set[int]) -> None:
    """Adds adapters to a network, and freezes all parameters but theirs, the head's, and those not pretrained.

    Args:
        network: An encoder with a classification head; changed in place.
        settings: Settings of the adapters.
        pretrained: `id` of each parameter that is pretrained.

    Raises:
        UserError: The architecture has no such modules, or peft has no default modules for it.
    """
    from peft import LoraConfig, inject_adapter_in_model

    in_encoder = {id(parameter) for parameter in network.base_model.parameters()}
    trained = []
    for parameter in network.parameters():
        in_head = id(parameter) not in in_encoder
        if in_head or id(parameter) not in pretrained:
            trained.append(parameter)
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
        names: set[str] = set()
        for name, module in network.named_modules():
            if hasattr(module, "weight"):
                names.add(name.rpartition(".")[2])
        raise UserError(
            f"lora: target_modules {settings.target_modules}: {str(error).splitlines()[0]} "
            f"The modules are named {', '.join(sorted(names))}"
        ) from error
    for parameter in trained:
        parameter.requires_grad_(True)


def merged(network: PreTrainedModel) -> Any:
    """A copy of a network with its adapters merged into the weights, which transformers reads without peft."""
    network = deepcopy(network)
    for name, module in list(network.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())
    return network
