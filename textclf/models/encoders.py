"""The networks behind `FineTunedClassifier`: from pretrained weights, from a checkpoint, or from nothing."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from typing import Any

import torch
from torch import nn

from textclf.backbones.compatibility import embedded_tokens, padding_id
from textclf.backbones.weights import REMEDY, attend_fully
from textclf.console import say
from textclf.errors import UserError
from textclf.hub import loading, local_reference
from textclf.models.arguments import check_least, check_range
from textclf.types import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

MOST_NAMED = 4
"""Weights that a line names; a head has as many."""


@dataclass(frozen=True)
class EncoderConfig:
    """A small BERT and its vocabulary, in the words of `transformers.BertConfig`.

    Attributes:
        vocab_size: Most word pieces that the tokenizer learns.
        hidden_size: Width of a token's vector.
        num_hidden_layers: Layers.
        num_attention_heads: Heads of each; they share the width.
        intermediate_size: Width inside the feed-forward part.
        hidden_dropout_prob: Share of the activations that is dropped in training, before the head too.
        attention_probs_dropout_prob: Share of the attention that is dropped.
        lowercase: Whether capital letters are read as small ones.
    """

    vocab_size: int = 16000
    hidden_size: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 512
    hidden_dropout_prob: float = 0.2
    attention_probs_dropout_prob: float = 0.0  # else no fused attention on a CPU
    lowercase: bool = True

    def __post_init__(self) -> None:
        """Refuses what cannot be built."""
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        for name, least in {"vocab_size": 100, **dict.fromkeys(sizes, 1)}.items():
            check_least(f"encoder_config: {name}", getattr(self, name), least)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            probability = getattr(self, name)
            check_range(f"encoder_config: {name}", probability, 0 <= probability < 1, "0 or more, and less than 1")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"encoder_config: hidden_size {self.hidden_size} cannot be shared among num_attention_heads "
                f"{self.num_attention_heads}: give a multiple of it"
            )


def new_network(config: EncoderConfig, pieces: int, padding: int, length: int, labels: Sequence[str]) -> Any:
    """Builds a small BERT with random weights.

    Args:
        config: Its sizes.
        pieces: Entries of the tokenizer.
        padding: Id of the padding token.
        length: Tokens that it can read.
        labels: Name of each class.
    """
    from transformers import AutoModelForSequenceClassification, BertConfig

    return AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        BertConfig(
            vocab_size=pieces,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            intermediate_size=config.intermediate_size,
            hidden_dropout_prob=config.hidden_dropout_prob,
            attention_probs_dropout_prob=config.attention_probs_dropout_prob,
            max_position_embeddings=length,
            pad_token_id=padding,
            **_label_arguments(labels),
        ),
        dtype=torch.float32,
    )


def stored_config(config: str) -> PreTrainedConfig:
    """The configuration of a checkpoint's network, from JSON."""
    from transformers import AutoConfig

    stored = json.loads(config)
    return AutoConfig.for_model(stored["model_type"]).from_dict(stored)


def stored_network(config: str) -> Any:
    """Builds the network of a checkpoint, whose weights come later, from its configuration as JSON."""
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        stored_config(config), dtype=torch.float32
    )
    attend_fully(network)
    return network


