"""What became of the rows of each split, counted step by step."""

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
        split: Of the rows.
        step: Name of the step.
        changed: Rows whose text it changed.
        dropped: Rows that it took away.
        rows: Rows that are left.
        why: The reason.
        first: Whether the split has its rows from this step.
    """

    split: Split
    step: str
    changed: int
    dropped: int
    rows: int
    why: str
    first: bool


class Ledger:
    """The entries of all splits that were read; no row goes without one."""

    def __init__(self) -> None:
        """Starts empty."""
        self.entries: list[Entry] = []

    def add(self, split: Split, step: str, rows: int, *, why: str = "", changed: int = 0) -> None:
        """Notes a step: `rows` are left after it."""
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
        left = {entry.split: f"{entry.rows:,}" for entry in shown}
        splits = [split for split in SPLITS if split in left]
        steps: dict[str, list[str]] = {}
        for entry in sorted(shown, key=lambda entry: entry.step != READ):
            reasons = steps.setdefault(entry.step, [])
            if entry.why and entry.why not in reasons:
                reasons.append(entry.why)
        cells = {(entry.step, entry.split): _cell(entry) for entry in shown}
        idle = [step for step in steps if {cells.get((step, split), "0") for split in splits} == {"0"}]
        lines = [["", *splits, ""]]
        for step, reasons in steps.items():
            if step not in idle:
                lines.append([step, *(cells.get((step, split), "") for split in splits), "; ".join(reasons)])
        lines.append(["rows used", *(left[split] for split in splits), ""])
        text = align_table(lines, "<" + ">" * len(splits) + "<")
        return "\n".join([*text, f"without effect: {', '.join(idle)}"] if idle else text)


def _cell(entry: Entry) -> str:
    if entry.first:
        return f"{entry.rows:,}"
    marks = [f"~{entry.changed:,}"] * (entry.changed > 0) + [f"-{entry.dropped:,}"] * (entry.dropped > 0)
    return " ".join(marks) or "0"
