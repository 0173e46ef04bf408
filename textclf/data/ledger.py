"""Counts of the rows of each split after each step of reading and cleaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textclf.console import align_table
from textclf.data.splitting import SPLITS, Split

READ = "rows read"


@dataclass(frozen=True)
class Entry:
    """One step on one split.

    Attributes:
        split: The split.
        step: Name of the step.
        changed: Number of rows whose text the step changed.
        dropped: Number of rows that it removed.
        rows: Number of rows that are left.
        why: The reason for the step.
        first: Whether this is the split's first step.
    """

    split: Split
    step: str
    changed: int
    dropped: int
    rows: int
    why: str
    first: bool


class Ledger:
    """The entries of all splits that were read; every row that is dropped is counted in one."""

    def __init__(self) -> None:
        """Starts empty."""
        self.entries: list[Entry] = []

    def add(self, split: Split, step: str, rows: int, *, why: str = "", changed: int = 0) -> None:
        """Adds an entry.

        Args:
            split: The split.
            step: Name of the step.
            rows: Number of rows that are left after it.
            why: The reason for the step.
            changed: Number of rows whose text it changed.
        """
        before = next((entry.rows for entry in reversed(self.entries) if entry.split == split), None)
        dropped = 0 if before is None else before - rows
        self.entries.append(Entry(split, step, changed, dropped, rows, why, first=before is None))

    def records(self) -> list[dict[str, Any]]:
        """The entries as dictionaries, for a file or a logger."""
        names = ("split", "step", "changed", "dropped", "rows", "why")
        return [{name: getattr(entry, name) for name in names} for entry in self.entries]

    def __str__(self) -> str:
        """All entries as a table; see `table`."""
        return self.table()

    def table(self, since: int = 0) -> str:
        """Lays entries out: a line for each step that did something, a column for each split.

        Texts that a step changed are marked by `~`, rows that it dropped by `-`. The steps without any effect are named
        in the last line.

        Args:
            since: The number of entries to leave out, such as those that were shown before.
        """
        shown = self.entries[since:]
        rows_left: dict[str, str] = {}
        cells: dict[str, dict[str, str]] = {}  # by step and split
        reasons: dict[str, list[str]] = {}
        for entry in sorted(shown, key=lambda entry: entry.step != READ):
            rows_left[entry.split] = f"{entry.rows:,}"
            cells.setdefault(entry.step, {})[entry.split] = _cell(entry)
            of_step = reasons.setdefault(entry.step, [])
            if entry.why and entry.why not in of_step:
                of_step.append(entry.why)
        splits = [split for split in SPLITS if split in rows_left]
        lines = [["", *splits, ""]]
        without_effect = []
        for step, of_split in cells.items():
            if set(of_split.values()) == {"0"}:
                without_effect.append(step)
            else:
                lines.append([step, *(of_split.get(split, "") for split in splits), "; ".join(reasons[step])])
        lines.append(["rows used", *(rows_left[split] for split in splits), ""])
        text = align_table(lines, "<" + ">" * len(splits) + "<")
        if without_effect:
            text.append(f"without effect: {', '.join(without_effect)}")
        return "\n".join(text)


def _cell(entry: Entry) -> str:
    if entry.first:
        return f"{entry.rows:,}"
    marks = []
    if entry.changed:
        marks.append(f"~{entry.changed:,}")
    if entry.dropped:
        marks.append(f"-{entry.dropped:,}")
    return " ".join(marks) or "0"
