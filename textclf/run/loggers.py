"""Loggers of a run: `metrics.csv`, W&B (offline where it cannot be reached), and any other of Lightning."""

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

from textclf.classes.paths import public_path
from textclf.console import say
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.run.wandb_server import why_offline

ROOT_NAME = "lightning_logs"
"""Lightning's default name of a folder of all runs."""
PACKAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "TensorBoardLogger": (("tensorboard", "tensorboardX"), "'textclf[tensorboard]'"),
    "MLFlowLogger": (("mlflow",), "mlflow"),
    "CometLogger": (("comet_ml",), "comet_ml"),
}
"""Loggers of Lightning that need another package: modules, one of which must be there, and the package to install."""


class MetricsCSV(Logger):
    """Writes `metrics.csv`, one row per logged step; the file is replaced atomically, and a resumed run continues it.

    (Lightning's own CSV logger deletes what an interrupted run has written.)
    """

    def __init__(self, save_dir: str = ".") -> None:
        """Stores the folder.

        Args:
            save_dir: The folder; the command line gives the run folder.
        """
        super().__init__()
        self.path = Path(save_dir, "metrics.csv")
        self._rows: list[dict[str, Any]] | None = None
        self._written_at = 0.0
        self._seconds = 0.0  # that writing took the last time

    @property
    def name(self) -> str:
        """Empty: the file is in the folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty: the file is in the folder itself."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | argparse.Namespace, *args: Any, **kwargs: Any) -> None:
        """Writes nothing: hyperparameters are in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds a row; the trainer calls `save` after it."""
        if self._rows is None:
            self._rows = self._rows_before(step or 0)
        row: dict[str, Any] = {"step": step}
        for name, value in metrics.items():
            row[name] = value.item() if isinstance(value, torch.Tensor) else value
        self._rows.append(row)

    def _rows_before(self, step: int) -> list[dict[str, Any]]:
        """The rows that an interrupted run wrote before the step that this one resumes from."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if int(row["step"] or 0) < step]

    @rank_zero_only
    def save(self) -> None:
        """Writes the file; a long one so seldom that writing takes at most a twentieth of the time."""
        is_short = len(self._rows or ()) <= 1000
        if is_short or time.monotonic() - self._written_at > 20 * self._seconds:
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
        """Writes the rows that are not written yet."""
        self._write()


class WandbRunLogger(WandbLogger):
    """Lightning's W&B logger with the arguments that a run needs.

    (Lightning's own takes all arguments of `wandb.init`: each command would import wandb to parse them, and each
    `config.yaml` would list them. Where one of them is needed, name `WandbLogger` instead.)
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
        """Stores the arguments of the record.

        Args:
            project: Project of W&B.
            name: Name of the run; by default that of the run folder.
            entity: User or team; your own by default.
            group: Runs that belong together; by default those of one data set and one method.
            job_type: What the run does; the command by default.
            tags: Tags of the run.
            notes: Notes on the run.
            id: Id of a run to continue; a resumed run keeps its own.
            offline: Whether to keep the record on this machine, for `wandb sync`; always so where there is no key.
            save_dir: Folder of the record; the command line gives the run folder.
        """
        more: dict[str, Any] = {"entity": entity, "group": group, "job_type": job_type, "tags": tags, "notes": notes}
        if offline:
            more["mode"] = "offline"
        super().__init__(name=name, save_dir=save_dir, project=project, id=id, offline=offline, **more)
        _leave_out_anonymous(self)


def _leave_out_anonymous(logger: WandbLogger) -> None:
    """Takes a deprecated argument of `wandb.init` away, of which W&B warns in each run, even where it is None.

    Lightning always passes it, and has no public way to leave it out.
    """
    logger._wandb_init.pop("anonymous", None)


def _started_record(logger: WandbLogger) -> Any:
    """The W&B run of a logger; None where it was not started. The public `experiment` would start it."""
    return logger._experiment


def set_up(configured: Any, run_dir: Path, labels: Mapping[str, str]) -> Any:
    """Sets the folder of configured loggers, adds `metrics.csv`, and takes W&B offline without a key or a server.

    Args:
        configured: The trainer's `logger` as the command line parsed it; changed in place.
        run_dir: The run folder.
        labels: W&B's `group` and `job_type`, where the user gave none.

    Returns:
        The loggers; `configured` itself where it holds no configuration of a logger.

    Raises:
        UserError: A logger's package is missing.
    """
    loggers = configured if isinstance(configured, list) else [configured]
    ours = [logger for logger in loggers if hasattr(logger, "class_path")]
    for logger in ours:
        _fill_in(logger, run_dir, labels)
    if not ours or any(logger.class_path.endswith(MetricsCSV.__name__) for logger in ours):
        return configured
    namespace = type(ours[0])
    arguments = namespace(save_dir=str(run_dir))
    return [*loggers, namespace(class_path=public_path(MetricsCSV), init_args=arguments)]


def run_loggers(
    given: Logger | Sequence[Logger] | bool,
    configured: Sequence[Mapping[str, Any]],
    run_dir: Path,
    labels: Mapping[str, str],
) -> list[Logger] | Literal[False]:
    """The loggers of a run from Python.

    Args:
        given: The user's own, to which `metrics.csv` is added; False for none, True for the configured ones.
        configured: Those of the command line, by their class paths.
        run_dir: The run folder.
        labels: W&B's `group` and `job_type`.

    Raises:
        UserError: An object that is given is not a logger.
    """
    if given is False:
        return False
    if given is True:
        parsed = [_with_defaults(entry["class_path"]) for entry in configured]
        return [_made(logger) for logger in set_up(parsed, run_dir, labels)]
    own: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    for logger in own:
        if not isinstance(logger, Logger):
            raise UserError(f"logger {logger!r}: give an object of a lightning.pytorch.loggers.Logger, True or False")
    if not any(isinstance(logger, MetricsCSV) for logger in own):
        own.append(MetricsCSV(str(run_dir)))
    return own


def _with_defaults(class_path: str) -> Namespace:
    """A logger's class path and default arguments, as the parser of the command line gives them."""
    kind: Any = locate(class_path)
    namespace: Any = Namespace  # its constructor has no types
    arguments = namespace()
    for name, parameter in inspect.signature(kind).parameters.items():
        arguments[name] = parameter.default
    return cast(Namespace, namespace(class_path=class_path, init_args=arguments))


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
        # In the run folder, and the same folder after a resume.
        arguments.name = ""
        arguments.version = "tensorboard"
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
    if arguments.get("offline") or arguments.get("mode") or "WANDB_MODE" in os.environ:
        return  # the user has decided
    why = why_offline()
    if why is not None:
        say(f"{why}: logging offline; `wandb login`, then `wandb sync`, sends it later")
        arguments.offline = True
        if "mode" in arguments:
            arguments.mode = "offline"


def _recorded_id(run_dir: Path) -> str | None:
    """The W&B id of the run that is resumed, from the name of the folder of its newest record."""
    if not (run_dir / "config.yaml").is_file():  # a new run
        return None
    newest_first = sorted((run_dir / "wandb").glob("*run-*"), reverse=True)
    for record in newest_first:
        if match := re.fullmatch(r"(offline-)?run-\d+_\d+-(.+)", record.name):
            return match[2]
    return None


def finish(loggers: Sequence[Any], failed: bool) -> None:
    """Ends W&B's records, so that another run in this process gets one of its own.

    Args:
        loggers: Those of the trainer.
        failed: Whether the run failed.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger) and (record := _started_record(logger)) is not None:
            record.finish(exit_code=int(failed))
