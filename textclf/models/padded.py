"""Texts as padded token ids, as every encoder takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textclf.scoring.batches import by_length, plan_batches
from textclf.types import PreTrainedTokenizerBase


def tokenized(tokenizer: PreTrainedTokenizerBase, rows: dict[str, list[Any]], max_length: int) -> dict[str, list[Any]]:
    """Token ids, segment ids where the encoder has segments, `length` in tokens, and those `cut` off.

    Args:
        tokenizer: The encoder's.
        rows: Columns `text`, and `text_pair` where there is one.
        max_length: Tokens of a text (or pair) that are read.
    """
    texts, pairs = rows["text"], rows.get("text_pair")
    encoded = tokenizer(texts, pairs, truncation=True, max_length=max_length, return_attention_mask=False)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    cut = [0] * len(texts)
    if full := [i for i, length in enumerate(lengths) if length == max_length]:
        whole = tokenizer(
            [texts[i] for i in full], pairs and [pairs[i] for i in full], return_attention_mask=False, verbose=False
        )
        for i, ids in zip(full, whole["input_ids"], strict=True):
            cut[i] = len(ids) - max_length
    return {**encoded, "length": lengths, "cut": cut}


def padded(rows: dict[str, list[Any]], padding: int | None) -> dict[str, Tensor]:
    """Pads on the right: `input_ids`, `attention_mask`, and segment ids where there are some, int64 `(batch, seq)`.

    Args:
        rows: What `tokenized` gave.
        padding: Id of the padding token; None where there is none.
    """
    fields: dict[str, list[Any]] = {name: rows[name] for name in ("input_ids", "token_type_ids") if name in rows}
    fields["attention_mask"] = [[1] * len(ids) for ids in rows["input_ids"]]
    values = {"input_ids": padding or 0}
    return {
        name: nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in field], batch_first=True, padding_value=values.get(name, 0)
        )
        for name, field in fields.items()
    }


def chunked(
    fields: Mapping[str, list[Any]], padding: int | None, budget: int
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Sorts sequences by length, and cuts them into padded chunks.

    Args:
        fields: `input_ids`, and `token_type_ids` where there are some.
        padding: Id of the padding token; None where there is none.
        budget: Tokens of a chunk, padding included.

    Returns:
        Chunks, and the place of each of their sequences, in order, among `fields`, int64 `(sequences,)`.
    """
    order = by_length([len(ids) for ids in fields["input_ids"]])
    lengths = [len(fields["input_ids"][i]) for i in order]
    parts = [order[start:stop] for start, stop in plan_batches(lengths, 0, budget, equal=False)]
    chunks = [padded({name: [field[i] for i in part] for name, field in fields.items()}, padding) for part in parts]
    return chunks, torch.tensor(order)
