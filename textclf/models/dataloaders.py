"""Checks on dataloaders and their batches."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from textclf.errors import UserError
from textclf.types import Dataset


def as_list(loaders: Any) -> list[Any]:
    """Returns dataloaders as a list.

    Args:
        loaders: One, a list of them, or None: the three forms in which Lightning keeps them.
    """
    return loaders if isinstance(loaders, list) else [loaders]


def encoded_rows(loaders: Any) -> list[Dataset]:
    """The encoded rows behind each dataloader of a data module; a plain `DataLoader` has none.

    Args:
        loaders: As `as_list` takes them.
    """
    found = []
    for loader in as_list(loaders):
        rows = getattr(getattr(loader, "dataset", None), "encoded", None)
        if rows is not None:
            found.append(rows)
    return found


def refuse_plain_loaders(loaders: Any, world_size: int) -> None:
    """Refuses dataloaders that would give every process the same rows.

    Args:
        loaders: As `as_list` takes them.
        world_size: Number of processes.

    Raises:
        UserError: There are several processes, and the batch sampler of a dataloader does not know its rank.
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
    """Refuses a batch of the user's own `DataLoader` that lacks entries that evaluation needs.

    Args:
        batch: The batch.
        names: Entries that it must have, in addition to those of `collate`.

    Raises:
        UserError: It is not a dictionary, or lacks an entry.
    """
    present = batch if isinstance(batch, Mapping) else ()
    missing = [name for name in names if name not in present]
    if missing:
        raise UserError(
            f"a batch of a DataLoader has no {' and no '.join(map(repr, missing))}: take the loaders of a data module, "
            "or add to what `collate` gives `labels`, and `row`, the index of each row in its split"
        )
