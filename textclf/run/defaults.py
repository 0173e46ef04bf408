"""What every run has unless it says otherwise: trainer options, precision, callbacks and plugins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar

from textclf.console import on_terminal, say
from textclf.hardware.precision import choose_precision
from textclf.run.checkpoints import BestCheckpoint, LastCheckpoint, RandomStates, WholeCheckpointIO
from textclf.run.folder import ConfigWriter
from textclf.run.monitors import CleaningRecord, HeapTrimmer, TrainingSpeed
from textclf.run.progress import ProgressLines
from textclf.run.report import ReportRecord, ReportWriter

DEFAULTS = Path(__file__).with_name("defaults.yaml")
"""The command line's defaults, a configuration file."""


def resolve_precision(given: Any, accelerator: Any) -> Any:
    """The trainer's precision: the given one, or else one that suits the hardware, which a line reports."""
    if given is not None:
        return given
    precision, reason = choose_precision(str(accelerator))
    say(f"precision {precision}: {reason}")
    return precision


def default_callbacks() -> list[Callback]:
    """The callbacks of every run, in the order in which they must be called, for a `Trainer` of one's own.

    They write the run folder, which is the trainer's `default_root_dir`: checkpoints, `cleaning.csv` and the report;
    they log the training speed, and save what resuming needs. A trainer with `callbacks=default_callbacks()` needs its
    rows from a `TextDataModule`.
    """
    return [
        CleaningRecord(),
        RandomStates(),
        TrainingSpeed(),
        BestCheckpoint(),
        LastCheckpoint(),
        ReportWriter(),
        ReportRecord(),
        HeapTrimmer(),
    ]


def run_callbacks(config: dict[str, Any], given: Sequence[Callback], progress_bar: bool | None) -> list[Callback]:
    """The callbacks of a run in addition to the given ones.

    Args:
        config: The whole configuration, for `config.yaml`.
        given: The user's own callbacks.
        progress_bar: The trainer's `enable_progress_bar`.
    """
    return [ConfigWriter(config), *default_callbacks(), *progress_lines(given, progress_bar)]


def progress_lines(given: Sequence[Any], progress_bar: bool | None) -> list[Callback]:
    """Progress as lines, where no bar is drawn and the user has neither a bar of their own nor switched it off."""
    has_bar = any(isinstance(callback, ProgressBar) for callback in given)
    return [] if has_bar or progress_bar is False or on_terminal() else [ProgressLines()]


def run_plugins(given: Any) -> list[Any]:
    """The trainer's plugins, with one that writes checkpoints whole where the user has none that writes them."""
    plugins = as_list(given)
    if any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        return plugins
    return [*plugins, WholeCheckpointIO()]


def as_list(value: Any) -> list[Any]:
    """An option that takes nothing, one or several, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
