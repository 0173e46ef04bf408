"""Compares runs on the same rows: metrics with intervals, paired differences, groups of ties, agreement, ensembles.

`compare` gives one structure of plain values, which `textclf.evaluation.leaderboard` writes as text, CSV, Markdown and
LaTeX, and `textclf.evaluation.figures.comparison` draws. `compare_methods` also gives the answers to each row, which
`textclf.evaluation.pages.comparison_page` shows beside it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textclf.errors import UserError
from textclf.evaluation.agreement import agreement_of, all_missed, ensembles_of
from textclf.evaluation.answers import METRICS, Rows, badness, wins_and_losses
from textclf.evaluation.compared_methods import Method, method_values, methods_of
from textclf.evaluation.intervals import ASSUMED_DISAGREEMENT, smallest_visible
from textclf.evaluation.matching import match_rows, pool_folds
from textclf.evaluation.method_intervals import method_intervals
from textclf.evaluation.method_names import short_methods
from textclf.evaluation.paired import Difference, differences
from textclf.evaluation.paired_tests import LEVEL, holm
from textclf.evaluation.ranks import ranks_of
from textclf.evaluation.run_records import RunRecord
from textclf.evaluation.sentences import sentence
from textclf.evaluation.speed import mark_pareto, reference_device, speed_note

VERSION = 1
Values = dict[str, Any]


def compare(
    records: Sequence[RunRecord],
    *,
    baseline: RunRecord | None = None,
    metric: str = "accuracy",
    cluster: str | None = None,
    common_rows: bool = False,
) -> Values:
    """Compares runs, as `compare_methods` does, and gives the numbers alone."""
    values, _ = compare_methods(records, baseline=baseline, metric=metric, cluster=cluster, common_rows=common_rows)
    return values


def compare_methods(
    records: Sequence[RunRecord],
    *,
    baseline: RunRecord | None = None,
    metric: str = "accuracy",
    cluster: str | None = None,
    common_rows: bool = False,
) -> tuple[Values, dict[str, list[Method]]]:
    """Compares runs; those of different data sets apart.

    Args:
        records: The runs.
        baseline: The run that the others are compared with on its data set; on other data sets, the first run of the
            same method. By default, and where there is none, the first of `records`.
        metric: One of `METRICS`, by which methods are ordered, put into groups of ties, and marked as Pareto-optimal.
        cluster: Column of the prediction tables with the group of each row; groups are resampled instead of rows.
        common_rows: Whether runs of different rows are compared on those that all of them have.

    Returns:
        Plain values for strict JSON: null for what is unknown; and for each data set the methods with their answers to
        the compared rows, in the order of the values.

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
        raise UserError(f"the baseline {baseline.where} is not one of the runs: name it among them, too")
    if max(map(len, by_data.values())) < 2:
        shown = ", ".join(f"{runs[0].where}: {name}" for name, runs in by_data.items())
        raise UserError(f"each run is of another data set ({shown}): name two or more of one data set")
    short = short_methods(record.method for record in records)
    data_sets = {}
    compared = {}
    for name, runs in by_data.items():
        rows, matched, dropped = match_rows(pool_folds(runs), cluster, common_rows)
        methods = methods_of(matched, short)
        of_baseline = _baseline_of(runs, baseline)
        base = next(method for method in methods if of_baseline in method.records)
        result, compared[name] = _compare_on_one(methods, base, rows, metric)
        _compare_speeds(result["runs"], [base, *methods], records, metric)
        data_sets[name] = result | {"dropped_rows": dropped}
    ranks = ranks_of(data_sets, metric) if len(data_sets) > 1 else None
    values: Values = _plain({"version": VERSION, "metric": metric, "data_sets": data_sets, "ranks": ranks})
    return values, compared


