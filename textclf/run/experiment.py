"""`run_experiment`: a run of the command line for a model and data that are made in Python."""

from __future__ import annotations

import inspect
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import yaml
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.classes.paths import public_path
from textclf.console import hushed, say
from textclf.data.base import TextDataModule
from textclf.errors import UserError, check_home
from textclf.evaluation.prediction_table import read_predictions
from textclf.evaluation.provenance import described_data, described_method
from textclf.evaluation.report import Metrics
from textclf.models.base import TextClassifier
from textclf.models.checkpoint import accepted, read_checkpoint
from textclf.plain_values import plain_part
from textclf.processes import run_folder
from textclf.run import loggers
from textclf.run.defaults import (
    DEFAULTS,
    as_list,
    missing_report_callbacks,
    resolve_precision,
    run_callbacks,
    run_plugins,
)
from textclf.run.execution import (
    Command,
    as_user_error,
    check_command,
    execute,
    interruption,
    is_trained,
    recorded,
    say_interrupted,
    say_what_is_run,
    trainer_error,
)
from textclf.run.folder import claim_run_folder, find_checkpoint, run_group
from textclf.run.folder import run_name as folder_name
from textclf.run.report import Reported, report_folder
from textclf.run.secret_options import check_options
from textclf.types import DataFrame


@dataclass(frozen=True)
class Experiment:
    """A finished run.

    Attributes:
        run_dir: The run folder.
        metrics: The content of the report's `metrics.json`; empty where nothing was evaluated.
        checkpoint: The checkpoint that was evaluated, or the newest one; None for a method that has none.
        split: The split that was evaluated; None where none was.
    """

    run_dir: Path
    metrics: Metrics
    checkpoint: Path | None
    split: Reported | None

    @cached_property
    def predictions(self) -> DataFrame:
        """The rows of the evaluated split, as `PredictionTable.to_pandas` gives them.

        Raises:
            UserError: Nothing was evaluated.
        """
        if self.split is None:
            raise UserError(f"the run in {str(self.run_dir)!r} measured no split, so there are no predictions")
        return read_predictions(report_folder(self.run_dir, self.split) / "predictions.parquet").to_pandas()


def run_experiment(
    model: TextClassifier,
    data: TextDataModule,
    *,
    run_dir: str | Path | None = None,
    run_name: str | None = None,
    command: Command | None = None,
    ckpt_path: str | Path | None = None,
    seed: int | None = 42,
    test_after_fit: bool = True,
    callbacks: Callback | Sequence[Callback] = (),
    logger: Logger | Sequence[Logger] | bool = True,
    **trainer: Any,
) -> Experiment:
    """Runs a method on a data set as the command line does, and returns the results.

    A method that trains is trained, then its best checkpoint is tested; any other method is tested. The run folder
    holds what the command writes: `config.yaml`, checkpoints, logs and the report. The trainer has the command line's
    defaults (`textclf/run/defaults.yaml`), and a precision that suits the hardware.

    Args:
        model: The method, made with `num_classes` and `label_names` of the data.
        data: The rows.
        run_dir: Folder of the run; by default `runs/<run_name>/<version>`.
        run_name: Folder under `runs/`; by default that of the checkpoint's run, or `run`.
        command: `fit`, `validate` or `test`; by default `fit` for a method that trains, else `test`, and `test` for a
            checkpoint.
        ckpt_path: Checkpoint to evaluate, or, with `command="fit"`, to resume from: a path, or `best` or `last` of
            `run_dir`.
        seed: Seed of all random numbers of the run; None leaves the generators as they are.
        test_after_fit: Whether `fit` ends with a test.
        callbacks: Callbacks in addition to those of every run.
        logger: True for the command line's loggers, False for none; or one logger or several, to which `metrics.csv` is
            added.
        **trainer: Other arguments of `lightning.pytorch.Trainer`, such as `max_epochs=3` or `accelerator="cpu"`.

    Returns:
        The run folder, the metrics, the predictions and the checkpoint.

    Raises:
        UserError: The cause is an argument, the data or the machine; its message is one line. A run folder in which
            nothing was written is removed.
        KeyboardInterrupt: The run was interrupted; a line is printed that says how to resume it.
    """
    _check_arguments(model, data, callbacks, trainer)
    with _readable_errors():
        check_home()
        folder = None if run_dir is None else str(run_dir)
        path = None if ckpt_path is None else find_checkpoint(str(ckpt_path), folder, [])
        chosen = _chosen_command(command, model, path)
        claimed = claim_run_folder(run_name or folder_name([], path), folder, path if chosen == "fit" else None)
        try:
            what = f"{described_method(type(model).__name__, model.hparams)} on "
            what += described_data(type(data).__name__, data.hparams)
            say_what_is_run(chosen, what, claimed.path, path)
            if seed is not None:
                seed_everything(seed, workers=True, verbose=False)
            check_command(chosen, model, data, None if path is None else read_checkpoint(path), path)
            general = {"seed_everything": True if seed is None else seed, "test_after_fit": test_after_fit}
            made = _trainer(chosen, model, data, claimed.path, general, as_list(callbacks), logger, trainer)
            with recorded(made):
                split = execute(chosen, made, model, data, path, test_after_fit)
                return _experiment(made, split)
        except BaseException as error:
            claimed.remove_if_empty()
            if (number := interruption(error)) is not None:
                again = f"run_experiment(model, data, run_dir={str(claimed.path)!r}, command='fit', ckpt_path='last')"
                say_interrupted(number, chosen, claimed.path, again, ", with a new model")
            raise
        finally:
            claimed.release()


