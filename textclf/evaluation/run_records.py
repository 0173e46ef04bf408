"""The files of a run that a comparison reads: prediction table, configuration, metrics, and costs."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from textclf.errors import UserError
from textclf.evaluation.prediction_table import PredictionTable, read_predictions
from textclf.parsing import parse_json, parse_yaml

TABLE = "predictions.parquet"
NUMBERS = (
    "examples_per_second",
    "encoding_seconds",
    "fit_seconds",
    "train_rows",
    "peak_memory_mib",
    "trained_parameters",
    "cost",
)
"""Facts of a run that are numbers, where they are known."""
WORDS = ("device", "machine", "started", "ended", "command")
"""Facts of a run that are text, where they are known."""
LISTED = 5
"""Runs that a message lists."""
UNNAMED_DATA = "data"
"""The data set of a table that does not say where it is from."""
SEEDS = ("seed_everything", "data.seed", "model.shot_seed")
FOLD = "data.fold"
WITHOUT_EFFECT = (
    *SEEDS,
    FOLD,
    "run_name",
    "data.data_dir",
    "data.num_workers",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "test_after_fit",
)
"""Keys of a configuration that do not make two runs of one method different ones."""


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run that is compared.

    Attributes:
        path: The run folder, or the prediction table where there is only that.
        table_path: The prediction table.
        config: The run's configuration by dotted keys; empty where it is unknown.
        metrics: `metrics.json` beside the table; empty where there is none.
        facts: `run.json` beside the table; empty where there is none.
    """

    path: Path
    table_path: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def table(self) -> PredictionTable:
        """The predictions.

        Raises:
            UserError: The table has no rows, or an id twice.
        """
        table = read_predictions(self.table_path)
        if not table.ids:
            raise UserError(f"{self.table_path}: the prediction table has no rows")
        if len(set(table.ids)) < len(table.ids):
            twice = Counter(table.ids).most_common(1)[0][0]
            raise UserError(f"{self.table_path}: the id {twice!r} occurs twice: rows are matched by unique ids")
        return table

    @property
    def where(self) -> str:
        """The run in messages; the table where it is not that of the run's test."""
        is_of_test = self.table_path == self.path / "report" / TABLE
        return str(self.path if is_of_test else self.table_path)

    @property
    def data_set(self) -> str:
        """Name of the data set."""
        return str(self.metrics.get("data_set") or self.metrics.get("data") or UNNAMED_DATA)

    @property
    def method(self) -> str:
        """The method in a few words; the name of the folder or of the file where it is unknown."""
        return str(self.metrics.get("method") or self.short_path)

    @property
    def short_path(self) -> str:
        """The last parts of the path, which tell runs apart."""
        path = self.path.with_suffix("") if self.path.suffix == ".parquet" else self.path
        parts = [part for part in path.parts if part not in ("report", "predictions", "/", "..")]
        number = 2 if parts and parts[-1].isdecimal() else 1
        return "/".join(parts[-number:]) or str(self.path)

    @property
    def seeds(self) -> tuple[Any, ...]:
        """The values of `SEEDS`."""
        return tuple(self.config.get(name) for name in SEEDS)

    @property
    def fold(self) -> int | None:
        """The fold that was tested; None without folds."""
        return self.config.get(FOLD)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration without seeds, fold, and what has no effect on predictions."""
        kept = {}
        for key, value in self.config.items():
            if not any(key == name or key.startswith(f"{name}.") for name in WITHOUT_EFFECT):
                kept[key] = value
        return kept


def find_runs(patterns: Sequence[str]) -> list[RunRecord]:
    """Reads the runs that are named by paths or globs.

    Args:
        patterns: Run folders, `predictions.parquet` files, or globs of them; other files that match a glob are ignored.

    Raises:
        UserError: A pattern matches nothing, or a run has no report.
    """
    paths: dict[Path, Path] = {}
    for pattern in patterns:
        found = [Path(pattern)]
        if not found[0].exists():
            matches = [Path(name) for name in sorted(glob.glob(pattern))]
            found = [path for path in matches if path.is_dir() or path.suffix == ".parquet"]
        if not found:
            raise UserError(f"{pattern!r} matches no file or folder: name run folders or predictions.parquet files")
        for path in found:
            paths.setdefault(path.resolve(), path)
    return [read_run(path) for path in paths.values()]


def find_baseline(path: str, records: Sequence[RunRecord]) -> RunRecord:
    """Finds a run among others.

    Args:
        path: Its folder, its report, or its prediction table.
        records: The runs.

    Raises:
        UserError: It is not among them.
    """
    wanted = Path(path).resolve()
    for record in records:
        if wanted in (record.path.resolve(), record.table_path.resolve(), record.table_path.parent.resolve()):
            return record
    shown = ", ".join(record.where for record in records[:LISTED])
    more = f" and {len(records) - LISTED} more" if len(records) > LISTED else ""
    raise UserError(f"the baseline {path!r} is not among the runs ({shown}{more}): name one of them, or add it")


def read_run(path: Path) -> RunRecord:
    """Reads the files of a run; the prediction table itself is read later.

    Args:
        path: The run folder, its `report`, or a prediction table.

    Raises:
        UserError: There is no report, or a file of it is damaged.
    """
    run = path
    table = path
    if path.is_dir():
        report = path if path.name == "report" or path.parent.name == "report" else path / "report"
        table = report / TABLE
        if not table.is_file():
            what = "has no report/predictions.parquet: its test was not reached or was cut off"
            if (path / "checkpoints" / "last.ckpt").is_file():
                what += "; resume it with `fit --config RUN/config.yaml --run_dir RUN --ckpt_path last`"
            for depth in ("*", "*/*"):
                if next(path.glob(f"{depth}/report/{TABLE}"), None) is not None:
                    what = f"a folder of runs, not a run: name '{path}/{depth}'"
            raise UserError(f"{path}: {what}")
    beside = table.parent
    for folder in (beside.parent, beside.parent.parent):
        if beside.name in ("report", "validation") and (folder / "config.yaml").is_file():
            run = folder
            break
    config = run / "config.yaml"
    return RunRecord(
        run,
        table,
        _read_config(config) if run.is_dir() and config.is_file() else {},
        _read_json(beside / "metrics.json") if table.name == TABLE else {},
        _read_json(beside / "run.json") if table.name == TABLE else {},
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): run the test again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object: run the test again")
    for names, kind, words in ((NUMBERS, int | float | None, "a number"), (WORDS, str | None, "a text")):
        for name in names:
            if not isinstance(content.get(name), kind):
                raise UserError(f"{path}: {name} is {content[name]!r}, not {words}: run the test again")
    for name in ("started", "ended"):
        try:
            datetime.fromisoformat(content.get(name) or "2000-01-01")
        except ValueError as error:
            raise UserError(f"{path}: {name} is {content[name]!r}, not a time: run the test again") from error
    return content


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML that can be read ({str(error).splitlines()[0]})") from error
    return dict(_flat(content, ""))


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The values of nested dictionaries by dotted keys, `init_args` left out of these."""
    if isinstance(value, dict) and value:
        for name, entry in value.items():
            inner = key if name == "init_args" else f"{key}.{name}".lstrip(".")
            yield from _flat(entry, inner)
    else:
        yield key, value
