"""Whether a run can be reproduced: the command that repeats it, and what differs before it and after it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from textclf.data.base import TextDataModule
from textclf.data.splitting import Split
from textclf.errors import UserError
from textclf.evaluation.prediction_table import PredictionTable, read_predictions
from textclf.hardware.device import cpu_kernels
from textclf.hashing import value_hash
from textclf.models.checkpoint import read_checkpoint
from textclf.run.costs import NAME, clone_state, versions
from textclf.run.report import Reported, report_folder

SPLITS: tuple[Reported, ...] = ("test", "validation")
CHECKPOINTS = ("best.ckpt", "last.ckpt")
TABLE = "predictions.parquet"
MEASURED = ("examples_per_second", "time", "checkpoint")
"""Entries of `metrics.json` that differ from run to run, whatever was computed."""
COUNTED = "chat/"
"""How the figures begin that count requests: a repetition takes the answers from the cache."""


# What was run


@dataclass(frozen=True)
class RecordedRun:
    """How a run was made.

    Attributes:
        folder: The run folder, an absolute path.
        command: `fit`, `test` or `validate`.
        checkpoint: The checkpoint that `test` or `validate` evaluated; None for `fit`, or without one.
        facts: The content of `run.json`; empty where there is none.
    """

    folder: Path
    command: str
    checkpoint: str | None
    facts: Mapping[str, Any]

    @property
    def working_directory(self) -> Path:
        """The folder that the run was started in, where it still exists; else the current one."""
        recorded = self.facts.get("working_directory")
        return Path(recorded) if recorded and Path(recorded).is_dir() else Path.cwd()

    @property
    def fingerprints(self) -> dict[Split, str]:
        """The hash of the rows of each split; of a run of an earlier version, that of the scored split alone."""
        recorded: dict[Split, str] = dict(self.facts.get("fingerprints") or {})
        if not recorded and self.facts.get("data_fingerprint"):
            is_tested = (report_folder(self.folder, "test") / TABLE).is_file()
            recorded["test" if is_tested else "validation"] = self.facts["data_fingerprint"]
        return recorded

    @property
    def environment(self) -> dict[str, str]:
        """Variables that set the number of threads of the run: sums of other parts round to other last digits."""
        threads = self.facts.get("threads")
        return {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}

    @property
    def config(self) -> list[str]:
        """The words that give the configuration of the run."""
        return ["--config", str(self.folder / "config.yaml")]

    def repetition(self, run_dir: Path) -> list[str]:
        """The words of the command that repeats the run; it logs to `metrics.csv` alone.

        Args:
            run_dir: Where the repetition writes.
        """
        words = [self.command, *self.config, "--run_dir", str(run_dir), "--trainer.logger", "textclf.run.MetricsCSV"]
        return words if self.checkpoint is None else [*words, "--ckpt_path", self.checkpoint]


def read_recorded_run(folder: Path) -> RecordedRun:
    """Reads how a run was made.

    Args:
        folder: The run folder.

    Raises:
        UserError: It is no run folder, or the run has not ended.
    """
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{str(folder)!r} has no config.yaml: give the folder of a run, such as runs/nsmc/0")
    records = [report_folder(folder, split) / NAME for split in SPLITS]
    tables = [path for path in (report_folder(folder, split) / TABLE for split in SPLITS) if path.is_file()]
    facts: dict[str, Any] = next((_json(path) for path in records if path.is_file()), {})
    if not tables and not facts:
        raise UserError(f"{str(folder)!r} has no report to compare with: give a run that has ended")
    words = shlex.split(facts.get("command") or "")
    if words:
        command = words[0]
    elif (folder / "checkpoints").is_dir():
        command = "fit"
    else:
        command = "test" if (folder / "report" / TABLE).is_file() else "validate"
    checkpoint = None if command == "fit" else _json(tables[0].with_name("metrics.json")).get("checkpoint")
    return RecordedRun(folder.resolve(), command, checkpoint, facts)


def _json(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} cannot be read ({error}): give a run whose files are whole") from error
    return read


# What differs before the repetition


def environment_differences(facts: Mapping[str, Any]) -> list[str]:
    """What is different now from when the run was made, one line each: versions, commit, processor.

    Args:
        facts: The content of `run.json`.
    """
    if not facts:
        return [f"the run has no {NAME}: versions, commit and data cannot be checked"]
    lines = []
    now = versions()
    for name, then in (facts.get("versions") or {}).items():
        if now.get(name) != then:
            lines.append(f"{name}: {then} then, {now.get(name, 'not installed')} now")
    commit, is_changed = clone_state()
    if facts.get("commit") != commit:
        lines.append(f"commit: {facts.get('commit') or 'unknown'} then, {commit or 'unknown'} now")
    if facts.get("uncommitted_changes"):
        lines.append("textclf had changes then that were not committed")
    if is_changed:
        lines.append("textclf has changes now that are not committed")
    if facts.get("cpu") != cpu_kernels():
        lines.append(f"processor: {facts.get('cpu') or 'unknown'} then, {cpu_kernels()} now")
    if facts.get("seed") is None:
        lines.append("the run had no seed, so a repetition draws other random numbers")
    return lines


def data_differences(recorded: Mapping[Split, str], data: TextDataModule) -> list[str]:
    """The splits whose rows are others than those of the run, one line each.

    Args:
        recorded: The hash of the rows of each split, when the run was made.
        data: The rows as they are now.

    Raises:
        UserError: A split does not exist any more.
    """
    if "train" in recorded and not data.has_split("train"):
        data.reserve_test_rows()
    for split in recorded:
        data.rows(split)
    now = data.fingerprints()
    lines = []
    for split, then in recorded.items():
        if now[split] != then:
            lines.append(f"the {split} rows have changed: fingerprint {then} then, {now[split]} now")
    return lines


# What differs afterwards


@dataclass(frozen=True)
class ReportDifference:
    """The differences of two reports of one split.

    Attributes:
        split: The split.
        rows: Number of rows; None where the rows differ, so that nothing else can be compared.
        predictions: Number of rows with another prediction.
        largest: The largest difference of a log-probability in nats; inf where only one of the two is finite.
        metrics: The metrics that differ: before and after.
    """

    split: Reported
    rows: int | None
    predictions: int = 0
    largest: float = 0.0
    metrics: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def is_equal(self) -> bool:
        """Whether all rows, predictions, log-probabilities and metrics are equal to the bit."""
        return self.rows is not None and not self.predictions and not self.largest and not self.metrics

    def lines(self) -> list[str]:
        """The differences in words."""
        if self.rows is None:
            return [f"{self.split}: other rows were scored, so predictions cannot be compared"]
        if self.is_equal:
            return [f"{self.split}: {self.rows:,} predictions with their scores, and all metrics, equal to the bit"]
        changed = f"{self.split}: {self.predictions:,} of {self.rows:,} predictions differ, "
        changed += f"log-probabilities by at most {self.largest:.3g} nats"
        return [changed, *(f"  {name}: {then} then, {now} now" for name, (then, now) in self.metrics.items())]


def report_differences(first: Path, second: Path) -> Iterator[ReportDifference]:
    """Compares the reports of two runs: those of the splits that the first run has.

    Args:
        first: A run folder.
        second: That of its repetition.

    Raises:
        UserError: The repetition has no report of a split.
    """
    for split in SPLITS:
        one, other = report_folder(first, split), report_folder(second, split)
        if not (one / TABLE).is_file():
            continue
        if not (other / TABLE).is_file():
            raise UserError(f"the repetition in {str(second)!r} has no report of the {split} split")
        yield _report_difference(split, one, other)


def _report_difference(split: Reported, one: Path, other: Path) -> ReportDifference:
    before, after = read_predictions(one / TABLE), read_predictions(other / TABLE)
    if not _has_same_rows(before, after):
        return ReportDifference(split, None)
    metrics = {}
    repeated = _json(other / "metrics.json")
    for name, value in _json(one / "metrics.json").items():
        if name not in MEASURED and not name.startswith(COUNTED) and repeated.get(name) != value:
            metrics[name] = (value, repeated.get(name))
    changed = int((before.predictions != after.predictions).sum())
    return ReportDifference(split, len(before.ids), changed, largest_difference(before, after), metrics)


def _has_same_rows(before: PredictionTable, after: PredictionTable) -> bool:
    """Whether ids, texts, labels and kept columns are equal, in one order."""
    return (
        before.ids == after.ids
        and before.texts == after.texts
        and before.text_pairs == after.text_pairs
        and before.label_names == after.label_names
        and before.kept == after.kept
        and np.array_equal(before.labels, after.labels)
    )


def largest_difference(before: PredictionTable, after: PredictionTable) -> float:
    """The largest difference of a log-probability in nats; inf where only one of the two is finite."""
    one, other = before.log_scores, after.log_scores
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if same.all():
        return 0.0
    with np.errstate(invalid="ignore"):
        differences = np.abs(one[~same] - other[~same])
    return float(np.nan_to_num(differences, nan=np.inf, posinf=np.inf).max())


@dataclass(frozen=True)
class CheckpointDifference:
    """The differences of two checkpoints.

    Attributes:
        name: Name of the file.
        entries: Number of entries that were compared: weights, what was fitted, and the state of the optimiser.
        different: Names of the entries that are not equal to the bit.
        largest: The largest difference of a weight.
    """

    name: str
    entries: int
    different: list[str]
    largest: float

    @property
    def is_equal(self) -> bool:
        """Whether all entries are equal to the bit."""
        return not self.different

    def lines(self) -> list[str]:
        """The differences in words."""
        if self.is_equal:
            return [f"{self.name}: {self.entries:,} entries, equal to the bit"]
        count = f"{self.name}: {len(self.different):,} of {self.entries:,} entries differ"
        return [f"{count}, weights by at most {self.largest:.3g}"]


def checkpoint_differences(first: Path, second: Path) -> Iterator[CheckpointDifference]:
    """Compares the checkpoints of two runs: those that the first run has.

    Args:
        first: A run folder.
        second: That of its repetition.

    Raises:
        UserError: The repetition lacks a checkpoint, or one cannot be read.
    """
    for name in CHECKPOINTS:
        path = first / "checkpoints" / name
        if path.is_file():
            before = _entries(read_checkpoint(path))
            after = _entries(read_checkpoint(second / "checkpoints" / name))
            names = sorted(before.keys() | after.keys())
            different = [each for each in names if value_hash(before.get(each)) != value_hash(after.get(each))]
            largest = max((_distance(before.get(each), after.get(each)) for each in different), default=0.0)
            yield CheckpointDifference(name, len(names), different, largest)


def _entries(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds that training has computed, by name."""
    entries = {"optimizer_states": checkpoint.get("optimizer_states"), "lr_schedulers": checkpoint.get("lr_schedulers")}
    for part, values in (("weights", checkpoint["state_dict"]), ("fitted", checkpoint["textclf"]["fitted"])):
        entries |= {f"{part}.{name}": value for name, value in (values or {}).items()}
    return entries


def _distance(one: Any, other: Any) -> float:
    """The largest difference of two tensors; 0 for anything else, inf for tensors of different shapes."""
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return 0.0
    if one.shape != other.shape:
        return float("inf")
    return float((one.double() - other.double()).abs().max()) if one.numel() else 0.0
