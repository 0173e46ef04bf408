"""How a method improves with the rows that it is given: k of each class, several draws, a table and a picture.

python scripts/learning_curve.py runs/curve -c configs/rotten_tomatoes.yaml -c configs/model/linear_probe.yaml
"""

import argparse
import csv
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from textclf.console import use_utf8
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.user_code import search_current_folder

SHOTS = [2**i for i in range(10)]


class TooFewRowsError(UserError):
    """A class has fewer rows than are asked for."""


class Point(NamedTuple):
    """A metric at one number of shots: its mean over draws, and the 95 % interval of that mean."""

    shots: int
    mean: float
    low: float
    high: float
    draws: int


def interval(shots: int, values: Sequence[float]) -> Point:
    """Student's interval of a mean; with one value there is none.

    Args:
        shots: What the values were measured at.
        values: One for each draw.
    """
    from scipy.stats import t

    mean, width = float(np.mean(values)), float("nan")
    if len(values) > 1:
        width = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Point(shots, mean, mean - width, mean + width, len(values))


def measure(folder: Path, shots: int, seed: int, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs `fit` once, or reads what an earlier run has left; gives its `metrics.json`.

    Args:
        folder: Of all runs.
        shots: Train rows of each class.
        seed: Of the draw, and of training.
        arguments: As the command line takes them: configs first, then values.

    Raises:
        TooFewRowsError: A class has fewer rows.
        UserError: The run fails for another reason.
    """
    run = folder / f"shots-{shots}-seed-{seed}"
    report = run / "report" / "metrics.json"
    if not report.is_file():
        from textclf.cli import main as textclf

        if run.exists():
            shutil.rmtree(run)  # of a run that was killed
        own = ["--data.shots_per_class", str(shots), "--data.seed", str(seed), "--seed_everything", str(seed)]
        log = folder / "log.txt"
        try:
            with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
                textclf(["fit", *arguments, *own, "--run_dir", str(run)])
        except SystemExit as stop:
            reason = log.read_text(encoding="utf-8").strip().splitlines()[-1].removeprefix("textclf: error: ")
            kind = TooFewRowsError if reason.startswith(f"shots_per_class {shots} is more than") else UserError
            raise kind(f"{run.name}: {reason}") from stop
    metrics: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return metrics


def value_of(metrics: dict[str, Any], name: str) -> float:
    """Gives a metric.

    Raises:
        UserError: There is no such metric.
    """
    value = metrics.get(name)
    if not isinstance(value, int | float):
        known = ", ".join(key for key, other in metrics.items() if isinstance(other, int | float))
        raise UserError(f"--metric {name!r} is none of {known}")
    return float(value)


def title_of(metrics: dict[str, Any]) -> list[str]:
    """Lines that name the data set, the method, and the rows of a run; older runs do not name them all."""
    rows = f"{metrics['examples']:,} rows of {metrics.get('split', 'test')}"
    return [text for text in (metrics.get("data"), metrics.get("method"), rows) if text]


def draw(points: Sequence[Point], metric: str, title: Sequence[str], path: Path) -> None:
    """Draws the means over the shots, on a logarithmic axis, and their intervals."""
    from textclf.evaluation.figures import drawing

    shots = [point.shots for point in points]
    low, high = [point.low for point in points], [point.high for point in points]
    with drawing(path, 6, 4, title) as figure:
        axes = figure.add_subplot()
        axes.fill_between(shots, low, high, alpha=0.25, label="95 % interval of the mean")
        axes.plot(shots, [p.mean for p in points], marker="o", label=f"mean of {max(p.draws for p in points)} draws")
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
        UserError: The folder holds runs with other arguments.
    """
    values = [argument.rpartition("=")[2] for argument in arguments]
    files = {name: Path(name).read_text(encoding="utf-8") for name in values if os.path.isfile(name)}
    own, path = {"arguments": list(arguments), "files": files}, folder / "arguments.json"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
    elif (known := json.loads(path.read_text(encoding="utf-8"))) != own:
        what = "arguments " + " ".join(known["arguments"])
        if known["arguments"] == own["arguments"]:
            what = f"another content of {', '.join(n for n in files if known['files'].get(n) != files[n])}"
        raise UserError(f"{str(folder)!r} holds runs with {what}: name another folder")


def run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Measures each number of shots in turn, as long as there are enough rows; table and picture grow with it."""
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
    """Parses the command line, and gives the exit code: 2, after one line, where the user can mend it."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="All other arguments are those of `python -m textclf fit`: configs first, then values.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="of the runs, curve.csv and curve.png; what is there is kept")
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS, help="rows of each class (default: 1 to 512)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the draws (default: 0 to 4)")
    parser.add_argument("--metric", default="test/macro_f1", help="of report/metrics.json (default: test/macro_f1)")
    options, rest = parser.parse_known_args(arguments)

    use_utf8()
    search_current_folder()  # classes of one's own may be there
    try:
        run(options, rest)
    except UserError as error:
        print(f"learning_curve: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
