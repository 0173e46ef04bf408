"""What the processes of one run share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer


def attached_trainer(module: LightningModule) -> Trainer | None:
    """The trainer that runs a module; None outside of a run, where `module.trainer` raises an error."""
    try:
        return module.trainer
    except RuntimeError:
        return None


def run_folder(trainer: Trainer) -> Path:
    """The run folder that the first process chose, on every process."""
    return Path(trainer.strategy.broadcast(trainer.default_root_dir))


def gather(part: Any, trainer: Trainer) -> list[Any]:
    """Brings one object of each process to the first one; the others get an empty list."""
    if trainer.world_size == 1:
        return [part]
    gathered: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(part, gathered)
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


def global_seed() -> int | None:
    """The seed that `seed_everything` was last called with; None where it was not called."""
    seed = os.environ.get("PL_GLOBAL_SEED")  # Lightning sets it, so that processes it starts use the same seed
    return None if seed is None else int(seed)
