"""Runs data sets x methods x seeds (x folds), each once, and compares the results.

python scripts/run_all.py runs/all --data configs/bbc_news.yaml --methods configs/model/tfidf.yaml --seeds 3
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from textclf.classes.user_code import search_current_folder
from textclf.console import hush, run_script
from textclf.errors import UserError, check_least, check_range

MOST_SEEDS = 1_000
LARGEST_SEED = 2**32 - 1
"""The largest seed of NumPy."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others."""

    def error(self, message: str) -> NoReturn:
        """Raises an error.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{message}; --help lists the options")


def seeds_of(given: Sequence[int]) -> list[int]:
    """Seeds from the values of `--seeds`: one number is how many there are, several are the seeds themselves.

    Raises:
        UserError: The number or a seed is out of range, or a seed is repeated.
    """
    if len(given) == 1:
        check_range("--seeds", given[0], 1 <= given[0] <= MOST_SEEDS, f"a number of seeds from 1 to {MOST_SEEDS:,}")
        return list(range(given[0]))
    for seed in given:
        check_range("--seeds", seed, 0 <= seed <= LARGEST_SEED, f"seeds from 0 to {LARGEST_SEED}")
    if len(set(given)) < len(given):
        raise UserError(f"--seeds {' '.join(map(str, given))} has a seed twice: give each once")
    return list(given)


def slurm_options(given: Sequence[str]) -> dict[str, Any]:
    """The options of `sbatch` from words such as `partition=gpu`.

    Raises:
        UserError: A word is not of this form.
    """
    import yaml

    options = {}
    for word in given:
        name, sign, value = word.partition("=")
        if not name or not sign:
            raise UserError(f"--slurm {word!r} is not of the form NAME=VALUE, such as partition=gpu")
        options[name.lstrip("-").replace("-", "_")] = yaml.safe_load(value)
    return options


def run(arguments: Sequence[str] | None) -> int:
    """Does the runs that are not complete, and prints the comparison of all of them.

    Returns:
        The exit code: 1 if a run failed.

    Raises:
        UserError: The command is wrong, or runs cannot be compared.
    """
    options, rest = parser().parse_known_args(arguments)
    seeds = seeds_of(options.seeds)
    check_least("--jobs", options.jobs, 1)
    if options.folds is not None:
        check_least("--folds", options.folds, 2)
    slurm = slurm_options(options.slurm)
    if slurm and options.launcher != "slurm":
        raise UserError("--slurm has no effect without --launcher slurm: leave it out, or give both")
    hush()
    from textclf.cli import merged_config
    from textclf.run.grid import comparable, run_grid
    from textclf.run.grid_plan import plan

    root = Path(options.folder)
    cells = plan(root, options.data, options.methods, rest, options.folds, merged_config)
    outcome = run_grid(
        root,
        cells,
        seeds,
        folds=options.folds,
        jobs=options.jobs,
        launcher=options.launcher,
        slurm=slurm,
    )
    try:
        print_comparison(root, [str(run.folder) for run in comparable(outcome)])
    finally:
        for failed, reason in outcome.failed:
            print(f"run_all: {failed.name} failed: {reason} (log: {failed.log})", file=sys.stderr)
    return 1 if outcome.failed else 0


def print_comparison(root: Path, runs: Sequence[str]) -> None:
    """Prints the comparison of runs, and writes it to `comparison.json`, where a data set has at least two runs."""
    from textclf.evaluation.comparison import compare
    from textclf.evaluation.leaderboard import as_text
    from textclf.evaluation.leaderboard_formats import as_json
    from textclf.evaluation.run_records import find_runs
    from textclf.files import atomic_path

    records = find_runs(runs)
    if max(Counter(record.data_set for record in records).values(), default=0) < 2:
        print(f"{len(runs)} complete, no two on one data set: nothing to compare")
        return
    values = compare(records)
    print(as_text(values), end="")
    with atomic_path(root / "comparison.json") as temporary:
        temporary.write_text(as_json(values), encoding="utf-8")


def parser() -> Parser:
    """The options."""
    made = Parser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="All other arguments are options of each run, such as --data.limit 2000.",
        allow_abbrev=False,
    )
    made.add_argument("folder", metavar="FOLDER", help="folder of the runs; complete runs are kept, others resumed")
    made.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="CONFIG",
        help="configurations of data sets; several files for one are joined by +: configs/nsmc.yaml+mine/nsmc.yaml",
    )
    made.add_argument(
        "--methods", nargs="+", default=[], metavar="CONFIG", help="configurations of methods, joined likewise"
    )
    made.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[1],
        metavar="N",
        help="how many seeds (0, 1, ...), or several seeds; a method without training and shots has one (default: 1)",
    )
    made.add_argument("--folds", type=int, metavar="K", help="cross-validation with K folds of the train rows")
    made.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at the same time (default: 1)")
    made.add_argument("--launcher", choices=("local", "slurm"), default="local", help="local (default), or slurm")
    made.add_argument(
        "--slurm",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="options of sbatch, such as partition=gpu time=120 gpus_per_node=1",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    search_current_folder()  # classes of the user may be there
    return run_script("run_all", lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
