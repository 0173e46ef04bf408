"""The provenance of a report: data set, method, checkpoint, rows and seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textclf.data.text_values import mended
from textclf.version import __version__


@dataclass(frozen=True)
class Provenance:
    """What was evaluated, and on which data; None where it is unknown.

    Attributes:
        split: The split whose rows were scored; also the prefix of the metrics' names.
        data: The data set: its class, and its folder if it was read from one.
        method: The method: its class, and its pretrained weights if it has some.
        checkpoint: Path of the checkpoint; None for a method that was not trained.
        seed: The seed of training; without training, that of the command.
        train_rows: Number of labelled rows that the method was trained on.
        time: When the report was written, ISO 8601 with the offset of the local time zone.
    """

    split: str = "test"
    data: str | None = None
    method: str | None = None
    checkpoint: str | None = None
    seed: int | None = None
    train_rows: int | None = None
    time: str | None = None

    def lines(self, rows: int) -> list[str]:
        """The first lines of a report.

        Args:
            rows: Number of rows that were scored.
        """
        trained = "unknown" if self.train_rows is None else f"{self.train_rows:,}"
        time = self.time or "at an unknown time"
        facts = {
            "data": self.data,
            "method": self.method,
            "checkpoint": self.checkpoint or "none",
            "rows": f"{trained} for training, {rows:,} of {self.split} scored",
            "seed": self.seed,
            "written": f"{time} by textclf {__version__}",
        }
        lines = []
        for name, value in facts.items():
            shown = "unknown" if value is None else value
            lines.append(f"{name + ':':<12}{shown}")
        return lines

    def title(self, rows: int) -> list[str]:
        """The title of a figure: data set, method and rows, one line each.

        Args:
            rows: Number of rows that were scored.
        """
        scored = f"{rows:,} rows of {self.split}"
        if self.train_rows is not None:
            scored += f", {self.train_rows:,} for training"
        return [self.data or "unknown data", self.method or "unknown method", scored]


def described(kind: str, arguments: Mapping[str, Any], *names: str) -> str:
    """The name of a class, and in brackets the first of some arguments that has a value.

    Args:
        kind: The name, or the full path, of the class.
        arguments: Its arguments.
        names: The arguments that distinguish two objects of the class, in order of preference.
    """
    short = kind.rpartition(".")[2]
    for name in names:
        if arguments.get(name):
            value = str(arguments[name])
            return f"{short} ({mended(value)})"  # a path need not be valid UTF-8
    return short


def described_data(kind: str, arguments: Mapping[str, Any]) -> str:
    """A data set in a few words: its class, and its folder if it is read from one."""
    return described(kind, arguments, "data_dir")


def described_method(kind: str, arguments: Mapping[str, Any]) -> str:
    """A method in a few words: its class, and the weights or the served model that it uses."""
    return described(kind, arguments, "pretrained", "model")