def _baseline_of(runs: Sequence[RunRecord], baseline: RunRecord | None) -> RunRecord:
    """The run that the runs of one data set are compared with."""
    if baseline is None or baseline in runs:
        return baseline or runs[0]
    return next((run for run in runs if run.method == baseline.method), runs[0])


def _compare_on_one(methods: Sequence[Method], base: Method, rows: Rows, metric: str) -> tuple[Values, list[Method]]:
    """The comparison of the methods on one data set, and the methods, the best first."""
    intervals = {method.name: method_intervals(method.answers, rows) for method in methods}
    methods = sorted(methods, key=lambda method: badness(intervals[method.name][metric].value, metric))
    pairs = list(itertools.combinations(range(len(methods)), 2))
    found = differences([method.answers for method in methods], pairs, rows)
    of_pairs = dict(zip(pairs, found, strict=True))
    adjusted_all = _adjusted(found)
    values = [intervals[method.name][metric].value for method in methods]
    groups = _groups_of_ties(values, dict(zip(pairs, adjusted_all, strict=True)), metric)
    to_baseline = _differences_to(methods.index(base), len(methods), of_pairs)
    adjusted_base = dict(zip(to_baseline, _adjusted(list(to_baseline.values())), strict=True))
    lines = []
    for index, method in enumerate(methods):
        line = method_values(method, intervals[method.name], rows)
        line["group"] = groups[index]
        line["difference"] = None
        if method is not base:
            counts = wins_and_losses(method.answers, base.answers, rows)
            line["difference"] = _difference_values(to_baseline[index], adjusted_base[index], counts)
        lines.append(line)
    predictions = {method.name: method.answers.predictions[0] for method in methods}  # of the first seed
    ids = methods[0].runs[0].table.ids
    result = {
        "baseline": base.name,
        "rows": len(rows.labels),
        "clusters": None if rows.groups is None else rows.unit_count,
        "smallest_visible": {"accuracy": smallest_visible(len(rows.labels), ASSUMED_DISAGREEMENT * len(rows.labels))},
        "runs": lines,
        "pairs": _pair_values(pairs, found, adjusted_all, methods, rows),
        "agreement": agreement_of(predictions, rows.labels, ids),
        "all_miss": all_missed(predictions, rows.labels, ids),
        "ensembles": ensembles_of(predictions, [method.runs[0].table.log_scores for method in methods], rows),
    }
    return result, methods


def _compare_speeds(
    lines: Sequence[Values], methods: Sequence[Method], records: Sequence[RunRecord], metric: str
) -> None:
    """Adds to each line whether its speed can be compared, and whether it is on the Pareto front.

    Args:
        lines: Of each method.
        methods: The baseline, then all.
        records: The runs of all data sets.
        metric: The quality.
    """
    device = reference_device([method.records for method in methods])
    by_name = {method.name: method for method in methods}
    for line in lines:
        line["speed_note"] = speed_note(by_name[line["name"]].records, device, records)
    mark_pareto(lines, metric)


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
        counts = wins_and_losses(first.answers, second.answers, rows)
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


def _groups_of_ties(
    values: Sequence[float], adjusted: Mapping[tuple[int, int], Mapping[str, float]], metric: str
) -> list[int]:
    """Numbers groups of methods.

    A group begins at the first method that is significantly worse than the best of the group above. Within a group,
    two methods may still differ significantly: "cannot be told apart" is no equivalence relation. Methods whose value
    is unknown or infinite are the last group.

    Args:
        values: The metric of each method, the best first.
        adjusted: Holm's p-values of each pair of methods by metric.
        metric: Which metric.

    Returns:
        The group of each method, from 1 on.
    """
    groups = [1]
    best = 0
    for index in range(1, len(values)):
        is_worse = adjusted[best, index][metric] < LEVEL
        is_first_unknown = math.isfinite(values[best]) and not math.isfinite(values[index])
        if is_worse or is_first_unknown:
            best = index
        groups.append(groups[-1] + (best == index))
    return groups


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
