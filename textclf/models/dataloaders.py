"""What a method wants to know of the loaders that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any

import numpy as np
from torch.utils.data import BatchSampler, DataLoader

from textclf.console import say
from textclf.data.columns import int_column
from textclf.errors import UserError


def as_list(loaders: Any) -> list[Any]:
    """One loader, several, or none, as Lightning keeps them, as a list."""
    return loaders if isinstance(loaders, list) else [loaders]


def refuse_plain_loaders(loaders: Any, world_size: int) -> None:
    """Refuses loaders that would give every process the same rows.

    Raises:
        UserError: There are several processes, and a loader that does not know of them.
    """
    for loader in as_list(loaders):
        rank_blind = isinstance(loader, DataLoader) and type(loader.batch_sampler) in (BatchSampler, NoneType)
        if world_size > 1 and rank_blind:
            raise UserError(
                f"a plain {type(loader).__name__} would give each of {world_size} processes the same rows: take the "
                "loaders of TextDataModule, give it a batch sampler that knows its rank, or run one process "
                "(--trainer.devices 1)"
            )


def check_batch(batch: Any, *names: str) -> None:
    """Refuses a batch of a DataLoader of one's own that lacks what evaluation needs.

    Args:
        batch: What the loader gave.
        names: What it must have, in addition to what `collate` gives.

    Raises:
        UserError: It is no dictionary, or lacks a name.
    """
    missing = names if not isinstance(batch, Mapping) else [name for name in names if name not in batch]
    if missing:
        raise UserError(
            f"a batch of a DataLoader has no {' and no '.join(map(repr, missing))}: take the loaders of a data module, "
            "or add to what `collate` gives `labels`, and `row`, the index of each row in its split"
        )


def say_what_was_cut(loaders: Any, split: str, max_length: int | None) -> None:
    """Says how many of a split's rows were too long, and how many tokens were cut off them; nothing if none were.

    The numbers stand in the encoded rows (`cut`), so they are there when the rows come from the cache, too.
    """
    for cut, lengths in _cut_and_lengths(loaders):
        say_cut(split, int(np.count_nonzero(cut)), len(cut), int(cut.sum()), int(lengths.sum()), max_length)


def say_cut(split: str, rows: int, of: int, tokens: int, left: int, max_length: int | None) -> None:
    """Says how many of `of` rows were too long, and the tokens that were cut off them and are left of all."""
    if rows:
        limit = "the model can read" if max_length is None else f"max_length {max_length}"
        share = tokens / (tokens + left)
        say(f"{split}: {rows:,} of {of:,} rows are longer than {limit}: {tokens:,} tokens ({share:.1%}) are cut off")


def cut_of(loaders: Any) -> tuple[int, int]:
    """Number of rows that were too long, and of tokens that were cut off them."""
    columns = [cut for cut, _ in _cut_and_lengths(loaders)]
    return sum(int(np.count_nonzero(cut)) for cut in columns), sum(int(cut.sum()) for cut in columns)


def _cut_and_lengths(loaders: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each loader whose rows know it: tokens that were cut off each row, and those that are left."""
    for loader in as_list(loaders):
        encoded = getattr(getattr(loader, "dataset", None), "encoded", None)
        if encoded is not None and "cut" in encoded.column_names:
            yield int_column(encoded, "cut"), int_column(encoded, "length")
