"""A run, from the command line or from Python: checks before it, its commands, and what ends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.console import say
from textclf.data.base import TextDataModule
from textclf.data.labels import normalized_names
from textclf.errors import UserError, user_error
from textclf.models.base import TextClassifier
from textclf.models.preparation import PreparedClassifier
from textclf.processes import callbacks_of, run_folder
from textclf.run import loggers
from textclf.run.folder import is_first_process
from textclf.run.report import Reported, ReportWriter
from textclf.run.wandb_server import refusal

Command = Literal["fit", "validate", "test"]


def check_command(
    command: str, model: TextClassifier, data: TextDataModule, checkpoint: Mapping[str, Any] | None, path: Path | None
) -> None:
    """Refuses a command that cannot work; restores the method from the checkpoint, all but its weights.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        model: The method.
        data: The rows.
        checkpoint: What the checkpoint holds; None where there is none.
        path: Its path.

    Raises:
        UserError: The method overrides what is never called, must be trained first, cannot be trained, or is not that
            of the checkpoint.
    """
    if checkpoint is None:  # else `prepare` was called before the checkpoint was saved
        check_overrides(model)
    name = type(model).__name__
    trains = is_overridden("training_step", model)
    if command == "fit" and not trains:
        raise UserError(f"fit: {name} has nothing to train; run `test` to evaluate it as it is")
    if checkpoint is not None:
        if command == "fit" and "optimizer_states" not in checkpoint:
            raise UserError(
                f"fit: {str(path)!r} holds weights alone, without the state of the optimizer: "
                "resume with --ckpt_path last"
            )
        _restore(command, model, data, checkpoint, path)
    elif command != "fit" and trains and not is_trained(model):
        raise UserError(f"{command}: {name} must be trained first; run `fit`, then pass its --ckpt_path")
    if command != "predict":
        data.source_splits()  # raises an error where the data folder does not exist


def check_overrides(model: TextClassifier) -> None:
    """Refuses a method that overrides what is never called, because something else that it needs is missing.

    Raises:
        UserError: The message names the method, and what is missing.
    """

    def is_own(name: str) -> bool:
        return is_overridden(name, model, TextClassifier)

    name = type(model).__name__
    # A method may decide in its constructor whether it needs the whole split.
    lineage = type(model).__mro__[: type(model).__mro__.index(TextClassifier)]
    decides = any("needs_whole_split" in vars(each) for each in (model, *lineage))
    if is_own("calibrate_split") and not decides:
        raise UserError(f"{name}.calibrate_split is never called: set needs_whole_split = True in the class")
    if is_own("set_examples") and not is_own("example_request"):
        raise UserError(f"{name}.set_examples is never called: define example_request, which asks for the rows")
    if is_own("prepare") and not is_overridden("training_step", model) and not model.fitted:
        raise UserError(
            f"{name}.prepare is never called, because {name} has no training_step: derive it from PreparedClassifier, "
            "or call model.prepare(data.rows('train')) before"
        )


def is_trained(model: TextClassifier) -> bool:
    """Whether a method that trains has been trained, here or before its checkpoint was written."""
    return model.textclf.restored or model.textclf.train_rows != 0


def _restore(
    command: str, model: TextClassifier, data: TextDataModule, checkpoint: Mapping[str, Any], path: Path | None
) -> None:
    try:
        model.restore(checkpoint)
    except UserError as error:
        message = str(error)
        assert path is not None
        config = path.resolve().parent.parent / "config.yaml"
        if config.is_file():
            message += f" ({config})"
        raise UserError(message) from error
    data_names = normalized_names(data.label_names)
    if command == "fit" and model.label_names != data_names:
        raise UserError(
            f"the checkpoint has the labels in the order {', '.join(model.label_names)}, the data in the "
            f"order {', '.join(data_names)}: resume with the config.yaml of the checkpoint's own run"
        )


def trainer_error(error: Exception) -> UserError:
    """An error of `Trainer(...)` as one line."""
    return UserError(f"trainer: {str(error).splitlines()[0]}: change that trainer option")


def execute(
    command: Command,
    trainer: Trainer,
    model: TextClassifier,
    data: TextDataModule,
    checkpoint_path: Path | None,
    test_after_fit: bool,
) -> Reported | None:
    """Runs a command with the given model, data and trainer.

    `fit` trains, then tests the best checkpoint, or the last where there was no validation. Before the test it writes
    the report of the validation split, of the same checkpoint; where there is no test split, that is the only report.

    Args:
        command: What to run.
        trainer: With the callbacks of `run_callbacks`.
        model: The method.
        data: The rows.
        checkpoint_path: The checkpoint to evaluate, or to resume from.
        test_after_fit: Whether `fit` ends with a test.

    Returns:
        The split that was evaluated; None where none was.

    Raises:
        UserError: The command cannot run in these processes.
    """
    _check_processes(trainer)
    path = None if checkpoint_path is None else str(checkpoint_path)
    if command == "test":
        trainer.test(model, datamodule=data, ckpt_path=path, verbose=False)
        return "test"
    if command == "validate":
        trainer.validate(model, datamodule=data, ckpt_path=path, verbose=False)
        return "validation"
    if isinstance(model, PreparedClassifier) and trainer.world_size > 1:
        raise UserError(f"fit: {type(model).__name__} is fitted in one process: pass --trainer.devices 1")
    trainer.fit(model, datamodule=data, ckpt_path=path)
    for rule in trainer.early_stopping_callbacks:
        if isinstance(rule, EarlyStopping) and rule.wait_count >= rule.patience:
            say(f"training stopped early: {rule.monitor} did not improve in {rule.wait_count} validations")
    if not test_after_fit or trainer.interrupted:
        return None
    return _evaluate_after_fit(trainer, model, data)


def starts_processes_in_python(trainer: Trainer) -> bool:
    """Whether the strategy forks or spawns its processes (`ddp_spawn`, `ddp_fork`, `ddp_notebook`).

    Lightning has no public name for such strategies. `Strategy.launcher` is public, and its class says it.
    """
    return isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)


def _check_processes(trainer: Trainer) -> None:
    if starts_processes_in_python(trainer):
        raise UserError(
            "this strategy trains in forked or spawned processes, and what is fitted there is lost: run a script with "
            "strategy ddp, or one process (devices 1)"
        )
    if trainer.world_size == 1 and not is_first_process():
        raise UserError(
            "a run in one process, in a process that was started for another run with several: put it into a script "
            "of its own"
        )


def _evaluate_after_fit(trainer: Trainer, model: TextClassifier, data: TextDataModule) -> Reported | None:
    options: dict[str, Any] = {"datamodule": data, "ckpt_path": None, "verbose": False}
    folder = run_folder(trainer) / "checkpoints"
    for path in (folder / "last.ckpt", folder / "best.ckpt"):  # the best one is preferred
        if path.is_file():
            options["ckpt_path"] = str(path)
    if data.has_split("test"):
        if not data.has_split("validation"):
            say("there is no validation split: the last checkpoint is tested")
        elif _can_be_validated(trainer, model):
            _validate_before_test(trainer, model, options)
        trainer.test(model, **options)
        return "test"
    if data.has_split("validation"):
        say("there is no test split: the report is of the validation split")
        trainer.validate(model, **options)
        return "validation"
    say("there is no test split and no validation split: nothing is measured")
    return None


def _can_be_validated(trainer: Trainer, model: TextClassifier) -> bool:
    """Whether validation rows are scored: a method may be fitted to them, and the user may have switched it off."""
    request = model.example_request()
    fitted_to_them = request is not None and request.fit
    return trainer.limit_val_batches != 0 and not fitted_to_them


def _validate_before_test(trainer: Trainer, model: TextClassifier, options: Mapping[str, Any]) -> None:
    """Writes the report of the validation split, for thresholds, stacking and the like; prints one line of it.

    Loggers get nothing of it: they would take `val/...` for the metrics of the last step. They are replaced by some
    that log nothing, since callbacks may use them.
    """
    writers = [callback for callback in callbacks_of(trainer) if isinstance(callback, ReportWriter)]
    own_loggers = trainer.loggers
    trainer.loggers = [DummyLogger() for _ in own_loggers]
    for writer in writers:
        writer.brief = True
    try:
        trainer.validate(model, **options)
    finally:
        trainer.loggers = own_loggers
        for writer in writers:
            writer.brief = False


@contextmanager
def recorded(trainer: Trainer) -> Iterator[None]:
    """Ends the loggers' records with the run, so that the next run in this process starts its own."""
    failed = True
    try:
        yield
        failed = False
    finally:
        loggers.finish(trainer.loggers, failed)


