"""Learning curve: trains a method on k rows of each class, several draws of each k; writes a table and a plot.

python scripts/learning_curve.py runs/curve -c configs/rotten_tomatoes.yaml -c configs/model/linear_probe.yaml
"""

import argparse
import csv
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from textclf.classes.user_code import search_current_folder
from textclf.console import run_script
from textclf.errors import UserError
from textclf.files import atomic_path

SHOTS = [2**i for i in range(10)]


class TooFewRowsError(UserError):
    """A class has fewer rows than are asked for."""


class Point(NamedTuple):
    """A metric at one number of shots: mean over the draws, and the 95 % interval of that mean."""

    shots: int
    mean: float
    low: float
    high: float
    draws: int


def interval(shots: int, values: Sequence[float]) -> Point:
    """95 % interval of a mean by Student's t; NaN for a single value.

    Args:
        shots: Train rows of each class.
        values: The metric of each draw.
    """
    from textclf.evaluation.intervals import mean_interval

    return Point(shots, *mean_interval(np.array(values)), len(values))


def measure(folder: Path, shots: int, seed: int, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs `fit` once, or reads the report of an earlier run; returns its `metrics.json`.

    Args:
        folder: Folder of all runs.
        shots: Train rows of each class.
        seed: Seed of the draw, and of training.
        arguments: Arguments of `fit`: configs first, then values.

    Raises:
        TooFewRowsError: A class has fewer rows.
        UserError: The run fails for another reason.
    """
    run = folder / f"shots-{shots}-seed-{seed}"
    report = run / "report" / "metrics.json"
    if not report.is_file():
        if run.exists():
            shutil.rmtree(run)  # of a run that was killed
        own = ["--data.shots_per_class", str(shots), "--data.seed", str(seed), "--seed_everything", str(seed)]
        reason = fit([*arguments, *own, "--run_dir", str(run)], folder / "log.txt")
        if reason is not None:
            too_few = reason.startswith(f"shots_per_class {shots} is more than")
            raise (TooFewRowsError if too_few else UserError)(f"{run.name}: {reason}")
    metrics: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return metrics


def fit(arguments: Sequence[str], log: Path) -> str | None:
    """Runs `textclf fit` in this process, and appends its output to a file.

    Returns:
        Why it failed, as the command line reports it; None if it did not.
    """
    from textclf.cli import main as textclf

    try:
        with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            textclf(["fit", *arguments])
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from stop
        return log.read_text(encoding="utf-8").strip().splitlines()[-1].removeprefix("textclf: error: ")
    return None


def value_of(metrics: dict[str, Any], name: str) -> float:
    """A metric of a report.

    Raises:
        UserError: There is no such metric.
    """
    value = metrics.get(name)
    if not isinstance(value, int | float):
        known = ", ".join(key for key, other in metrics.items() if isinstance(other, int | float))
        raise UserError(f"--metric {name!r} is none of {known}")
    return float(value)


def title_of(metrics: dict[str, Any]) -> list[str]:
    """Title of the plot: data set, method and rows; reports of older versions do not have all of them."""
    rows = f"{metrics['examples']:,} rows of {metrics.get('split', 'test')}"
    return [text for text in (metrics.get("data"), metrics.get("method"), rows) if text]


def draw(points: Sequence[Point], metric: str, title: Sequence[str], path: Path) -> None:
    """Draws the means over the shots, on a logarithmic axis, and their intervals."""
    from textclf.evaluation.figures.style import drawing

    shots = [point.shots for point in points]
    means = [point.mean for point in points]
    low = [point.low for point in points]
    high = [point.high for point in points]
    draws = max(point.draws for point in points)
    with drawing(path, 6, 4, title) as figure:
        axes = figure.add_subplot()
        axes.fill_between(shots, low, high, alpha=0.25, label="95 % interval of the mean")
        axes.plot(shots, means, marker="o", label=f"mean of {draws} draws")
        axes.set_xscale("log", base=2)
        axes.set_xticks(shots, [str(k) for k in shots])
        axes.set_xlabel("train rows of each class")
        axes.set_ylabel(metric)
        axes.grid(alpha=0.3)
        axes.legend()


def write(points: Sequence[Point], path: Path) -> None:
    """Writes the table."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Point._fields)
        writer.writerows(points)


def claim(folder: Path, arguments: Sequence[str]) -> None:
    """Stores the arguments, and the content of the files that they name: runs with other arguments are not reused.

    Raises:
        UserError: The folder is a file, or has complete runs with other arguments.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{str(folder)!r} is a file: name a folder")
    values = [argument.rpartition("=")[2] for argument in arguments]
    files = {name: Path(name).read_text(encoding="utf-8") for name in values if os.path.isfile(name)}
    own = {"arguments": list(arguments), "files": files}
    path = folder / "arguments.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known == own:
            return
        # After a mistake in the arguments there is no complete run: the corrected command may use the same folder.
        if any(folder.glob("shots-*/report/metrics.json")):
            raise UserError(f"{str(folder)!r} holds runs with {_difference(known, own)}: name another folder")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")


def _difference(known: dict[str, Any], own: dict[str, Any]) -> str:
    """How the arguments of earlier runs differ, in words."""
    if known["arguments"] != own["arguments"]:
        return "arguments " + " ".join(known["arguments"])
    names = known["files"] | own["files"]
    changed = [name for name in names if known["files"].get(name) != own["files"].get(name)]
    return f"another content of {', '.join(changed)}"


def run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Measures each number of shots, while there are enough rows; table and plot are written after each."""
    from tqdm.auto import tqdm

    folder = Path(options.folder)
    claim(folder, arguments)
    points: list[Point] = []
    print(f"{'shots':>6}  {options.metric:>14}  95 % interval", flush=True)
    with tqdm(total=len(options.shots) * len(options.seeds), unit="run", disable=None) as bar:
        for shots in sorted(options.shots):
            values = []
            try:
                for seed in options.seeds:
                    metrics = measure(folder, shots, seed, arguments)
                    values.append(value_of(metrics, options.metric))
                    bar.update()
            except TooFewRowsError as error:
                if not points:
                    raise
                print(f"learning_curve: the curve ends here ({error})", file=sys.stderr)
                return
            points.append(interval(shots, values))
            point = points[-1]
            print(f"{shots:>6}  {point.mean:>14.4f}  {point.low:.4f} to {point.high:.4f}", flush=True)
            write(points, folder / "curve.csv")
            draw(points, options.metric, title_of(metrics), folder / "curve.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="All other arguments are those of `python -m textclf fit`: configs first, then values.",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of the runs, curve.csv and curve.png; complete runs are reused"
    )
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS, help="rows of each class (default: 1 to 512)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds of the draws (default: 0 to 4)"
    )
    parser.add_argument(
        "--metric", default="test/macro_f1", help="name in report/metrics.json (default: test/macro_f1)"
    )
    options, rest = parser.parse_known_args(arguments)

    search_current_folder()  # classes of the user may be there
    return run_script("learning_curve", lambda: run(options, rest))


if __name__ == "__main__":
    sys.exit(main())
