"""How a run is checked, made and carried out, from the command line or from Python."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher  # no public name tells such a strategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.console import say
from textclf.data.base import TextDataModule
from textclf.data.labels import normalized_names
from textclf.errors import UserError, user_error
from textclf.models.base import TextClassifier
from textclf.models.preparation import PreparedClassifier
from textclf.processes import run_folder
from textclf.run import loggers
from textclf.run.folder import is_first_process
from textclf.run.report import Reported
from textclf.run.wandb_server import refusal

Command = Literal["fit", "validate", "test"]


def check_command(
    command: str, model: TextClassifier, data: TextDataModule, checkpoint: Mapping[str, Any] | None, path: Path | None
) -> None:
    """Refuses a command that cannot work; restores all but the weights from the checkpoint.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        model: The method.
        data: The rows.
        checkpoint: What the checkpoint holds; None where there is none.
        path: Its path.

    Raises:
        UserError: The method must be trained first, cannot be trained, or is not that of the checkpoint.
    """
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
        data.source_splits()  # complains of a folder that is not there


def is_trained(model: TextClassifier) -> bool:
    """Whether a method that trains has been trained, here or before its checkpoint was written."""
    return model.textclf.restored or model.textclf.train_rows != 0


def _restore(
    command: str, model: TextClassifier, data: TextDataModule, checkpoint: Mapping[str, Any], path: Path | None
) -> None:
    try:
        model.restore(checkpoint)
    except UserError as error:
        assert path is not None
        config = path.resolve().parent.parent / "config.yaml"
        raise UserError(f"{error} ({config})" if config.is_file() else str(error)) from error
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
    """Runs a command whose model, data and trainer are made.

    `fit` trains, then tests the best checkpoint, or the last where there was no validation. Where there is no test
    split, the report is of the validation split.

    Args:
        command: What to run.
        trainer: With the callbacks of `run_callbacks`.
        model: The method.
        data: The rows.
        checkpoint_path: The checkpoint to measure, or to resume from.
        test_after_fit: Whether `fit` ends with a test.

    Returns:
        The split that was measured; None where none was.

    Raises:
        UserError: The command cannot run in these processes.
    """
    _check_processes(trainer)
    path = str(checkpoint_path) if checkpoint_path else None
    if command != "fit":
        measured = trainer.test if command == "test" else trainer.validate
        measured(model, datamodule=data, ckpt_path=path, verbose=False)
        return "test" if command == "test" else "validation"
    if isinstance(model, PreparedClassifier) and trainer.world_size > 1:
        raise UserError(f"fit: {type(model).__name__} is fitted in one process: pass --trainer.devices 1")
    trainer.fit(model, datamodule=data, ckpt_path=path)
    for rule in trainer.early_stopping_callbacks:
        if isinstance(rule, EarlyStopping) and rule.wait_count >= rule.patience:
            say(f"training stopped early: {rule.monitor} did not improve in {rule.wait_count} validations")
    if not test_after_fit or trainer.interrupted:
        return None
    return _measure_after_fit(trainer, model, data)


def _check_processes(trainer: Trainer) -> None:
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise UserError(
            "this strategy trains in forked or spawned processes, and what is fitted there is lost: run a script with "
            "strategy ddp, or one process (devices 1)"
        )
    if trainer.world_size == 1 and not is_first_process():
        raise UserError(
            "a run in one process, in a process that was started for another run with several: put it into a script "
            "of its own"
        )


def _measure_after_fit(trainer: Trainer, model: TextClassifier, data: TextDataModule) -> Reported | None:
    folder = run_folder(trainer) / "checkpoints"
    found = [str(path) for path in (folder / "best.ckpt", folder / "last.ckpt") if path.is_file()]
    measured: Any = {"datamodule": data, "ckpt_path": found[0] if found else None, "verbose": False}
    if data.has_split("test"):
        if not data.has_split("validation"):
            say("there is no validation split: the last checkpoint is tested")
        trainer.test(model, **measured)
        return "test"
    if data.has_split("validation"):
        say("there is no test split: the report is of the validation split")
        trainer.validate(model, **measured)
        return "validation"
    say("there is no test split and no validation split: nothing is measured")
    return None


@contextmanager
def recorded(trainer: Trainer) -> Iterator[None]:
    """Ends the loggers' records with a run: the next one in this process has its own."""
    failed = True
    try:
        yield
        failed = False
    finally:
        loggers.finish(trainer.loggers, failed)


def interruption(error: BaseException) -> signal.Signals | None:
    """The signal that stopped a run, which Lightning makes exits of; None for any other error."""
    if isinstance(error, SIGTERMException):  # whose own exit code is 0
        return signal.SIGTERM
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        return signal.SIGINT
    return None


def say_what_is_run(command: str, what: str, folder: Path, checkpoint: Path | None) -> None:
    """Says in a line what is run: the command, method and data, the run folder, and the checkpoint."""
    say(f"{command}: {what}, run folder {folder}{f', checkpoint {checkpoint}' if checkpoint else ''}")


def say_interrupted(number: signal.Signals, command: str, run: str | Path, again: str, another: str) -> None:
    """Says that a run was stopped, and how to go on.

    Args:
        number: The signal.
        command: What was run.
        run: The run folder.
        again: How to resume training.
        another: What to change to train again from the beginning; may be empty.
    """
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    hint = ""
    if command == "fit":
        saved = Path(run, "checkpoints", "last.ckpt").is_file()
        restart = f"start again{another}"
        hint = f": go on with `{again}`" if saved else f": no checkpoint is saved yet, so {restart}"
    say(f"stopped by {name}{hint}")


def as_user_error(error: BaseException) -> UserError | None:
    """An error as one line, where the user can mend it; None for any other."""
    ours = user_error(error) or refusal(error)
    # Lightning says these two kinds of a user's mistake well.
    theirs = isinstance(error, MisconfigurationException) or str(error).startswith("Early stopping conditioned")
    return UserError(str(error)) if ours is None and theirs else ours
