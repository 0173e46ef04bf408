"""The provenance of a report: data set, method, checkpoint, rows and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textclf.version import __version__

if TYPE_CHECKING:
    from textclf.data.cleaning import CleaningStep


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
        data_set: The name of the data set in comparisons; see `data_set_name`.
    """

    split: str = "test"
    data: str | None = None
    method: str | None = None
    checkpoint: str | None = None
    seed: int | None = None
    train_rows: int | None = None
    time: str | None = None
    data_set: str | None = None

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
    from textclf.data.text_values import mended  # noqa: PLC0415 - its package takes seconds to import

    short = kind.rpartition(".")[2]
    for name in names:
        if arguments.get(name):
            value = str(arguments[name])
            return f"{short} ({mended(value)})"  # a path need not be valid UTF-8
    return short


def described_data(kind: str, arguments: Mapping[str, Any]) -> str:
    """A data set in a few words: its class, its folder if it is read from one, and the fold that is tested."""
    words = described(kind, arguments, "data_dir")
    if arguments.get("folds") is not None:
        words += f", fold {arguments['fold']} of {arguments['folds']}"
    return words


def data_set_name(
    kind: str, folder: str | Path | None, cleaning: Sequence[CleaningStep], recipe: Sequence[CleaningStep]
) -> str:
    """The name of a data set: runs of the same name can be compared.

    Args:
        kind: Name of the class.
        folder: The folder that tells two data sets of one class apart; None for a class that has one data set.
        cleaning: The cleaning steps.
        recipe: Those of the class: texts that are cleaned in another way are another data set.

    Returns:
        Such as `FilesDataModule (reviews)`, or `KorSarcasmDataModule (without StripWhitespace)`.
    """
    from textclf.data.text_values import mended  # noqa: PLC0415 - its package takes seconds to import

    name = kind if folder is None else f"{kind} ({mended(Path(folder).resolve().name)})"
    own = [_step_name(step) for step in recipe]
    given = [_step_name(step) for step in cleaning]
    if own == given:
        return name
    differences = [f"without {step}" for step in own if step not in given]
    differences += [f"with {step}" for step in given if step not in own]
    if not given:
        differences = ["without cleaning"]
    elif not differences:
        differences = ["cleaned in another order"]
    return f"{name} ({', '.join(differences)})"


def _step_name(step: CleaningStep) -> str:
    """The class of a cleaning step, with the arguments that are not the defaults."""
    arguments = []
    for field in fields(step):  # type: ignore[arg-type]  # a subclass is a dataclass
        value = getattr(step, field.name)
        if field.default is MISSING or _as_tuple(value) != _as_tuple(field.default):
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            arguments.append(f"{field.name}: {shown}")
    kind = type(step).__name__
    return f"{kind} [{'; '.join(arguments)}]" if arguments else kind


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def described_method(kind: str, arguments: Mapping[str, Any]) -> str:
    """A method in a few words: its class, and the weights or the served model that it uses."""
    return described(kind, arguments, "pretrained", "model")
