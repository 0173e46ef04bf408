"""What a report is of: the data, the method, the checkpoint, the rows, and the seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import textclf
from textclf.data.text_values import mended


@dataclass(frozen=True)
class Provenance:
    """What was measured, and on what; None where it is not known.

    Attributes:
        split: The split whose rows were scored; also the prefix of the metrics' names.
        data: The data set: its class, and its folder where it was read from one.
        method: The method: its class, and the pretrained weights where it has some.
        checkpoint: Path of the checkpoint; None for a method that was not trained.
        seed: The seed of training; without training, that of the command.
        train_rows: Number of labelled rows that the method has learnt from.
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
        facts = {
            "data": self.data,
            "method": self.method,
            "checkpoint": self.checkpoint or "none",
            "rows": f"{trained} for training, {rows:,} of {self.split} scored",
            "seed": self.seed,
            "written": f"{self.time or 'at an unknown time'} by textclf {textclf.__version__}",
        }
        return [f"{name + ':':<12}{'unknown' if value is None else value}" for name, value in facts.items()]

    def title(self, rows: int) -> list[str]:
        """The head of a picture: the data set, the method, and the rows, a line each.

        Args:
            rows: Number of rows that were scored.
        """
        learnt = "" if self.train_rows is None else f", {self.train_rows:,} for training"
        return [self.data or "unknown data", self.method or "unknown method", f"{rows:,} rows of {self.split}{learnt}"]


def described(kind: str, arguments: Mapping[str, Any], *names: str) -> str:
    """A class by name, and in brackets the first of some arguments that has a value.

    Args:
        kind: The name, or the full path, of the class.
        arguments: Its arguments.
        names: The arguments that tell two objects of the class apart, in order of preference.
    """
    value = next((arguments[name] for name in names if arguments.get(name)), None)
    name = kind.rpartition(".")[2]
    return name if value is None else f"{name} ({mended(str(value))})"  # a path may be no UTF-8


def described_data(kind: str, arguments: Mapping[str, Any]) -> str:
    """A data set in a few words: its class, and its folder where it is read from one."""
    return described(kind, arguments, "data_dir")


def described_method(kind: str, arguments: Mapping[str, Any]) -> str:
    """A method in a few words: its class, and the weights or the served model that it uses."""
    return described(kind, arguments, "pretrained", "model")
