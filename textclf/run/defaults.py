"""Defaults of every run: trainer options, precision, callbacks and plugins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar

from textclf.console import on_terminal, say
from textclf.hardware.precision import choose_precision
from textclf.run.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, RandomStates
from textclf.run.costs import CostRecord
from textclf.run.folder import ConfigWriter
from textclf.run.monitors import CleaningRecord, HeapTrimmer, TrainingSpeed
from textclf.run.progress import ProgressLines
from textclf.run.report import ReportRecord, ReportWriter
from textclf.run.report_figures import ReportFigures
from textclf.run.report_page import ReportPage

DEFAULTS = Path(__file__).with_name("defaults.yaml")
"""The command line's defaults, a configuration file."""


def resolve_precision(given: Any, accelerator: Any) -> Any:
    """The trainer's precision: the given one, or one that suits the hardware, which is printed with the reason."""
    if given is not None:
        return given
    precision, reason = choose_precision(str(accelerator))
    say(f"precision {precision}: {reason}")
    return precision


def default_callbacks(command: Sequence[str] | None = None) -> list[Callback]:
    """The callbacks of every run, in the order in which they must be called; for your own `Trainer`.

    They write checkpoints, `cleaning.csv` and the report with its figures and page to the run folder, the trainer's
    `default_root_dir`; they log the training speed, and save the state that resuming needs. A trainer with
    `callbacks=default_callbacks()` needs a `TextDataModule`.

    Args:
        command: The words of the command line, for `run.json`; None for a run from Python.
    """
    return [*recording_callbacks(command), *report_callbacks()]


def report_callbacks() -> list[Callback]:
    """The callbacks of a run that the trainer's option `callbacks` may leave out; `defaults.yaml` has the same."""
    return [ReportFigures(), ReportPage()]


def missing_report_callbacks(given: Sequence[Callback]) -> list[Callback]:
    """The callbacks of `report_callbacks` that are not among the given ones.

    Args:
        given: The user's own callbacks.
    """
    missing = []
    for callback in report_callbacks():
        if not any(isinstance(each, type(callback)) for each in given):
            missing.append(callback)
    return missing


def added_report_callbacks(given: Sequence[Callback] | None) -> list[Callback]:
    """The callbacks of `report_callbacks` where the trainer's option `callbacks` is null.

    It is null in the configurations of earlier versions. A list of other callbacks replaces them: a line says so.

    Args:
        given: The value of the option.
    """
    if given is None:
        return report_callbacks()
    missing = [type(callback).__name__ for callback in missing_report_callbacks(given)]
    if given and missing:
        say(
            f"trainer.callbacks has no {' and no '.join(missing)}, so the report goes without: `callbacks+:` in a "
            "configuration and --trainer.callbacks+=... on the command line keep them"
        )
    return []


def recording_callbacks(command: Sequence[str] | None = None) -> list[Callback]:
    """The callbacks that no run is without, in the order in which they must be called.

    Args:
        command: The words of the command line; None for a run from Python.
    """
    return [
        CleaningRecord(),
        RandomStates(),
        TrainingSpeed(),
        BestCheckpoint(),
        LastCheckpoint(),
        CostRecord(command),
        ReportWriter(),
        ReportRecord(),
        HeapTrimmer(),
    ]


def run_callbacks(
    config: dict[str, Any],
    given: Sequence[Callback],
    progress_bar: bool | None,
    command: Sequence[str] | None = None,
) -> list[Callback]:
    """The callbacks of a run in addition to the given ones.

    Args:
        config: The whole configuration, for `config.yaml`.
        given: The trainer's own callbacks, those of `report_callbacks` among them unless they are left out.
        progress_bar: The trainer's `enable_progress_bar`.
        command: The words of the command line; None for a run from Python.
    """
    return [ConfigWriter(config), *recording_callbacks(command), *progress_callbacks(given, progress_bar)]


def progress_callbacks(given: Sequence[Any], progress_bar: bool | None) -> list[Callback]:
    """The callback that prints progress as lines, where no progress bar is drawn.

    Args:
        given: The user's own callbacks; a progress bar among them is used instead.
        progress_bar: The trainer's `enable_progress_bar`; False switches progress off.
    """
    has_bar = any(isinstance(callback, ProgressBar) for callback in given)
    if has_bar or progress_bar is False or on_terminal():
        return []
    return [ProgressLines()]


def run_plugins(given: Any) -> list[Any]:
    """The trainer's plugins; one that writes checkpoints atomically is added where none of them writes checkpoints."""
    plugins = as_list(given)
    if any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        return plugins
    return [*plugins, AtomicCheckpointIO()]


def as_list(value: Any) -> list[Any]:
    """An option that is None, one value or several values, as a list."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    return [value]
