"""The processes of `predict`: how many there are, and how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from textclf.errors import UserError
from textclf.run.execution import starts_processes_in_python


def set_prediction_processes(options: Any) -> None:
    """Sets the number of processes where the user has not: those of torchrun, else one.

    Args:
        options: The options of the trainer.
    """
    if options.devices not in ("auto", "-1", -1):
        return
    options.devices = 1
    if TorchElasticEnvironment.detect():
        here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        options.devices = here
        if options.num_nodes == 1:
            options.num_nodes = everywhere // here


def check_prediction(trainer: Trainer, source: str | None) -> None:
    """Refuses processes and limits with which not all rows would be written.

    Args:
        trainer: The trainer.
        source: `--input`.

    Raises:
        UserError: The message names the option.
    """
    limit = trainer.limit_predict_batches
    if isinstance(limit, int) or limit != 1.0:  # 1 is one batch, 1.0 is all
        raise UserError(
            "predict writes all rows: leave --trainer.limit_predict_batches and --trainer.fast_dev_run out, and give "
            "fewer rows"
        )
    if trainer.world_size == 1:
        return
    if source == "-":
        raise UserError("--input -: standard input is read by one process: give a file, or pass --trainer.devices 1")
    if not isinstance(trainer.strategy, DDPStrategy) or starts_processes_in_python(trainer):
        raise UserError("predict on several processes: pass --trainer.strategy ddp, or --trainer.devices 1")


@contextmanager
def ends_its_processes(trainer: Trainer) -> Iterator[None]:
    """Ends the processes that the trainer has started if this one fails.

    Lightning does so after Ctrl-C alone. The list of its processes is an attribute of its launcher.
    """
    try:
        yield
    except BaseException:
        for process in getattr(trainer.strategy.launcher, "procs", ()):
            process.send_signal(signal.SIGKILL)
        raise
