"""An exploration as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from textclf.console import align_table
from textclf.findings.finding import Exploration, Finding, Lengths

MAX_CLASSES = 20
"""Maximum number of classes whose rows are listed; the page has all."""
WIDTH = 120


def as_text(exploration: Exploration) -> str:
    """Rows by class, lengths, findings and notes as plain text."""
    parts = [
        [f"{exploration.name}: {len(exploration.label_names)} classes"],
        _classes(exploration),
        _lengths(exploration.lengths),
        _findings(exploration),
        [line for note in exploration.notes for line in _wrapped(note, "  ")],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _classes(exploration: Exploration) -> list[str]:
    splits = list(exploration.splits)
    table = [["rows", *splits], ["all", *(f"{exploration.rows[split]:,}" for split in splits)]]
    for name in exploration.label_names[:MAX_CLASSES]:
        cells = []
        for split in splits:
            counts = exploration.splits[split]
            share = counts[name] / max(1, sum(counts.values()))
            cells.append(f"{counts[name]:,} ({share:.1%})")
        table.append([name, *cells])
    lines = align_table(table, "<" + ">" * len(splits))
    if len(exploration.label_names) > MAX_CLASSES:
        lines.append(f"and {len(exploration.label_names) - MAX_CLASSES:,} more classes")
    return lines


def _lengths(lengths: Sequence[Lengths]) -> list[str]:
    table = [["lengths", "split", "mean", "median", "95 %", "longest"]]
    for one in lengths:
        if one.label is None:
            quantiles = [f"{one.quantiles[place]:,.0f}" for place in (3, 5, 6)]
            table.append([one.unit, one.split, f"{one.mean:,.1f}", *quantiles])
    return align_table(table, "<<>>>>") if len(table) > 1 else []


def _findings(exploration: Exploration) -> list[str]:
    if not exploration.findings:
        return ["no findings"]
    number = len(exploration.findings)
    lines = ["1 finding" if number == 1 else f"{number} findings"]
    for finding in exploration.findings:
        lines += _wrapped(f"{finding.kind} ({finding.split}): {finding.detail}{_mended(finding, exploration)}", "    ")
    return lines


def _mended(finding: Finding, exploration: Exploration) -> str:
    """By which cleaning step a finding is mended, and whether the recipe has it."""
    if finding.remedy is None:
        return ""
    if finding.mended:
        return f" The recipe mends it ({finding.remedy})."
    if finding.remedy in exploration.recipe:
        return f" The cleaning step {finding.remedy} mends it; the recipe has it, but not for {finding.split}."
    return f" The cleaning step {finding.remedy} mends it; the recipe does not have it."


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
