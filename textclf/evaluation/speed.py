"""Speeds of methods, which of them can be compared, and the Pareto front of quality and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from textclf.evaluation.answers import badness
from textclf.evaluation.run_records import RunRecord


def texts_per_second(record: RunRecord) -> float | None:
    """Texts per second of a run, encoding included; None where it is unknown, or an earlier run cached the vectors."""
    speed: float | None = record.facts.get("examples_per_second", record.metrics.get("examples_per_second"))
    if not speed or "encoding_seconds" not in record.facts:
        return speed
    if _reuses_vectors(record):
        return None
    rows = len(record.table.ids)
    return float(rows / (rows / speed + record.facts["encoding_seconds"]))


def _reuses_vectors(record: RunRecord) -> bool:
    return record.facts.get("examples_per_second") is not None and record.facts.get("encoding_seconds", 0) is None


def reference_device(methods: Sequence[Sequence[RunRecord]]) -> str | None:
    """The device that speeds are compared on: that of the first run whose speed is known.

    Args:
        methods: The runs of each method; the baseline first.
    """
    for records in methods:
        for record in records:
            if texts_per_second(record) is not None:
                device: str | None = record.facts.get("device")
                return device
    return None


def speed_note(records: Sequence[RunRecord], device: str | None, all_records: Sequence[RunRecord]) -> str | None:
    """Why the speed of a method cannot be compared with others; None where it can.

    Args:
        records: The runs of the method.
        device: The device that speeds are compared on.
        all_records: The runs of all methods, on all data sets.
    """
    if all(map(_reuses_vectors, records)):
        return "vectors kept"
    measured = [record for record in records if texts_per_second(record) is not None]
    if not measured:
        return "not measured"
    if any(record.facts.get("device") != device for record in measured):
        return "on another device"
    if any(_overlap(record, other) for record in measured for other in all_records if other is not record):
        return "beside another run"
    return None


def _overlap(record: RunRecord, other: RunRecord) -> bool:
    """Whether the test of a run took place while another run trained or tested on the same machine."""
    tested, busy = record.facts, other.facts
    known = ("machine", "started", "ended")
    if any(facts.get(name) is None for facts in (tested, busy) for name in known):
        return False
    if tested["machine"] != busy["machine"]:
        return False
    began = _seconds(busy["started"])
    if str(busy.get("command")).startswith("fit "):  # a `test` has the seconds of an earlier training
        began -= busy.get("fit_seconds") or 0.0
    return _seconds(tested["started"]) < _seconds(busy["ended"]) and began < _seconds(tested["ended"])


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def mark_pareto(lines: Sequence[dict[str, Any]], metric: str) -> None:
    """Marks the methods that no other one beats in quality and in speed, among those whose speeds can be compared.

    Args:
        lines: A line of the comparison for each method; `pareto` is set.
        metric: The quality.
    """
    comparable = [line for line in lines if line["speed_note"] is None]
    for line in lines:
        line["pareto"] = False
    for line in comparable:
        line["pareto"] = not any(_dominates(other, line, metric) for other in comparable)


def _dominates(one: Mapping[str, Any], other: Mapping[str, Any], metric: str) -> bool:
    quality = -badness(one["metrics"][metric]["value"], metric), -badness(other["metrics"][metric]["value"], metric)
    speed = one["examples_per_second"], other["examples_per_second"]
    no_worse = quality[0] >= quality[1] and speed[0] >= speed[1]
    return no_worse and (quality[0] > quality[1] or speed[0] > speed[1])
