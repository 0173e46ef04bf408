"""Texts as padded token ids, as every encoder takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from textclf.backbones.tokenizers import ModelTokenizer
from textclf.scoring.planning import by_length, plan_batches


def tokenized(tokenizer: ModelTokenizer, rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Token ids, segment ids where the encoder has segments, `length` in tokens, and those `cut` off.

    Args:
        tokenizer: The encoder's.
        rows: Columns `text`, and `text_pair` where there is one.
    """
    texts, pairs = rows["text"], rows.get("text_pair")
    encoded = tokenizer(texts, pairs, truncation=True, max_length=tokenizer.max_length)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    cut = cut_off(tokenizer, texts, pairs, lengths)
    return {**encoded, "length": lengths, "cut": cut}


def cut_off(
    tokenizer: ModelTokenizer, texts: Sequence[str], pairs: Sequence[str] | None, lengths: Sequence[int]
) -> list[int]:
    """How many tokens of each text (or pair) are beyond the longest that is read.

    Args:
        tokenizer: The encoder's.
        texts: The texts.
        pairs: The second text of each, or None.
        lengths: Tokens of each that are read.
    """
    cut = [0] * len(texts)
    if full := [i for i, length in enumerate(lengths) if length == tokenizer.max_length]:
        whole = tokenizer([texts[i] for i in full], pairs and [pairs[i] for i in full], verbose=False)
        for i, ids in zip(full, whole["input_ids"], strict=True):
            cut[i] = len(ids) - tokenizer.max_length
    return cut


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