def interruption(error: BaseException) -> signal.Signals | None:
    """The signal that stopped a run; None for any other error.

    Lightning turns Ctrl-C into an exit of the process with the code 1, and SIGTERM into one with the code 0.
    """
    if isinstance(error, SIGTERMException):
        return signal.SIGTERM
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return signal.SIGINT
    return None


def say_what_is_run(command: str, what: str, folder: Path, checkpoint: Path | None) -> None:
    """Prints a line with the command, the method and data, the run folder, and the checkpoint."""
    line = f"{command}: {what}, run folder {folder}"
    if checkpoint is not None:
        line += f", checkpoint {checkpoint}"
    say(line)


def say_interrupted(number: signal.Signals, command: str, run: str | Path, again: str, another: str) -> None:
    """Prints that a run was stopped, and how to resume it.

    Args:
        number: The signal.
        command: The command that was run.
        run: The run folder.
        again: How to resume training.
        another: What to change to train again from the beginning; may be empty.
    """
    line = "stopped by Ctrl-C" if number == signal.SIGINT else f"stopped by {number.name}"
    if command == "fit" and Path(run, "checkpoints", "last.ckpt").is_file():
        line += f": resume with `{again}`"
    elif command == "fit":
        line += f": no checkpoint is saved yet, so start again{another}"
    say(line)


def as_user_error(error: BaseException) -> UserError | None:
    """An error that the user can fix, as one line; None for any other error."""
    ours = user_error(error) or refusal(error)
    if ours is not None:
        return ours
    if str(error).startswith("Error(s) in loading state_dict"):
        details = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        return UserError(f"the weights of the checkpoint do not fit its method ({details}): use another one of the run")
    # Lightning's own messages for these two kinds of a user's mistake are clear.
    if isinstance(error, MisconfigurationException) or str(error).startswith("Early stopping conditioned"):
        return UserError(str(error))
    return None
