"""Brings the prediction tables of several runs to the same rows, in one order of rows and classes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from textclf.errors import UserError
from textclf.evaluation.answers import Rows
from textclf.evaluation.prediction_table import PredictionTable, read_column
from textclf.evaluation.run_records import RunRecord

SHOWN = 60
"""Characters of a text that a message shows."""
REMEDY = "compare runs of the same rows, or pass --common_rows"


@dataclass(frozen=True, eq=False)
class Matched:
    """The predictions of a run, or of the folds of a run, for the rows of a comparison.

    Attributes:
        records: The run folder; one for each fold.
        table: The predictions.
    """

    records: tuple[RunRecord, ...]
    table: PredictionTable

    @property
    def record(self) -> RunRecord:
        """The run folder; the first one of folds."""
        return self.records[0]

    @property
    def where(self) -> str:
        """The run, in messages."""
        return self.record.where

    def select(self, rows: np.ndarray) -> Matched:
        """The rows of the given indices, shape `(rows,)`, in that order."""
        table = self.table
        pairs = table.text_pairs
        selected = replace(
            table,
            ids=[table.ids[row] for row in rows],
            texts=[table.texts[row] for row in rows],
            text_pairs=None if pairs is None else [pairs[row] for row in rows],
            labels=table.labels[rows],
            predictions=table.predictions[rows],
            log_scores=table.log_scores[rows],
            kept={},  # groups are read by `read_column`
        )
        return replace(self, table=selected)


def pool_folds(records: Sequence[RunRecord]) -> list[Matched]:
    """Reads the tables; the folds of one run become one table.

    Raises:
        UserError: A fold is missing or named twice, or two folds have a row in common.
    """
    folds: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        key = str(record.table_path)
        if record.fold is not None:
            key = json.dumps([record.settings, record.seeds], sort_keys=True, default=str)
        folds[key].append(record)
    return [_pooled(group) for group in folds.values()]


def _pooled(records: Sequence[RunRecord]) -> Matched:
    first = records[0]
    if first.fold is None:
        return Matched((first,), first.table)
    number = first.config.get("data.folds")
    if not isinstance(number, int) or not all(isinstance(record.fold, int) for record in records):
        raise UserError(
            f"{first.where}: config.yaml has data.fold {first.fold!r} and data.folds {number!r}: run it with both"
        )
    by_fold: dict[int | None, RunRecord] = {}
    for record in records:
        if record.fold in by_fold:
            raise UserError(
                f"{record.where} and {by_fold[record.fold].where} are both fold {record.fold} of one configuration "
                "and one seed: name one of them"
            )
        by_fold[record.fold] = record
    missing = [str(fold) for fold in range(number) if fold not in by_fold]
    if missing:
        raise UserError(f"{first.where}: fold {', '.join(missing)} of {number} is missing: run it, and name it as well")
    ordered = [by_fold[fold] for fold in range(number)]
    tables = [record.table for record in ordered]
    seen: dict[str, RunRecord] = {}
    for record in ordered:
        for name in record.table.ids:
            if name in seen:
                raise UserError(f"the row with the id {name!r} is in the folds {seen[name].where} and {record.where}")
            seen[name] = record
    pairs = [table.text_pairs for table in tables]
    pooled = replace(
        tables[0],
        ids=[name for table in tables for name in table.ids],
        texts=[text for table in tables for text in table.texts],
        text_pairs=None if pairs[0] is None else [text for texts in pairs for text in texts or []],
        labels=np.concatenate([table.labels for table in tables]),
        predictions=np.concatenate([table.predictions for table in tables]),
        log_scores=np.concatenate([table.log_scores for table in tables]),
        kept={},
    )
    return Matched(tuple(ordered), pooled)


def match_rows(runs: Sequence[Matched], cluster: str | None, common_rows: bool) -> tuple[Rows, list[Matched], int]:
    """Brings runs to the same rows and classes, in the order of the first run.

    Args:
        runs: Of one data set.
        cluster: Column with the group of each row.
        common_rows: Whether rows that are not in all runs are dropped; else they are an error.

    Returns:
        The rows; the runs; and the number of rows that were dropped.

    Raises:
        UserError: The runs have other rows, texts or labels.
    """
    first = runs[0]
    aligned = [_with_classes_of(first, run) for run in runs]
    kept = first.table.ids
    all_ids = set(kept)
    for run in aligned[1:]:
        ids = set(run.table.ids)
        all_ids |= ids
        if common_rows:
            kept = [name for name in kept if name in ids]
        else:
            _refuse_other_rows(first, run, ids)
    if not kept:
        raise UserError(f"{first.where} and the other runs have no row in common")
    matched = []
    for run in aligned:
        index = {name: row for row, name in enumerate(run.table.ids)}
        matched.append(run.select(np.array([index[name] for name in kept])))
    for run in matched[1:]:
        _refuse_other_content(matched[0], run)
    groups = None if cluster is None else _groups(first, kept, cluster)
    rows = Rows(matched[0].table.labels, len(matched[0].table.label_names), groups)
    return rows, matched, len(all_ids) - len(kept)


def _with_classes_of(first: Matched, run: Matched) -> Matched:
    """A run with its classes in the order of the first run."""
    names = first.table.label_names
    own = run.table.label_names
    if own == names:
        return run
    lacking = [name for name in names if name not in own]
    further = [name for name in own if name not in names]
    if lacking or further:
        differences = [f"lacks {', '.join(map(repr, lacking))}"] if lacking else []
        differences += [f"has also {', '.join(map(repr, further))}"] if further else []
        raise UserError(
            f"{run.where} has other classes than {first.where}: it {' and '.join(differences)}; compare runs with the "
            "same labels"
        )
    new_index = np.array([names.index(name) for name in own] + [-1])  # the last for -1, an invalid answer
    table = run.table
    aligned = replace(
        table,
        label_names=names,
        labels=new_index[table.labels],
        predictions=new_index[table.predictions],
        log_scores=table.log_scores[:, [own.index(name) for name in names]],
    )
    return replace(run, table=aligned)


def _refuse_other_rows(first: Matched, run: Matched, ids: set[str]) -> None:
    own = set(first.table.ids)
    for one, other, missing in ((first, run, own - ids), (run, first, ids - own)):
        if missing:
            example = next(name for name in one.table.ids if name in missing)
            counts = f"{first.where} has {len(own):,} rows and {run.where} has {len(ids):,}"
            raise UserError(
                f"{counts}: {len(missing):,} of {one.where}, such as the one with the id {example!r}, are not in "
                f"{other.where}; {REMEDY}"
            )


def _refuse_other_content(first: Matched, run: Matched) -> None:
    """Refuses a run whose rows have other texts or labels under the same ids."""
    one, other = first.table, run.table
    for texts, others in ((one.texts, other.texts), (one.text_pairs or [], other.text_pairs or [])):
        if texts == others:
            continue
        if len(texts) != len(others):
            raise UserError(f"of {first.where} and {run.where}, one has pairs of texts: compare runs of the same rows")
        row = next(row for row, (text, of_other) in enumerate(zip(texts, others, strict=True)) if text != of_other)
        raise UserError(
            f"the row with the id {one.ids[row]!r} has the text {_short(texts[row])} in {first.where} and "
            f"{_short(others[row])} in {run.where}: compare runs of the same rows, cleaned in the same way"
        )
    differing = np.flatnonzero(one.labels != other.labels)
    if len(differing):
        row = int(differing[0])
        raise UserError(
            f"the row with the id {one.ids[row]!r} has the label {one.label_names[one.labels[row]]!r} in {first.where} "
            f"and {other.label_names[other.labels[row]]!r} in {run.where} ({len(differing):,} rows differ)"
        )


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 2]}…'"


def _groups(first: Matched, kept: Sequence[str], cluster: str) -> np.ndarray:
    """Numbers the groups of the kept rows; a row without a group is one of its own."""
    values: list[object] = []
    for record in first.records:
        values += read_column(record.table_path, cluster)
    if any(isinstance(value, list | dict) for value in values):
        raise UserError(f"the column {cluster!r} has lists as values: name a column with one group for each row")
    by_id = dict(zip(first.table.ids, values, strict=True))
    numbers: dict[object, int] = {}
    groups = []
    for name in kept:
        has_group = by_id[name] not in (None, "")  # in CSV, a missing value is empty
        key = ("group", by_id[name]) if has_group else ("row", name)
        groups.append(numbers.setdefault(key, len(numbers)))
    if len(numbers) < 2:
        raise UserError(f"the column {cluster!r} has one value only: there are no groups to resample")
    return np.array(groups)
