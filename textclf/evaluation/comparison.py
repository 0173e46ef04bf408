"""Compares runs on the same rows: metrics with intervals, paired differences, groups of ties, agreement, ensembles.

`compare` gives one structure of plain values, which `textclf.evaluation.leaderboard` writes as text, CSV, Markdown and
LaTeX, and `textclf.evaluation.comparison_figures` draws.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from textclf.errors import UserError
from textclf.evaluation.agreement import agreement_of, all_missed, ensembles_of
from textclf.evaluation.answers import LOWER_IS_BETTER, METRICS, Answers, Rows
from textclf.evaluation.answers import wins_and_losses as wins_and_losses_of
from textclf.evaluation.intervals import ASSUMED_DISAGREEMENT, Interval, narrow_reasons, smallest_visible
from textclf.evaluation.matching import Matched, match_rows, pool_folds
from textclf.evaluation.method_intervals import method_intervals
from textclf.evaluation.method_names import method_names, short_methods
from textclf.evaluation.paired import Difference, differences
from textclf.evaluation.paired_tests import LEVEL, holm
from textclf.evaluation.ranks import ranks_of
from textclf.evaluation.report import summarize
from textclf.evaluation.run_records import RunRecord
from textclf.evaluation.sentences import sentence

VERSION = 1
Values = dict[str, Any]


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


def compare(
    records: Sequence[RunRecord],
    *,
    baseline: RunRecord | None = None,
    metric: str = "accuracy",
    cluster: str | None = None,
    common_rows: bool = False,
) -> Values:
    """Compares runs; those of different data sets apart.

    Args:
        records: The runs.
        baseline: The run that the others are compared with on its data set; on other data sets, the first run of the
            same method. By default, and where there is none, the first of `records`.
        metric: One of `METRICS`, by which methods are ordered, put into groups of ties, and marked as Pareto-optimal.
        cluster: Column of the prediction tables with the group of each row; groups are resampled instead of rows.
        common_rows: Whether runs of different rows are compared on those that all of them have.

    Returns:
        Plain values for strict JSON: null for what is unknown.

    Raises:
        UserError: There is nothing to compare, or runs of one data set have other rows, texts or labels.
    """
    if metric not in METRICS:
        raise UserError(f"the metric {metric!r} is none of {', '.join(METRICS)}")
    if len(records) < 2:
        raise UserError("one run alone has nothing to be compared with: name two or more")
    by_data: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        by_data[record.data_set].append(record)
    if baseline is not None and baseline not in records:
        raise UserError(f"the baseline {baseline.path} is not one of the runs: name it among them, too")
    if max(map(len, by_data.values())) < 2:
        shown = ", ".join(f"{runs[0].path}: {name}" for name, runs in by_data.items())
        raise UserError(f"each run is of another data set ({shown}): name two or more of one data set")
    short = short_methods(record.method for record in records)
    data_sets = {}
    for name, runs in by_data.items():
        data_sets[name] = _compare_on_one(runs, _baseline_of(runs, baseline), metric, cluster, common_rows, short)
    ranks = ranks_of(data_sets, metric) if len(data_sets) > 1 else None
    values: Values = _plain({"version": VERSION, "metric": metric, "data_sets": data_sets, "ranks": ranks})
    return values


def _baseline_of(runs: Sequence[RunRecord], baseline: RunRecord | None) -> RunRecord:
    """The run that the runs of one data set are compared with."""
    if baseline is None or baseline in runs:
        return baseline or runs[0]
    return next((run for run in runs if run.method == baseline.method), runs[0])


def _compare_on_one(
    records: Sequence[RunRecord],
    baseline: RunRecord,
    metric: str,
    cluster: str | None,
    common_rows: bool,
    short: Mapping[str, str],
) -> Values:
    """The comparison of the runs of one data set."""
    runs = pool_folds(records)
    rows, matched, dropped = match_rows(runs, cluster, common_rows)
    methods = _methods(matched, short)
    intervals = [method_intervals(method.answers, rows) for method in methods]
    order = sorted(range(len(methods)), key=lambda index: _badness(intervals[index][metric].value, metric))
    pairs = [(order[i], order[j]) for i in range(len(order)) for j in range(i + 1, len(order))]
    found = differences([method.answers for method in methods], pairs, rows)
    base = next(index for index, method in enumerate(methods) if baseline in method.records)
    of_pairs = dict(zip(pairs, found, strict=True))
    to_baseline = _differences_to(base, len(methods), of_pairs)
    adjusted_all = _adjusted(found)
    groups = _groups_of_ties(order, dict(zip(pairs, adjusted_all, strict=True)), metric)
    adjusted_base = dict(zip(to_baseline, _adjusted(list(to_baseline.values())), strict=True))
    lines = []
    for index in order:
        line = _method_values(methods[index], intervals[index], rows)
        line["group"] = groups[index]
        line["difference"] = None
        if index != base:
            counts = wins_and_losses_of(methods[index].answers, methods[base].answers, rows)
            line["difference"] = _difference_values(to_baseline[index], adjusted_base[index], counts)
        lines.append(line)
    _mark_pareto(lines, methods[base].name, metric)
    ordered = [methods[index] for index in order]
    return {
        "baseline": methods[base].name,
        "rows": len(rows.labels),
        "dropped_rows": dropped,
        "clusters": None if rows.groups is None else rows.unit_count,
        "smallest_visible": {"accuracy": smallest_visible(len(rows.labels), ASSUMED_DISAGREEMENT * len(rows.labels))},
        "runs": lines,
        "pairs": _pair_values(pairs, found, adjusted_all, methods, rows),
        "agreement": agreement_of(_first_predictions(ordered), rows.labels, matched[0].table.ids),
        "all_miss": all_missed(_first_predictions(ordered), rows.labels, matched[0].table.ids),
        "ensembles": ensembles_of(
            _first_predictions(ordered), [method.runs[0].table.log_scores for method in ordered], rows
        ),
    }


def _first_predictions(methods: Sequence[Method]) -> dict[str, np.ndarray]:
    """The predictions of the first run of each method, by name."""
    return {method.name: method.answers.predictions[0] for method in methods}


# Methods


def _methods(runs: Sequence[Matched], short: Mapping[str, str]) -> list[Method]:
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
                    f"{run.record.path} and {other.record.path} are runs of one configuration and one seed: "
                    "name one of them"
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


def _method_values(method: Method, intervals: Mapping[str, Interval], rows: Rows) -> Values:
    """The line of a method, without its difference to the baseline and its group."""
    metrics: Values = {}
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
    warnings = narrow_reasons(rows.labels, first.table.predictions, seeds=len(method.runs), groups=groups)
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
        "examples_per_second": _mean([_speed(record) for record in method.records]),
        "peak_memory_mib": _largest([fact.get("peak_memory_mib") for fact in facts]),
        "trained_parameters": facts[0].get("trained_parameters"),
        "cost": _mean([fact.get("cost") for fact in facts]),
        "device": facts[0].get("device"),
        "speed_note": "vectors kept" if all(map(_reuses_vectors, method.records)) else None,
        "pareto": False,
        "warnings": warnings,
        "_spans": [_span(record) for record in method.records],
    }


def _speed(record: RunRecord) -> float | None:
    """Texts per second, encoding included; None where it is unknown, or vectors were kept from an earlier run."""
    speed: float | None = record.facts.get("examples_per_second", record.metrics.get("examples_per_second"))
    if not speed or "encoding_seconds" not in record.facts:
        return speed
    if _reuses_vectors(record):
        return None
    rows = len(record.table.ids)
    return float(rows / (rows / speed + record.facts["encoding_seconds"]))


def _reuses_vectors(record: RunRecord) -> bool:
    return record.facts.get("examples_per_second") is not None and record.facts.get("encoding_seconds", 0) is None


def _span(record: RunRecord) -> tuple[Any, ...]:
    return tuple(record.facts.get(name) for name in ("machine", "started", "ended"))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


# Differences


def _differences_to(
    base: int, methods: int, of_pairs: Mapping[tuple[int, int], dict[str, Difference]]
) -> dict[int, dict[str, Difference]]:
    """The differences of each method to the baseline, the baseline subtracted."""
    found = {}
    for index in range(methods):
        if (index, base) in of_pairs:
            found[index] = of_pairs[index, base]
        elif (base, index) in of_pairs:
            found[index] = {metric: _negated(each) for metric, each in of_pairs[base, index].items()}
    return found


def _negated(difference: Difference) -> Difference:
    return difference._replace(value=-difference.value, low=-difference.high, high=-difference.low)


def _adjusted(found: Sequence[Mapping[str, Difference]]) -> list[dict[str, float]]:
    """Holm's p-values of each metric over several differences."""
    adjusted: list[dict[str, float]] = [{} for _ in found]
    for metric in METRICS:
        for each, p in zip(adjusted, holm([difference[metric].p for difference in found]), strict=True):
            each[metric] = p
    return adjusted


