"""Output for the user of a command: lines, tables, and a filter for notices of libraries."""

import codecs
import io
import logging
import os
import signal
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from textclf.errors import printable, user_error
from textclf.redaction import print_redacted, redacted

LOG_LEVELS = {
    "lightning.pytorch": logging.WARNING,
    "lightning.fabric": logging.WARNING,
    "lightning.pytorch.callbacks": logging.INFO,  # lines of callbacks that the user has configured
}
"""Level from which a logger's lines are shown."""
IGNORED_WARNINGS = (
    ".*isinstance.treespec, LeafSpec.*",  # deprecated in torch 2.13, still used by lightning 2.6
    ".*configure_optimizers. returned .None.*",  # a method that is fitted in `prepare` has no optimizer,
    ".*training_step. returned .None.*",  # no loss,
    ".*is an empty generator, no gradient clipping.*",  # and no gradients
    ".*is smaller than the logging interval.*",
    ".*is not supported by the model summary.*",
    ".*callbacks used to create the checkpoint need to be provided.*",  # callbacks that write the run folder
    ".*does not have many workers.*",  # rows are encoded before training: collating a batch is fast
    ".*Total length of .list. across ranks is zero.*",  # data without a validation split: `fit` reports it itself
    ".*but have no .val_dataloader.. Skipping val loop.*",
    "Checkpoint directory .* exists and is not empty",  # of a run that is resumed
)
"""Regular expressions of warnings that are not shown."""


def say(message: str) -> None:
    """Prints a line on standard error, so that standard output stays free for results; on the first process only."""
    from lightning.pytorch.utilities import rank_zero_only  # noqa: PLC0415 - takes seconds to import

    rank_zero_only(print)(f"textclf: {printable(redacted(message))}", file=sys.stderr, flush=True)


def display_width(text: str) -> int:
    """The number of terminal columns that a text takes.

    Args:
        text: One line.

    Returns:
        Two for each wide character, such as a Hangul syllable, none for a combining mark, one for any other.
    """
    width = 0
    for character in text:
        if unicodedata.combining(character):
            continue
        is_wide = unicodedata.east_asian_width(character) in "WF"
        width += 2 if is_wide else 1
    return width


def align_right(text: str, width: int) -> str:
    """Pads a text with spaces on its left.

    Args:
        text: One line.
        width: In terminal columns.

    Returns:
        The text, `width` columns wide or wider.
    """
    return " " * (width - display_width(text)) + text


def align_table(rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    """Pads the cells of a table so that its columns are aligned on a terminal.

    Args:
        rows: The cells of each row; every row has the same number of them.
        alignment: For each column `<` (left) or `>` (right), as in a format specification.

    Returns:
        A line for each row, two spaces between columns, without spaces at the end.
    """
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for cell, width, side in zip(row, widths, alignment, strict=True):
            padding = " " * (width - display_width(cell))
            cells.append(cell + padding if side == "<" else padding + cell)
        lines.append("  ".join(cells).rstrip())
    return lines


def use_utf8() -> None:
    """Makes standard input and output UTF-8 in every locale; a terminal keeps its own encoding.

    A character that a terminal cannot show is escaped. Closed streams are replaced by the null device.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends
    for stream in (sys.stdin, sys.stdout):
        if not isinstance(stream, io.TextIOWrapper):  # it was replaced, as in a notebook
            continue
        is_utf8 = codecs.lookup(stream.encoding).name == "utf-8" and stream.errors == "strict"
        if stream.isatty():
            stream.reconfigure(errors="backslashreplace")
        elif not is_utf8:  # a stream that is right is left alone: it may be in use, and could not be changed
            stream.reconfigure(encoding="utf-8", errors="strict")


def run_script(name: str, work: Callable[[], int | None]) -> int:
    """Does the work of a script; an error that the user can correct is printed as one line, without a traceback.

    Args:
        name: Name of the script, for the line.
        work: What it does; it may return an exit code.

    Returns:
        The exit code: that of `work`, 0 by default; 2 after such an error, 130 after Ctrl-C.
    """
    use_utf8()
    sys.excepthook = print_redacted
    try:
        return work() or 0
    except KeyboardInterrupt:
        print(f"{name}: stopped by Ctrl-C", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        known = user_error(error)
        if known is None:
            raise
        print(f"{name}: error: {known}", file=sys.stderr)
        return 2


def on_terminal() -> bool:
    """Whether output goes to a terminal, so that progress bars can be drawn."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def hush() -> None:
    """Filters log lines and warnings of libraries that are not actionable here, and progress bars without a terminal.

    Other warnings and errors are still shown.
    """
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    os.environ.setdefault("WANDB_SHOW_INFO", "false")
    if not on_terminal():
        from huggingface_hub.utils.tqdm import disable_progress_bars
        from transformers.utils.logging import disable_progress_bar

        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # before anything imports it
        disable_progress_bars()
        disable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def hushed() -> Iterator[None]:
    """Filters as `hush` does, and restores log levels and filters of warnings afterwards."""
    levels = {name: logging.getLogger(name).level for name in LOG_LEVELS}
    try:
        with warnings.catch_warnings():
            hush()
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
