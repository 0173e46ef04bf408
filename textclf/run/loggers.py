"""The record of a run in its own folder, and W&B where nobody is logged in."""

from __future__ import annotations

import argparse
import csv
import inspect
import os
import re
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from pydoc import locate
from typing import Any, Literal, cast

import torch
from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from textclf.class_paths import public_path
from textclf.console import say
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.run.wandb_server import why_offline

ROOT_NAME = "lightning_logs"
"""Lightning's default name of a folder of all runs."""
PACKAGES = {
    "TensorBoardLogger": (("tensorboard", "tensorboardX"), "'textclf[tensorboard]'"),
    "MLFlowLogger": (("mlflow",), "mlflow"),
    "CometLogger": (("comet_ml",), "comet_ml"),
}
"""Of loggers of Lightning: the modules one of which they need, and the package that has it."""


class MetricsCSV(Logger):
    """Writes `metrics.csv`: one row per logged step, whole at any moment; a resumed run goes on in it.

    (Lightning's own CSV logger deletes what an interrupted run has written.)
    """

    def __init__(self, save_dir: str = ".") -> None:
        """Takes the run folder.

        Args:
            save_dir: The folder; the command line gives the run's.
        """
        super().__init__()
        self.path = Path(save_dir, "metrics.csv")
        self._rows: list[dict[str, Any]] | None = None
        self._written_at = self._seconds = 0.0

    @property
    def name(self) -> str:
        """Nothing stands between the folder and the file."""
        return ""

    @property
    def version(self) -> str:
        """Nothing stands between the folder and the file."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | argparse.Namespace, *args: Any, **kwargs: Any) -> None:
        """Leaves them to `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds a row; the trainer calls `save` after it."""
        if self._rows is None:
            self._rows = self._rows_before(step or 0)
        values = {k: v.item() if isinstance(v, torch.Tensor) else v for k, v in metrics.items()}
        self._rows.append({"step": step, **values})

    def _rows_before(self, step: int) -> list[dict[str, Any]]:
        """What an interrupted run wrote before the step that this one goes on from."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if int(row["step"] or 0) < step]

    @rank_zero_only
    def save(self) -> None:
        """Writes the file; a long one no oftener than takes a twentieth of the time."""
        if len(self._rows or ()) <= 1000 or time.monotonic() - self._written_at > 20 * self._seconds:
            self._write()

    def _write(self) -> None:
        if not self._rows:
            return
        started = time.monotonic()
        columns = dict.fromkeys(name for row in self._rows for name in row)
        with atomic_path(self.path) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(columns))
            writer.writeheader()
            writer.writerows(self._rows)
        self._written_at = time.monotonic()
        self._seconds = self._written_at - started

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is left."""
        self._write()


class WandbRunLogger(WandbLogger):
    """Lightning's W&B logger with the arguments that a run needs.

    (Lightning's own takes all of `wandb.init`'s: each command would import wandb to parse them, and each `config.yaml`
    list them. Where one is needed, name `WandbLogger` instead.)
    """

    def __init__(
        self,
        project: str = "textclf",
        name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        id: str | None = None,
        offline: bool = False,
        save_dir: str = ".",
    ) -> None:
        """Takes where the record goes.

        Args:
            project: Of W&B.
            name: Of the run; by default that of the run folder.
            entity: User or team; your own by default.
            group: Runs that belong together; by default those of one data set and one method.
            job_type: What they do; the command by default.
            tags: Of the run.
            notes: On the run.
            id: Of a run to go on with; a run that is resumed keeps its own.
            offline: Keep the record here, for `wandb sync`; it is so anyway where there is no key.
            save_dir: Folder of the record; the command line gives the run's.
        """
        more: dict[str, Any] = {"entity": entity, "group": group, "job_type": job_type, "tags": tags, "notes": notes}
        mode: dict[str, Any] = {"mode": "offline"} if offline else {}
        super().__init__(name=name, save_dir=save_dir, project=project, id=id, offline=offline, **more, **mode)
        self._wandb_init.pop("anonymous", None)  # W&B warns of it in each run, whatever its value


def set_up(configured: Any, run_dir: Path, labels: Mapping[str, str]) -> Any:
    """Points configured loggers at the run folder, adds `metrics.csv`, and takes W&B offline without a key or a server.

    Args:
        configured: The trainer's `logger` as the command line parsed it; changed in place.
        run_dir: The run folder.
        labels: W&B's `group` and `job_type`, where the user gave none.

    Returns:
        The loggers; what holds no configured logger stays as it is.

    Raises:
        UserError: A logger's package is missing.
    """
    loggers = configured if isinstance(configured, list) else [configured]
    ours = [logger for logger in loggers if hasattr(logger, "class_path")]
    for logger in ours:
        _fill_in(logger, run_dir, labels)
    if not ours or any(logger.class_path.endswith(MetricsCSV.__name__) for logger in ours):
        return configured
    return [*loggers, type(ours[0])(class_path=public_path(MetricsCSV), init_args=type(ours[0])(save_dir=str(run_dir)))]


def run_loggers(
    given: Logger | Sequence[Logger] | bool,
    configured: Sequence[Mapping[str, Any]],
    run_dir: Path,
    labels: Mapping[str, str],
) -> list[Logger] | Literal[False]:
    """The loggers of a run that has no command line.

    Args:
        given: The user's own, to which `metrics.csv` is added; False for none, True for the configured ones.
        configured: The command line's, by their class paths.
        run_dir: The run folder.
        labels: W&B's `group` and `job_type`.

    Raises:
        UserError: What is given is no logger.
    """
    if given is False:
        return False
    own: list[Any]
    if given is True:
        parsed = [_with_defaults(entry["class_path"]) for entry in configured]
        return [_made(logger) for logger in set_up(parsed, run_dir, labels)]
    own = list(given) if isinstance(given, list | tuple) else [given]
    for logger in own:
        if not isinstance(logger, Logger):
            raise UserError(f"logger {logger!r}: give an object of a lightning.pytorch.loggers.Logger, True or False")
    if not any(isinstance(logger, MetricsCSV) for logger in own):
        own.append(MetricsCSV(str(run_dir)))
    return own


def _with_defaults(class_path: str) -> Namespace:
    """A logger as the command line's parser gives it."""
    kind: Any = locate(class_path)
    arguments = {name: each.default for name, each in inspect.signature(kind).parameters.items()}
    parsed: Any = Namespace  # its constructor has no types
    return cast(Namespace, parsed(class_path=class_path, init_args=parsed(**arguments)))


def _made(logger: Namespace) -> Logger:
    kind: Any = locate(logger.class_path)
    made: Logger = kind(**logger.init_args)
    return made


def _fill_in(logger: Any, run_dir: Path, labels: Mapping[str, str]) -> None:
    arguments = logger.init_args
    _check_installed(logger.class_path)
    if "save_dir" in arguments and arguments.save_dir in (None, ".", "./"):
        arguments.save_dir = str(run_dir)
    if "TensorBoard" in logger.class_path and (arguments.get("name"), arguments.get("version")) == (ROOT_NAME, None):
        arguments.name, arguments.version = "", "tensorboard"  # a folder of the run's, and the same after a resume
    if "Wandb" in logger.class_path:
        _fill_in_wandb(arguments, run_dir, labels)


def _check_installed(class_path: str) -> None:
    for name, (modules, package) in PACKAGES.items():
        if class_path.endswith(name) and not any(find_spec(module) for module in modules):
            raise UserError(f"trainer.logger: {name} needs a package that is not installed: pip install {package}")


def _fill_in_wandb(arguments: Any, run_dir: Path, labels: Mapping[str, str]) -> None:
    arguments.name = arguments.get("name") or "/".join(run_dir.parts[-2:])
    arguments.id = arguments.get("id") or _recorded_id(run_dir)
    for name, variable in (("group", "WANDB_RUN_GROUP"), ("job_type", "WANDB_JOB_TYPE")):
        if name in arguments and arguments[name] is None and variable not in os.environ:
            arguments[name] = labels[name]
    if (
        not arguments.get("offline")
        and not arguments.get("mode")
        and "WANDB_MODE" not in os.environ
        and (why := why_offline()) is not None
    ):
        say(f"{why}: logging offline; `wandb login`, then `wandb sync`, sends it later")
        arguments.offline = True
        if "mode" in arguments:
            arguments.mode = "offline"


def _recorded_id(run_dir: Path) -> str | None:
    """The W&B id of the run that is resumed: the folder of its record is named after it."""
    if not (run_dir / "config.yaml").is_file():  # a new run
        return None
    records = sorted((run_dir / "wandb").glob("*run-*"))
    found = [match[2] for r in records if (match := re.fullmatch(r"(offline-)?run-\d+_\d+-(.+)", r.name))]
    return found[-1] if found else None


def finish(loggers: Sequence[Any], failed: bool) -> None:
    """Ends W&B's records, so that another run in this process gets one of its own.

    Args:
        loggers: The trainer's.
        failed: Whether the command did.
    """
    for logger in loggers:
        record = getattr(logger, "_experiment", None)
        if isinstance(logger, WandbLogger) and record is not None:
            record.finish(exit_code=int(failed))