def _difference_values(
    found: Mapping[str, Difference], adjusted: Mapping[str, float], counts: tuple[int, int] | None
) -> Values:
    values: Values = {}
    for metric, difference in found.items():
        entry: Values = difference._asdict()
        entry["p_holm"] = adjusted[metric]
        if metric == "accuracy":
            entry["wins"], entry["losses"] = counts or (None, None)
        else:
            del entry["smallest_visible"]
        values[metric] = entry
    return values


def _pair_values(
    pairs: Sequence[tuple[int, int]],
    found: Sequence[Mapping[str, Difference]],
    adjusted: Sequence[Mapping[str, float]],
    methods: Sequence[Method],
    rows: Rows,
) -> list[Values]:
    values = []
    for (one, other), difference, p_holm in zip(pairs, found, adjusted, strict=True):
        first, second = methods[one], methods[other]
        counts = wins_and_losses_of(first.answers, second.answers, rows)
        of_pair = _difference_values(difference, p_holm, counts)
        values.append(
            {
                "first": first.name,
                "second": second.name,
                "difference": of_pair,
                "sentence": sentence(first.name, second.name, of_pair["accuracy"]),
            }
        )
    return values


def _badness(value: float, metric: str) -> float:
    """A number that is smaller for a better method; unknown values come last."""
    if math.isnan(value):
        return math.inf
    return value if metric in LOWER_IS_BETTER else -value