def pretrained_network(reference: str, labels: Sequence[str], *, restored: bool = False) -> tuple[Any, set[int]]:
    """Loads an encoder with a classification head.

    Args:
        reference: Hub id, folder, or `package://module/path`.
        labels: Name of each class.
        restored: Whether a checkpoint replaces the parameters drawn at random: no line names them then.

    Returns:
        The network in fp32, and the `id` of each parameter that came with it: the others were drawn at random.

    Raises:
        UserError: It cannot be loaded, or some of its encoder's weights would be drawn at random.
    """
    from transformers import AutoModelForSequenceClassification

    with loading("model", reference, REMEDY), _without_report():
        network, found = AutoModelForSequenceClassification.from_pretrained(
            local_reference(reference),
            dtype=torch.float32,  # else the checkpoint's own, and bf16 master weights train badly
            ignore_mismatched_sizes=True,  # a head of another number of labels is replaced
            output_loading_info=True,
            **_label_arguments(labels),
        )
    random = set(found["missing_keys"]) | {key for key, *_ in found["mismatched_keys"]}
    # Checkpoints of masked language models have no pooler: it belongs to the head.
    inside = {name for name in random if name.startswith(f"{network.base_model_prefix}.") and "pooler" not in name}
    if inside:
        raise UserError(
            f"{reference!r} has no weights for {', '.join(sorted(inside)[:3])}, as its config.json describes them: "
            "name a folder that holds weights and configuration of one model"
        )
    if random and not restored:
        more = f" and {len(random) - MOST_NAMED} more" if len(random) > MOST_NAMED else ""
        say(f"random at first, not in {reference!r}: {', '.join(sorted(random)[:MOST_NAMED])}{more}")
    attend_fully(network)
    return network, {id(p) for name, p in network.named_parameters() if name not in random}


@contextmanager
def _without_report() -> Iterator[None]:
    """Silences transformers' table of weights that were not found; a line says it instead."""
    from transformers.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(before)


def name_padding(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Names a padding token in the configuration of a network that is to be trained, where it names none.

    Heads on the last token need one for more than one row; an exported folder has it then, too.
    """
    rows, padding = embedded_tokens(network), tokenizer.pad_token_id
    known = padding is not None and (rows is None or padding < rows)
    if padding_id(network) is None and known:
        network.config.get_text_config().pad_token_id = padding


def freeze_lower_layers(network: PreTrainedModel, count: int) -> None:
    """Freezes the embeddings and the first `count` layers of an encoder.

    Raises:
        UserError: It has fewer, or they cannot be found.
    """
    total = getattr(network.config, "num_hidden_layers", None)
    lists = [module for module in network.base_model.modules() if isinstance(module, nn.ModuleList)]
    layers = next((found for found in lists if len(found) == total), None)
    if layers is None:
        raise UserError(
            f"freeze_layers {count}: the layers of a {type(network).__name__} are not found: give freeze_layers 0"
        )
    if count > len(layers):
        raise UserError(f"freeze_layers {count} is more than the encoder has: give at most {len(layers)}")
    inside = {id(p) for p in layers.parameters()}
    below = takewhile(lambda p: id(p) not in inside, network.base_model.parameters())  # the embeddings come first
    for parameter in [*below, *layers[:count].parameters()]:
        parameter.requires_grad_(False)


def checkpoint_gradients(network: PreTrainedModel) -> None:
    """Makes each layer compute its activations again in the backward pass, for less memory.

    Raises:
        UserError: The architecture cannot.
    """
    try:
        with warnings.catch_warnings():
            # The method's new name, which newer versions ask for, is not in all of the versions that are supported.
            warnings.filterwarnings("ignore", "`gradient_checkpointing_enable` is deprecated", FutureWarning)
            network.gradient_checkpointing_enable(  # type: ignore[no-untyped-call]
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
    except ValueError as error:
        raise UserError(f"a {type(network).__name__} cannot do gradient_checkpointing: set it to false") from error
    network.config.use_cache = False  # one pass a text needs no cache, and transformers would warn that it keeps none


def _label_arguments(labels: Sequence[str]) -> dict[str, Any]:
    names = dict(enumerate(labels))
    return {"num_labels": len(names), "id2label": names, "label2id": {name: i for i, name in names.items()}}


# LoRA: Hu et al., 2021, https://arxiv.org/abs/2106.09685


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
        check_least("lora: rank", self.rank, 1)
        check_least("lora: alpha", self.alpha, 1, ", such as 16")
        check_range("lora: dropout", self.dropout, 0 <= self.dropout < 1, "0 or more, and less than 1")
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
