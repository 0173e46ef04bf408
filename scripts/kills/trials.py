"""What became of the faults: the table, and the stored result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.frame import machine

from textclf.console import align_table
from textclf.errors import UserError
from textclf.files import atomic_path

COLUMNS = {
    "kind": "command",
    "fault": "fault",
    "kills": "kills",
    "before": "before the first step",
    "after": "after it",
    "writing": "inside a write",
    "resumed": "ended well when run again",
    "wrong": "wrong results",
    "half": "half files",
    "unclear": "without a clear line",
}
"""The titles of the table, by the keys of its rows; all but the first two are counts."""
CHECK = "commands are killed, meet a full disk or too little memory, and are run again or resumed"


@dataclass
class Trial:
    """What became of one fault.

    Attributes:
        kind: The command.
        fault: The fault.
        code: Exit code of the command that met it; the negative number of the signal that killed it.
        has_started: Whether it had made its first step.
        was_writing: Whether it was cut off inside a write.
        where: The file that was being written, if it is known.
        leftovers: Number of unfinished files right after the fault.
        leftovers_in_the_end: Number of unfinished files after the command was run again.
        resumed: Whether the command ended well when it was run again.
        problems: What must not be, by the column that counts it.
    """

    kind: str
    fault: str
    code: int
    has_started: bool
    was_writing: bool
    where: str
    leftovers: int = 0
    leftovers_in_the_end: int = 0
    resumed: bool = False
    problems: dict[str, str] = field(default_factory=dict)


def described(trial: Trial) -> str:
    """A trial in one line, and its problems."""
    when = "after the first step" if trial.has_started else "before the first step"
    where = f", writing {trial.where}" if trial.where else ""
    line = f"{trial.kind}, {trial.fault} {when}{where} (exit code {trial.code}): "
    if trial.problems:
        return line + "; ".join(f"{name}: {what}" for name, what in trial.problems.items())
    return line + f"right, {trial.leftovers} unfinished files, {trial.leftovers_in_the_end} in the end"


def counted(trials: Sequence[Trial]) -> dict[str, int]:
    """The counts of some trials, by the keys of `COLUMNS`."""
    return {
        "kills": len(trials),
        "before": sum(not trial.has_started for trial in trials),
        "after": sum(trial.has_started for trial in trials),
        "writing": sum(trial.was_writing for trial in trials),
        "resumed": sum(trial.resumed for trial in trials),
        "wrong": sum("wrong" in trial.problems for trial in trials),
        "half": sum("half" in trial.problems for trial in trials),
        "unclear": sum("unclear" in trial.problems for trial in trials),
    }


def rows_of(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """The rows of the table: each command with each fault, and their sum."""
    rows: list[dict[str, Any]] = []
    for kind, fault in sorted({(trial.kind, trial.fault) for trial in trials}):
        own = [trial for trial in trials if (trial.kind, trial.fault) == (kind, fault)]
        rows.append({"kind": kind, "fault": fault, **counted(own)})
    return [*rows, {"kind": "all", "fault": "", **counted(trials)}]


def table(trials: Sequence[Trial]) -> list[str]:
    """The table as lines of text."""
    rows = [[str(row[key]) for key in COLUMNS] for row in rows_of(trials)]
    return align_table([list(COLUMNS.values()), *rows], "<<" + ">" * (len(COLUMNS) - 2))


def robustness(trials: Sequence[Trial], command: str) -> dict[str, Any]:
    """The row of `textclf.evaluation.robustness`."""
    counts = counted(trials)
    where = f"{counts['kills']} kills, {counts['after']} after the first step, {counts['writing']} inside a write"
    return {
        "check": CHECK,
        "tried": where,
        "faults": counts["kills"],
        "bad_inputs": None,
        "lost": counts["wrong"],
        "crashes": counts["half"] + counts["unclear"] + counts["kills"] - counts["resumed"],
        "difference": None,
        "command": command,
    }


def stored_trials(path: Path) -> tuple[list[str], list[Trial]]:
    """The calls and the trials that a file holds; none if there is no such file.

    Raises:
        UserError: It holds something else.
    """
    if not path.is_file():
        return [], []
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return values["calls"], [Trial(**each) for each in values["trials"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a file of this script: give another one as --json") from error


def store(path: Path, trials: Sequence[Trial], calls: Sequence[str]) -> None:
    """Writes the table, and each trial, as JSON.

    Args:
        path: The file.
        trials: All of them.
        calls: The commands that ran them.
    """
    kinds = ["text"] * 2 + ["count"] * (len(COLUMNS) - 2)
    columns = zip(COLUMNS.items(), kinds, strict=True)
    values = {
        "command": calls[0],
        "calls": list(calls),
        "machine": machine(),
        "robustness": [robustness(trials, calls[0])],
        "unfinished_files": sum(trial.leftovers for trial in trials),
        "unfinished_files_in_the_end": sum(trial.leftovers_in_the_end for trial in trials),
        "columns": [{"title": title, "key": key, "kind": kind} for (key, title), kind in columns],
        "rows": rows_of(trials),
    }
    head = json.dumps(values, indent=1, ensure_ascii=False)
    lines = ",\n".join(json.dumps(asdict(trial), ensure_ascii=False) for trial in trials)
    with atomic_path(path) as temporary:
        temporary.write_text(f'{head[:-2]},\n "trials": [\n{lines}\n]}}\n', encoding="utf-8")
