"""What was done to break textclf, and what came of it: the table of `scripts/README.md`, and its sums.

A stored result has these rows in its list `robustness`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

from textclf.evaluation.leaderboard_formats import markdown_table
from textclf.evaluation.leaderboard_tables import UNKNOWN, Table


class Check(TypedDict):
    """What was tried, and what came of it; None for what does not apply.

    Attributes:
        check: What was done, in words.
        tried: How many of them, with their unit.
        faults: Number of faults that were injected: kills, full disks, answers that fail.
        bad_inputs: Number of inputs that are damaged, hostile or random.
        lost: Number of rows that were lost, counted twice or answered wrongly.
        crashes: Number of failures without a clear error, and of damaged files that were read as whole ones.
        difference: Largest difference of a log-probability from that of the reference, in nats.
        command: What measured it.
    """

    check: str
    tried: str
    faults: int | None
    bad_inputs: int | None
    lost: int | None
    crashes: int | None
    difference: float | None
    command: str


def read_checks(folder: Path) -> list[Check]:
    """The checks of all stored results.

    Args:
        folder: The folder of the stored results.
    """
    checks: list[Check] = []
    for file in sorted(folder.glob("*.json")):
        checks += json.loads(file.read_text(encoding="utf-8")).get("robustness", [])
    return checks


def robustness_table(folder: Path) -> str:
    """The checks as a table in Markdown.

    Args:
        folder: The folder of the stored results.
    """
    rows = []
    for check in read_checks(folder):
        counts = [_count(check["faults"]), _count(check["bad_inputs"]), _count(check["lost"]), _count(check["crashes"])]
        rows.append(
            [check["check"], check["tried"], *counts, _difference(check["difference"]), f"`{check['command']}`"]
        )
    header = ["check", "tried", "faults", "bad inputs", "rows lost", "crashes", "largest difference", "command"]
    return markdown_table(Table(header, "<<>>>>><", rows))


def robustness_sums(folder: Path) -> str:
    """The sums of the table, in a sentence.

    Args:
        folder: The folder of the stored results.
    """
    checks = read_checks(folder)
    faults = sum(check["faults"] or 0 for check in checks)
    bad_inputs = sum(check["bad_inputs"] or 0 for check in checks)
    lost = sum(check["lost"] or 0 for check in checks)
    crashes = sum(check["crashes"] or 0 for check in checks)
    difference = max((check["difference"] or 0.0 for check in checks), default=0.0)
    return (
        f"{faults:,} faults injected, {lost:,} rows lost; {bad_inputs:,} bad inputs, {crashes:,} crashes; the largest "
        f"difference of a log-probability is {difference:.2g} nats."
    )


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _difference(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2g} nats"