def _groups_of_ties(
    order: Sequence[int], adjusted: Mapping[tuple[int, int], Mapping[str, float]], metric: str
) -> dict[int, int]:
    """Numbers groups of methods, the best first.

    A group begins at the first method that is significantly worse than the best of the group above. Within a group,
    two methods may still differ significantly: "cannot be told apart" is no equivalence relation.
    """
    groups = {}
    group = 1
    best = order[0]
    for index in order:
        if index != best and adjusted[best, index][metric] < LEVEL:
            group += 1
            best = index
        groups[index] = group
    return groups


# Quality against speed


def _mark_pareto(lines: list[Values], baseline: str, metric: str) -> None:
    """Marks the methods that no other one beats in quality and in speed; removes what only this needs."""
    device = next(line["device"] for line in lines if line["name"] == baseline)
    for line in lines:
        others = [other for other in lines if other is not line]
        if line["examples_per_second"] is None:
            line["speed_note"] = line["speed_note"] or "not measured"
        elif line["device"] != device:
            line["speed_note"] = "on another device"
        elif any(_overlap(line, other) for other in others):
            line["speed_note"] = "beside another run"
    for line in lines:
        del line["_spans"]
    comparable = [line for line in lines if line["speed_note"] is None]
    for line in comparable:
        line["pareto"] = not any(_dominates(other, line, metric) for other in comparable)


def _overlap(line: Values, other: Values) -> bool:
    """Whether an evaluation of one method ran at the same time, on the same machine, as one of another."""
    for machine, start, end in line["_spans"]:
        for other_machine, other_start, other_end in other["_spans"]:
            known = None not in (machine, start, end, other_start, other_end)
            if known and machine == other_machine and start < other_end and other_start < end:
                return True
    return False


def _dominates(one: Values, other: Values, metric: str) -> bool:
    quality = -_badness(one["metrics"][metric]["value"], metric), -_badness(other["metrics"][metric]["value"], metric)
    speed = one["examples_per_second"], other["examples_per_second"]
    no_worse = quality[0] >= quality[1] and speed[0] >= speed[1]
    return no_worse and (quality[0] > quality[1] or speed[0] > speed[1])


def _plain(value: Any) -> Any:
    """Replaces numbers that JSON does not have by null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