def _check_arguments(model: Any, data: Any, callbacks: Any, trainer: Mapping[str, Any]) -> None:
    """Refuses wrong arguments, before anything is written."""
    for name, value, kind in (("model", model, TextClassifier), ("data", data, TextDataModule)):
        if not isinstance(value, kind):
            given = f"of type {type(value).__name__}"
            if isinstance(value, type):
                given = f"the class {value.__name__}"
            raise UserError(f"run_experiment(model, data): {name} is {given}: give an object of a {kind.__name__}")
    if "default_root_dir" in trainer:
        raise UserError(f"default_root_dir {str(trainer['default_root_dir'])!r}: the run folder is given as run_dir")
    for callback in as_list(callbacks):
        if not isinstance(callback, Callback):
            raise UserError(f"callbacks {callback!r}: give objects of lightning.pytorch.Callback")
    known = list(inspect.signature(Trainer).parameters)
    for name in trainer:
        if name not in known:
            hint = "it takes those of lightning.pytorch.Trainer"
            if close := get_close_matches(name, [*known, *inspect.signature(run_experiment).parameters], 1):
                hint = f"did you mean {close[0]!r}?"
            raise UserError(f"run_experiment has no argument {name!r}: {hint}")


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Runs without warnings; errors that the user can fix become one line, and Ctrl-C a `KeyboardInterrupt`.

    (Lightning turns Ctrl-C into an exit, which would end a notebook's kernel, and ignores any further Ctrl-C.)
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        with hushed():
            yield
    except BaseException as error:
        number = interruption(error)
        if number == signal.SIGINT:
            raise KeyboardInterrupt from error
        if number is not None:
            sys.exit(128 + number)
        if isinstance(error, UserError) or (ours := as_user_error(error)) is None:
            raise
        raise ours from error
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _chosen_command(command: Command | None, model: TextClassifier, path: Path | None) -> Command:
    if command is not None and command not in get_args(Command):
        raise UserError(f"command {command!r}: give one of {', '.join(get_args(Command))}")
    if command is not None:
        return command
    if path is not None or not is_overridden("training_step", model):
        return "test"
    if is_trained(model):
        raise UserError(
            f"this {type(model).__name__} is trained already: make a new one to train it, or pass command='test'"
        )
    return "fit"


def _trainer(
    command: Command,
    model: TextClassifier,
    data: TextDataModule,
    folder: Path,
    general: Mapping[str, Any],
    callbacks: list[Callback],
    logger: Logger | Sequence[Logger] | bool,
    given: Mapping[str, Any],
) -> Trainer:
    """The trainer of a run, with the command line's defaults, and the callbacks and loggers of every run."""
    defaults: dict[str, Any] = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["trainer"]
    configured = defaults.pop("logger")
    del defaults["callbacks"]
    options = {**defaults, **given}
    options["precision"] = resolve_precision(options.get("precision"), options.get("accelerator", "auto"))
    written = {**options, "logger": configured if logger is True else logger}
    if callbacks:
        written["callbacks"] = callbacks
    config = {**general, **_configuration(model, data, written)}
    check_options(config)
    labels = {"group": run_group(config), "job_type": command}
    options["logger"] = loggers.run_loggers(logger, configured, folder, labels)
    options["plugins"] = run_plugins(options.get("plugins"))
    added = [
        *missing_report_callbacks(callbacks),
        *run_callbacks(config, callbacks, options.get("enable_progress_bar")),
    ]
    try:
        return Trainer(**options, callbacks=[*callbacks, *added], default_root_dir=str(folder))
    except (ValueError, TypeError) as error:
        raise trainer_error(error) from error


def _configuration(model: TextClassifier, data: TextDataModule, options: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `config.yaml`: classes and plain arguments; a line names the arguments that it cannot hold."""
    arguments = {
        "trainer": dict(options),
        "model": accepted(type(model), model.hparams),
        "data": accepted(type(data), {**data.hparams, "label_names": list(data.label_names)}),
    }
    kept: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    for key, values in arguments.items():
        kept[key] = plain_part(values)
        left_out += [f"{key}.{name}" for name in values if name not in kept[key]]
    if left_out:
        say(f"config.yaml leaves out {', '.join(left_out)}: objects cannot be written to it")
    return {
        "trainer": kept["trainer"],
        "model": {"class_path": class_path(model), "init_args": kept["model"]},
        "data": {"class_path": class_path(data), "init_args": kept["data"]},
    }


def class_path(value: Any) -> str:
    """The class path of an object; a line is printed where another process could not import it by that path."""
    kind = type(value)
    path = public_path(kind)
    found = getattr(sys.modules.get(kind.__module__), kind.__qualname__, None)
    if kind.__module__ == "__main__" or found is not kind:
        say(
            f"{path} cannot be imported by the command line, so that config.yaml is of use here alone: move "
            f"{kind.__name__} to the top of a module"
        )
    return path


def _experiment(trainer: Trainer, split: Reported | None) -> Experiment:
    folder = run_folder(trainer)
    metrics: Metrics = {}
    if split is not None and trainer.is_global_zero:
        metrics = json.loads((report_folder(folder, split) / "metrics.json").read_text(encoding="utf-8"))
    metrics = trainer.strategy.broadcast(metrics)
    checkpoint = None
    newest = folder / "checkpoints" / "last.ckpt"
    if split is None and newest.is_file():
        checkpoint = newest
    elif metrics.get("checkpoint") is not None:
        checkpoint = Path(str(metrics["checkpoint"]))
    return Experiment(folder, metrics, checkpoint, split)
