"""What the processes of one run share: objects, results, errors, the run folder and the seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from textclf.errors import UserError

T = TypeVar("T")


def attached_trainer(module: LightningModule) -> Trainer | None:
    """The trainer that runs a module; None outside of a run, where `module.trainer` raises an error."""
    try:
        return module.trainer
    except RuntimeError:
        return None


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """All callbacks of a trainer, those of the method included."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it untyped
    return callbacks


def run_folder(trainer: Trainer) -> Path:
    """The run folder that the first process chose, on every process."""
    return Path(trainer.strategy.broadcast(trainer.default_root_dir))


def gather(part: Any, trainer: Trainer, group: Any = None) -> list[Any]:
    """Brings one object of each process to the first one; the others get an empty list.

    Args:
        part: The object of this process.
        trainer: The trainer; all processes call this.
        group: A process group of all processes, if not the default one, such as one that waits longer.
    """
    if trainer.world_size == 1:
        return [part]
    gathered: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(part, gathered, group=group)
    return gathered or []


def share(part: Any, processes: int) -> list[Any]:
    """Brings one object of each process to all of them, in the order of the processes.

    Args:
        part: The object of this process.
        processes: Number of processes, all of which call this; 1 needs no process group.
    """
    if processes == 1:
        return [part]
    shared: list[Any] = [None] * processes
    torch.distributed.all_gather_object(shared, part)
    return shared


def raise_on_all(error: UserError | None, processes: int) -> None:
    """Raises an error of any process on all of them; a process that continued alone would wait forever.

    Args:
        error: That of this process, if there is one.
        processes: Number of processes, all of which call this.

    Raises:
        UserError: There is an error; of several, that of the first process that has one.
    """
    for each in share(error, processes):
        if each is not None:
            raise each


def on_first_process(work: Callable[[], T], trainer: Trainer) -> T:
    """Runs work on the first process, and gives its result to all.

    Args:
        work: Its result can be pickled.
        trainer: The trainer; all processes call this.

    Raises:
        UserError: The work raised it; it is raised on all processes.
    """
    result: Any = None
    error = None
    if trainer.is_global_zero:
        try:
            result = work()
        except UserError as mistake:
            error = mistake
    result, error = trainer.strategy.broadcast((result, error))
    if error is not None:
        raise error
    shared: T = result
    return shared


def one_process_first(work: Callable[[], T], trainer: Trainer) -> T:
    """Runs work that fills a cache: on one process of each machine, then on the others.

    Args:
        work: Reads from the cache what is there.
        trainer: The trainer; all processes call this.

    Raises:
        UserError: The work raised it on a process that goes first; it is raised on all processes.
    """
    if trainer.world_size == 1:
        return work()
    if trainer.local_rank != 0:
        raise_on_all(None, trainer.world_size)  # waits for the processes that go first
        return work()
    result: Any = None
    error = None
    try:
        result = work()
    except UserError as mistake:
        error = mistake
    raise_on_all(error, trainer.world_size)
    first: T = result
    return first


def global_seed() -> int | None:
    """The seed that `seed_everything` was last called with; None where it was not called."""
    seed = os.environ.get("PL_GLOBAL_SEED")  # Lightning sets it, so that processes it starts use the same seed
    return None if seed is None else int(seed)
