"""Output for the person who runs a command: lines, tables, and which notices of libraries are shown."""

import codecs
import io
import logging
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def say(message: str) -> None:
    """Prints a line on standard error, so that standard output stays free for results; on the first process only."""
    from lightning.pytorch.utilities import rank_zero_only  # noqa: PLC0415 - takes seconds to import

    rank_zero_only(print)(f"textclf: {message}", file=sys.stderr, flush=True)


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
        rows: The cells of each row, as many in each.
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
    """Lets standard input and output be UTF-8, whatever the locale; a terminal keeps its own encoding.

    A character that a terminal cannot show is escaped. Streams that are closed are empty, and lead nowhere.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdin, sys.stdout):
        if not isinstance(stream, io.TextIOWrapper):  # replaced, as in a notebook
            continue
        is_utf8 = codecs.lookup(stream.encoding).name == "utf-8" and stream.errors == "strict"
        if stream.isatty():
            stream.reconfigure(errors="backslashreplace")
        elif not is_utf8:  # one that is in use already cannot be changed
            stream.reconfigure(encoding="utf-8", errors="strict")


def on_terminal() -> bool:
    """Whether progress bars can be drawn."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def hush() -> None:
    """Silences what libraries say that nobody can act on here: notices, and progress bars without a terminal.

    Warnings and errors stay, but for those that are about how this package uses a library.
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
    """Silences as `hush` does, and gives log levels and filters of warnings back."""
    levels = {name: logging.getLogger(name).level for name in LOG_LEVELS}
    try:
        with warnings.catch_warnings():
            hush()
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


LOG_LEVELS = {
    "lightning.pytorch": logging.WARNING,
    "lightning.fabric": logging.WARNING,
    "lightning.pytorch.callbacks": logging.INFO,  # what a callback says where the user has asked for it
}
IGNORED_WARNINGS = (
    ".*isinstance.treespec, LeafSpec.*",  # deprecated in torch 2.13, still used by lightning 2.6
    ".*configure_optimizers. returned .None.*",  # a method that is fitted whole in `prepare` has none ...
    ".*training_step. returned .None.*",  # ... and nothing to train ...
    ".*is an empty generator, no gradient clipping.*",  # ... or to clip
    ".*is smaller than the logging interval.*",
    ".*is not supported by the model summary.*",
    ".*callbacks used to create the checkpoint need to be provided.*",  # ours write the run folder: of no use here
    ".*does not have many workers.*",  # rows are encoded before training: a batch costs little
    ".*Total length of .list. across ranks is zero.*",  # data without a validation split: `fit` says it itself
    ".*but have no .val_dataloader.. Skipping val loop.*",
    "Checkpoint directory .* exists and is not empty",  # the folder of checkpoints, of a run that goes on
)
