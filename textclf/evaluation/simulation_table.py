"""Tables of what `textclf.evaluation.simulation` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textclf.evaluation.answers import METRICS
from textclf.evaluation.paired_tests import LEVEL

Cell = Mapping[str, Any]
WANTED = (0.93, 0.97)
"""Bounds of the coverage of a 95 % interval."""
HEADS = {"accuracy": "accuracy", "macro_f1": "macro-F1", "mcc": "MCC", "nll": "NLL", "brier": "Brier"}
KINDS = {
    "coverage": "intervals of",
    "difference_coverage": "intervals of differences in",
    "false_alarms": "tests of",
}
OTHER_TESTS = ("holm",)
MOSTLY = 0.5
"""Share of the test sets above which a setting counts as one that reports warn of."""


def is_too_frequent(rate: float, tests: int) -> bool:
    """Whether a rate of false alarms is above the level: the exact lower limit of its 95 % interval is."""
    from scipy.stats import binomtest

    low = binomtest(round(rate * tests), tests).proportion_ci(0.95, method="exact").low
    return bool(low > LEVEL)


def failures(results: Mapping[str, Any]) -> list[tuple[Cell, str, str]]:
    """What is not as it should be: the setting, what was measured (`coverage` or another), and the metric or test."""
    found = []
    for cell in results["cells"]:
        for kind in ("coverage", "difference_coverage"):
            for name, share in cell.get(kind, {}).items():
                if not WANTED[0] <= share <= WANTED[1]:
                    found.append((cell, kind, name))
        for name, rate in cell["false_alarms"].items():
            if is_too_frequent(rate, results["tests"]):
                found.append((cell, "false_alarms", name))
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """The results as Markdown, all settings; bold is what fails.

    Args:
        results: The content of the JSON file that `scripts/simulate_statistics.py` writes.
    """
    independent = [cell for cell in results["cells"] if cell["seeds"] == 1 and not cell["groups"]]
    others = [cell for cell in results["cells"] if cell["seeds"] > 1 or cell["groups"]]
    failed = {(id(cell), kind, name) for cell, kind, name in failures(results)}
    interval_heads = [*HEADS.values(), *(f"Δ {head}" for head in HEADS.values())]
    intervals = [["rows", "classes", "accuracy", "warned", *interval_heads]]
    alarms = [["rows", "classes", "accuracy", "McNemar", *list(HEADS.values())[1:], "Holm"]]
    for cell in independent:
        classes = f"{cell['classes']}{', skewed' if cell['skewed'] else ''}"
        head = [f"{cell['rows']:,}", classes, f"{cell['accuracy']:.2f}"]
        covered = []
        for kind in ("coverage", "difference_coverage"):
            covered += [_share(cell, kind, name, failed) for name in METRICS]
        intervals.append([*head, f"{cell['warned']:.0%}", *covered])
        alarms.append([*head, *(_share(cell, "false_alarms", name, failed) for name in (*METRICS, *OTHER_TESTS))])
    further = [["rows", "method", "accuracy", "warned", "interval", "interval of the difference", "false alarms"]]
    for cell in others:
        what = f"{cell['groups']} groups" if cell["groups"] else f"{cell['seeds']} seeds"
        kinds = ("coverage", "difference_coverage", "false_alarms")
        shares = [_share(cell, kind, "accuracy", failed) if kind in cell else "-" for kind in kinds]
        further.append([f"{cell['rows']:,}", what, f"{cell['accuracy']:.2f}", f"{cell['warned']:.0%}", *shares])
    return "\n\n".join(
        [
            f"Coverage of 95 % intervals in per cent, {results['draws']:,} test sets each (Δ: of paired differences; "
            "warned: how many reports say that intervals may be too narrow; bold: not within 93 to 97 %):",
            _table(intervals),
            f"False alarms of tests at 5 % in per cent, {results['tests']:,} test sets each (Holm: any of "
            "10 comparisons with McNemar's test; bold: the exact lower limit is above 5 %):",
            _table(alarms),
            f"Accuracy of methods of several seeds, and of rows in groups of 10, {results['tests']:,} test sets each:",
            _table(further),
        ]
    )


def _share(cell: Cell, kind: str, name: str, failed: set[tuple[int, str, str]]) -> str:
    text = f"{100 * cell[kind][name]:.1f}"
    return f"**{text}**" if (id(cell), kind, name) in failed else text


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    ruler = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ruler, *rest))


def summary(results: Mapping[str, Any]) -> list[str]:
    """How many settings fail, and of how many of these reports warn; then those without a warning.

    Args:
        results: As in `markdown`.

    Returns:
        Lines.
    """
    counts: dict[tuple[str, str], list[bool]] = {}
    for cell, kind, name in failures(results):
        counts.setdefault((kind, name), []).append(cell["warned"] > MOSTLY)
    lines = []
    for (kind, name), warned in sorted(counts.items()):
        measured = sum(name in cell.get(kind, {}) for cell in results["cells"])
        line = f"{KINDS[kind]} {HEADS.get(name, name)}: {len(warned)} of {measured} settings fail"
        if kind != "false_alarms":
            line += f"; reports warn of {sum(warned)} of them"
        lines.append(line)
    for cell, kind, name in failures(results):
        if kind == "false_alarms" or cell["warned"] <= MOSTLY:
            what = f"{KINDS[kind]} {HEADS.get(name, name)}, {100 * cell[kind][name]:.1f} %"
            lines.append(f"without a warning: {what}, with {_in_words(cell)}")
    return lines or ["no setting fails"]


def _in_words(cell: Cell) -> str:
    kind = f"{'skewed' if cell['skewed'] else 'balanced'} classes"
    parts = [f"{cell['rows']:,} rows", f"{cell['classes']} {kind}", f"accuracy {cell['accuracy']:.2f}"]
    if cell["seeds"] > 1:
        parts.append(f"{cell['seeds']} seeds")
    if cell["groups"]:
        parts.append(f"{cell['groups']} groups")
    return ", ".join(parts)
