"""Models that are used as they are: loaded once, never trained, in the precision that the trainer computes in."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import nn

from textclf.console import say
from textclf.errors import UserError
from textclf.hub import loading, local_reference
from textclf.linear import reorder_weights
from textclf.models.encoders import REMEDY
from textclf.types import PreTrainedModel, PreTrainedTokenizerBase

FOREIGN = 0.75
"""Share of single letters from which on a tokenizer does not know a language; Korean ones stay below it in Korean."""

WORDS = 0.1
"""Share of a vocabulary that is longer than a letter, at least, where a tokenizer has words."""
SAMPLE = 200
"""Texts that tell whether a tokenizer knows their language."""
PLACES = ("position_embeddings", "embed_positions", "wpe")
"""Names of the tables of places in transformers' models."""


def load_frozen(kind: str, reference: str, dtype: torch.dtype) -> Any:
    """Loads a model whose weights are all there.

    Args:
        kind: A class of transformers, such as `AutoModelForSequenceClassification`.
        reference: Hub id, folder, or `package://module/path`.
        dtype: Of its weights.

    Raises:
        UserError: It cannot be loaded, or some of its weights would be drawn at random.
    """
    import transformers

    with loading("model", reference, REMEDY):
        network, found = getattr(transformers, kind).from_pretrained(
            local_reference(reference), dtype=dtype, output_loading_info=True
        )
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"{reference!r} has no weights for {', '.join(missing[:3])}: it was not trained as a "
            f"{type(network).__name__}; name a model that was"
        )
    network.eval().requires_grad_(False)
    reorder_weights(network)
    return network


def check_positions(network: PreTrainedModel, reference: str, max_length: int) -> None:
    """Refuses more tokens than a model has places for: beyond them its tables end.

    (Tokenizers do not always know. The first rows of a table may stand for no place: up to the padding's, or those of
    an offset. Relative places have no end.)

    Raises:
        UserError: `max_length` is more.
    """
    for name, table in network.named_modules():
        if isinstance(table, nn.Embedding) and name.rpartition(".")[2] in PLACES:
            before = getattr(table, "offset", 0 if table.padding_idx is None else table.padding_idx + 1)
            if max_length > (most := table.num_embeddings - int(before)):
                raise UserError(f"max_length {max_length} is more than {reference!r} can read: give at most {most}")


def load_tokenizer(reference: str, max_length: int) -> PreTrainedTokenizerBase:
    """Loads a model's tokenizer.

    Args:
        reference: Hub id, folder, or `package://module/path`.
        max_length: Tokens that are to be read.

    Raises:
        UserError: It cannot be loaded, or its model cannot read so many tokens.
    """
    from transformers import AutoTokenizer

    with loading("tokenizer", reference, REMEDY):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(local_reference(reference))
    if max_length > tokenizer.model_max_length:
        raise UserError(
            f"max_length {max_length} is more than {reference!r} can read: give at most {tokenizer.model_max_length}"
        )
    return tokenizer


def frozen_dtype(module: LightningModule) -> torch.dtype:
    """The type of weights that are never trained: bf16 where the trainer computes in bf16, else fp32.

    Never fp16: ready-made models may overflow in it (T5 and mDeBERTa do).

    Raises:
        UserError: The trainer would make it fp16 all the same.
    """
    precision = "" if module._trainer is None else str(module._trainer.precision)
    name = type(module).__name__
    if precision == "16-true":
        raise UserError(f"precision 16-true: models of {name} may overflow in fp16: give bf16-true or 32-true")
    if precision == "16-mixed":
        say(f"{name} computes in fp32, not in fp16, in which its models may overflow (precision 16-mixed)")
    return torch.bfloat16 if precision.startswith("bf16") else torch.float32


@contextmanager
def own_precision(network: PreTrainedModel) -> Iterator[None]:
    """Computes in the type of the network's weights, without the trainer's autocast and without gradients."""
    with torch.no_grad(), torch.autocast(network.device.type, enabled=False):
        yield


def say_if_foreign(tokenizer: PreTrainedTokenizerBase, reference: str, texts: Sequence[str]) -> None:
    """Says so where a tokenizer takes most of some texts to pieces; one whose pieces are letters does so with all."""
    if (share := foreign_share(tokenizer, texts)) >= FOREIGN and has_words(tokenizer):
        say(
            f"the tokenizer of {reference!r} turns {share:.0%} of these texts into unknown pieces or single letters: "
            "is it a model for their language?"
        )


def a_sample(texts: Any) -> list[str]:
    """Some of a split's texts, the same ones each time: they may be sorted, and the first ones tell little.

    Args:
        texts: Anything with a length that takes a place: a list, or a column.
    """
    places = random.Random(0).sample(range(len(texts)), min(len(texts), SAMPLE))
    return [str(texts[i]) for i in sorted(places)]


def has_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a share of a vocabulary is longer than a letter: not where the pieces are bytes or single letters."""
    pieces = set(random.Random(0).sample(range(len(tokenizer)), min(len(tokenizer), 1000)))
    texts = [str(tokenizer.decode([i])).strip().removeprefix("##") for i in pieces - set(tokenizer.all_special_ids)]
    return sum(len(text) > 1 and text.isalpha() for text in texts) > WORDS * len(texts)


def foreign_share(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Share of unknown pieces and of single letters, or parts of one, among the pieces that stand for letters.

    (Chinese and Japanese signs are words of their own, and do not count.)
    """
    rows = tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=256)["input_ids"]
    strange: dict[int, bool | None] = {i: _is_strange(tokenizer, i) for row in rows for i in row}
    found = [answer for row in rows for i in row if (answer := strange[i]) is not None]
    return sum(found) / max(1, len(found))


def _is_strange(tokenizer: PreTrainedTokenizerBase, piece: int) -> bool | None:
    """Whether a piece is unknown or less than two letters; None where it stands for no letters."""
    text = str(tokenizer.decode([piece])).strip().removeprefix("##")
    if piece == tokenizer.unk_token_id or "\ufffd" in text:
        return True
    if not any(sign.isalpha() for sign in text):
        return None
    return len(text) == 1 and not unicodedata.name(text, "").startswith(("CJK", "HIRAGANA", "KATAKANA"))
