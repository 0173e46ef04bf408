"""Token ids as padded batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from textclf.scoring.planning import by_length, plan_batches


def pad(rows: Mapping[str, list[Any]], padding: int | None) -> dict[str, Tensor]:
    """Pads on the right: `input_ids`, `attention_mask`, and segment ids where there are some, int64 `(batch, seq)`.

    Args:
        rows: `input_ids` of each row, and `token_type_ids` where there are some; other columns are left out.
        padding: Id of the padding token; None where there is none.
    """
    batch = {"input_ids": _pad_column(rows["input_ids"], padding or 0)}
    if "token_type_ids" in rows:
        batch["token_type_ids"] = _pad_column(rows["token_type_ids"], 0)
    batch["attention_mask"] = _pad_column([[1] * len(ids) for ids in rows["input_ids"]], 0)
    return batch


def _pad_column(column: list[list[int]], value: int) -> Tensor:
    tensors = [torch.tensor(row) for row in column]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


def pad_in_chunks(
    fields: Mapping[str, list[Any]], padding: int | None, budget: int
) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Sorts sequences by length, and cuts them into padded chunks.

    Args:
        fields: `input_ids`, and `token_type_ids` where there are some.
        padding: Id of the padding token; None where there is none.
        budget: Tokens of a chunk, padding included.

    Returns:
        Chunks, and the index in `fields` of each of their sequences, in order, int64 `(sequences,)`.
    """
    order = by_length([len(ids) for ids in fields["input_ids"]])
    lengths = [len(fields["input_ids"][i]) for i in order]
    chunks = []
    for start, stop in plan_batches(lengths, 0, budget, equal=False):
        indices = order[start:stop]
        sequences = {name: [field[i] for i in indices] for name, field in fields.items()}
        chunks.append(pad(sequences, padding))
    return chunks, torch.tensor(order)
