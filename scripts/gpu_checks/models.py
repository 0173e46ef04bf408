"""Folders with random models of real shapes, a tokenizer of invented words, and texts of these words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from tempfile import mkdtemp
from typing import Any

import torch
from benchmarks.methods import LABELS, NLI_LABELS, PROMPT

from gpu_checks.frame import Sizes

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
KNOWN = " ".join([*LABELS, PROMPT, "This example is ."]).replace("{text}", "").replace(":", " :")
"""The words of the label words and templates of `benchmarks.methods`."""
INVENTED = ["".join(sounds) for sounds in product("bdfgklmnprstvz", "aeiou", "bdklmnrst", "aei")]
SPREAD = 0.04
"""Standard deviation of random weights: twice the default, so that labels differ by whole nats."""


def causal(sizes: Sizes) -> str:
    """A causal language model in bf16, so that it is the same model in fp32."""
    from transformers import AutoModelForCausalLM, Qwen3Config

    shape: Any = {"max_position_embeddings": 4096, "initializer_range": SPREAD, **sizes.causal}
    return saved(AutoModelForCausalLM, Qwen3Config(**shape), sizes.device, torch.bfloat16, marks=False)


def encoder(sizes: Sizes, name: str) -> str:
    """An encoder with a head for two classes."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    return saved(AutoModelForSequenceClassification, BertConfig(**sizes.encoders[name]), sizes.device)


def entailment(sizes: Sizes, name: str) -> str:
    """An encoder with a head whose labels name entailment."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    names: Any = {"id2label": dict(enumerate(NLI_LABELS)), "label2id": {label: i for i, label in enumerate(NLI_LABELS)}}
    return saved(AutoModelForSequenceClassification, BertConfig(**sizes.encoders[name], **names), sizes.device)


def encoder_decoder(sizes: Sizes) -> str:
    """An encoder-decoder of T5's kind."""
    from transformers import AutoModelForSeq2SeqLM, T5Config

    marks: Any = {"pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": SPECIAL.index("[SEP]")}
    config = T5Config(**sizes.encoder_decoder, **marks, feed_forward_proj="gated-gelu")
    return saved(AutoModelForSeq2SeqLM, config, sizes.device)


def saved(kind: Any, config: Any, device: str, dtype: torch.dtype = torch.float32, marks: bool = True) -> str:
    """Draws the weights of a model, and saves it with a tokenizer; returns the folder."""
    folder = mkdtemp(prefix="check-gpu-")
    torch.manual_seed(0)
    with torch.device(device):  # drawing half a billion weights is fast on a GPU
        network = kind.from_config(config, dtype=dtype)
    network.save_pretrained(folder)
    word_tokenizer(marks).save_pretrained(folder)
    return folder


def word_tokenizer(marks: bool) -> Any:
    """A token per word.

    Args:
        marks: Whether texts are put between [CLS] and [SEP].
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = dict.fromkeys([*SPECIAL, *KNOWN.split(), *INVENTED])
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if marks:
        special = [(mark, SPECIAL.index(mark)) for mark in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
        )
    names: Any = {f"{mark.strip('[]').lower()}_token": mark for mark in SPECIAL}
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if marks else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has no type here
        tokenizer_object=tokenizer, model_input_names=inputs, **names
    )


def texts(number: int, words: tuple[int, int], seed: int = 0) -> list[str]:
    """Draws texts of random length.

    Args:
        number: Number of texts.
        words: Fewest and most words of a text.
        seed: Seed of the draw.
    """
    draw = random.Random(seed)
    return [" ".join(draw.choices(INVENTED, k=draw.randint(*words))) for _ in range(number)]


def labels(number: int = 10) -> list[str]:
    """Labels of one, two and three words, each with a space before it."""
    draw = random.Random(1)
    return [" " + " ".join(draw.sample(INVENTED, 1 + i % 3)) for i in range(number)]


def invented_classes(rows: Sequence[str]) -> list[int]:
    """A class, 0 or 1, for each text."""
    return [i % 2 for i in range(len(rows))]
