"""The methods of a comparison: the runs of each, and what its line says without its differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from textclf.errors import UserError
from textclf.evaluation.answers import Answers, Rows
from textclf.evaluation.intervals import Interval, narrow_reasons
from textclf.evaluation.matching import Matched
from textclf.evaluation.method_names import method_names
from textclf.evaluation.report import summarize
from textclf.evaluation.run_records import RunRecord
from textclf.evaluation.speed import texts_per_second


@dataclass(frozen=True, eq=False)
class Method:
    """A row of the comparison: the runs of one configuration, which differ in the seed alone.

    Attributes:
        name: What it is called in the table.
        runs: The runs, folds pooled.
        answers: Their answers to the common rows.
    """

    name: str
    runs: list[Matched]
    answers: Answers

    @cached_property
    def records(self) -> list[RunRecord]:
        """The run folders, each fold its own."""
        return [record for run in self.runs for record in run.records]


def methods_of(runs: Sequence[Matched], short: Mapping[str, str]) -> list[Method]:
    """Puts the seeds of one configuration together, and names the methods."""
    groups: list[list[Matched]] = []
    for run in runs:
        same = [group for group in groups if run.record.config and group[0].record.settings == run.record.settings]
        if not same:
            groups.append([run])
            continue
        for other in same[0]:
            if other.record.seeds == run.record.seeds:
                raise UserError(
                    f"{run.where} and {other.where} are runs of one configuration and one seed: name one of them"
                )
        same[0].append(run)
    names = method_names([group[0].record for group in groups], short)
    methods = []
    for name, group in zip(names, groups, strict=True):
        losses = [run.table.row_losses for run in group]
        answers = Answers(
            np.stack([run.table.predictions for run in group]),
            np.stack([nll for nll, _ in losses]),
            np.stack([brier for _, brier in losses]),
        )
        methods.append(Method(name, group, answers))
    return methods


def method_values(method: Method, intervals: Mapping[str, Interval], rows: Rows) -> dict[str, Any]:
    """The line of a method, without its group, its difference to the baseline, and what compares its speed."""
    metrics: dict[str, Any] = {}
    for name, interval in intervals.items():
        metrics[name] = interval._asdict()
    summaries = [summarize(run.table) for run in method.runs]
    metrics["ece"] = {"value": _mean([summary.get("test/ece") for summary in summaries])}
    if len(method.runs) > 1:
        for name in metrics:
            values = [summary.get(f"test/{name}") for summary in summaries]
            known = [value for value in values if value is not None]
            metrics[name]["sd"] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    facts = [record.facts for record in method.records]
    first = method.runs[0]
    groups = None if rows.groups is None else rows.unit_count
    warnings = narrow_reasons(
        rows.labels, first.table.predictions, rows.num_classes, seeds=len(method.runs), groups=groups
    )
    return {
        "name": method.name,
        "runs": [str(record.path) for record in method.records],
        "seeds": len(method.runs),
        "command": facts[0].get("command"),
        "metrics": metrics,
        "majority_accuracy": summaries[0]["test/majority_accuracy"],
        "train_rows": first.record.metrics.get("train_rows"),
        "rows": len(rows.labels),
        "invalid": int((first.table.predictions < 0).sum()),
        "examples_per_second": _mean([texts_per_second(record) for record in method.records]),
        "peak_memory_mib": _largest([fact.get("peak_memory_mib") for fact in facts]),
        "trained_parameters": facts[0].get("trained_parameters"),
        "cost": _mean([fact.get("cost") for fact in facts]),
        "device": facts[0].get("device"),
        "warnings": warnings,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
