"""What is checked after a fault: every file is whole, and the result is that of an undisturbed run."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}(\.\w+)?|tmp[a-z0-9_]{8}.*|.*-journal|.*\.lock")
"""Names of files that nothing takes for a result: unfinished ones, journals of SQLite, and locks."""
MEASURED = ("examples_per_second", "peak_memory_mib", "speed_note", "pareto", "cost")
METRICS = ("accuracy", "macro_f1", "mcc", "nll", "brier", "ece", "invalid")
TOLERANCE = 1e-4


def is_temporary(path: Path) -> bool:
    """Whether a file is an unfinished one, by its name or that of a folder above it."""
    return any(TEMPORARY.fullmatch(part) for part in path.parts)


def files_in(folder: Path) -> list[Path]:
    """The files below a folder, as paths from it on, without those in its folder `tmp`."""
    found = []
    for parent, folders, names in os.walk(folder):
        if Path(parent) == folder and "tmp" in folders:
            folders.remove("tmp")
        found += [Path(parent, name).relative_to(folder) for name in names]
    return sorted(found)


def leftovers(folder: Path) -> list[str]:
    """The unfinished files below a folder; locks are not among them."""
    return [str(path) for path in files_in(folder) if is_temporary(path) and not path.name.endswith(".lock")]


def half_files(folder: Path) -> list[str]:
    """The files below a folder that have the name of a whole one, but are not whole; each with the reason."""
    found = []
    for path in files_in(folder):
        if is_temporary(path):
            continue
        try:
            check_whole(folder / path)
        except Exception as error:  # every library has its own
            found.append(f"{path}: {type(error).__name__}: {str(error)[:200]}")
    return found


def check_whole(path: Path) -> None:
    """Reads a file to its end, as what its suffix says.

    Raises:
        Exception: It is not whole.
    """
    if (check := CHECKS.get(path.suffix)) is not None:
        check(path)
    elif not path.stat().st_size:
        raise ValueError("it is empty")


def _check_checkpoint(path: Path) -> None:
    import torch

    torch.load(path, weights_only=True)


def _check_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(path)


def _check_arrow(path: Path) -> None:
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        stream.read_all()
        if file.tell() != file.size():
            raise ValueError("bytes follow the end of the stream")
    if path.read_bytes()[-8:] != b"\xff\xff\xff\xff\0\0\0\0":
        raise ValueError("the mark of the end is missing")


def _check_sqlite(path: Path) -> None:
    """Opens a copy: the database itself is rolled back by the command that uses it next."""
    with tempfile.TemporaryDirectory() as folder:
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder, path.name))) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
    if answer != "ok":
        raise ValueError(answer)


def _check_text(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise ValueError("the last line is cut off")
    return text


def _check_csv(path: Path) -> None:
    rows = list(csv.reader(io.StringIO(_check_text(path))))
    if len({len(row) for row in rows}) > 1:
        raise ValueError("the rows have different numbers of fields")


def _check_yaml(path: Path) -> None:
    import yaml

    values = yaml.safe_load(_check_text(path))
    if not isinstance(values, dict) or "trainer" not in values:
        raise ValueError("it is no whole configuration")


def _check_json_lines(path: Path) -> None:
    for line in _check_text(path).splitlines():
        json.loads(line)


def _check_page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("the page is cut off")


def _check_image(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def _check_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


CHECKS: dict[str, Callable[[Path], Any]] = {
    ".ckpt": _check_checkpoint,
    ".parquet": _check_parquet,
    ".arrow": _check_arrow,
    ".sqlite": _check_sqlite,
    ".csv": _check_csv,
    ".json": _check_json,
    ".jsonl": _check_json_lines,
    ".yaml": _check_yaml,
    ".html": _check_page,
    ".png": _check_image,
    ".txt": _check_text,
    ".log": lambda _: None,
    ".pkl": lambda _: None,  # of submitit
}
"""How files are read, by their suffix."""


# Results


def read_report(run: Path) -> dict[str, Any]:
    """The predictions and the metrics of a run folder."""
    found: dict[str, Any] = read_predictions(run / "report" / "predictions.parquet")
    metrics = json.loads((run / "report" / "metrics.json").read_text(encoding="utf-8"))
    found["metrics"] = [metrics[f"test/{name}"] for name in METRICS if metrics.get(f"test/{name}") is not None]
    return found


def read_predictions(path: Path) -> dict[str, Any]:
    """The columns of a table of predictions."""
    import pyarrow.parquet as pq

    columns: dict[str, Any] = pq.read_table(path).to_pydict()
    return columns


def read_weights(run: Path) -> dict[str, Any]:
    """The weights and the steps of the checkpoints of a run folder."""
    import torch

    found = {}
    for name in ("best", "last"):
        checkpoint = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        weights = {key: tensor.tolist() for key, tensor in checkpoint["state_dict"].items()}
        found[name] = [checkpoint["global_step"], weights]
    return found


def read_comparison(path: Path) -> dict[str, Any]:
    """A stored comparison, without what is measured anew in each run."""
    values: dict[str, Any] = _without_measured(json.loads(path.read_text(encoding="utf-8")))
    return values


def _without_measured(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_measured(entry) for name, entry in value.items() if name not in MEASURED}
    return [_without_measured(entry) for entry in value] if isinstance(value, list) else value


def first_difference(expected: Any, found: Any, tolerance: float, where: str = "result") -> str | None:
    """The first difference of two results, in words; None if there is none.

    Args:
        expected: Nested dictionaries and lists.
        found: The same.
        tolerance: The largest difference of two floats that does not count.
        where: The name of the value.
    """
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        parts = [(f"{where}.{name}", expected[name], found[name]) for name in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        parts = [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(expected, found, strict=True))]
    elif isinstance(expected, float) and isinstance(found, float):
        return None if abs(expected - found) <= tolerance or expected == found else f"{where}: {expected}, not {found}"
    else:
        return None if expected == found else f"{where}: {str(expected)[:80]}, not {str(found)[:80]}"
    for name, a, b in parts:
        if (difference := first_difference(a, b, tolerance, name)) is not None:
            return difference
    return None
