"""Compares runs on the same rows: which method is better, and how sure that is.

python scripts/compare.py runs/*/0
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from textclf.console import run_script
from textclf.errors import UserError


def run(options: argparse.Namespace) -> None:
    """Prints the comparison, and writes what is asked for.

    Raises:
        UserError: Runs cannot be compared, or a place cannot be written.
    """
    from textclf.evaluation.comparison import compare_methods
    from textclf.evaluation.leaderboard import as_text
    from textclf.evaluation.leaderboard_formats import as_csv, as_json, as_latex, as_markdown
    from textclf.evaluation.leaderboard_tables import Values
    from textclf.evaluation.run_records import find_baseline, find_runs
    from textclf.files import atomic_path, check_writable

    formats: list[tuple[str | None, Callable[[Values], str]]] = [
        (options.json, as_json),
        (options.csv, as_csv),
        (options.markdown, as_markdown),
        (options.latex, as_latex),
    ]
    paths = [path for path in (*(path for path, _ in formats), options.html) if path is not None]
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(f"{path!r} is given for two outputs: name a file for each")
        check_writable(path)
    if options.figures:
        check_writable(options.figures, is_folder=True)
    records = find_runs(options.runs)
    values, compared = compare_methods(
        records,
        baseline=find_baseline(options.baseline, records) if options.baseline else None,
        metric=options.metric,
        cluster=options.cluster,
        common_rows=options.common_rows,
    )
    print(as_text(values), end="")
    for file, write in formats:
        if file is not None:
            with atomic_path(file) as temporary:
                temporary.write_text(write(values), encoding="utf-8")
    if options.html:
        from textclf.evaluation.pages.comparison_page import write_comparison_page

        write_comparison_page(options.html, values, compared)
    if options.figures:
        from textclf.evaluation.figures.comparison import draw_comparison

        draw_comparison(values, options.figures)
    if options.update_readme:
        from textclf.evaluation.stored_results import store

        store(values, Path(__file__).parents[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders, predictions.parquet files, or globs of them in quotes"
    )
    parser.add_argument("--baseline", metavar="RUN", help="the run that others are compared with (default: the first)")
    parser.add_argument(
        "--metric",
        default="accuracy",
        help="accuracy (default), macro_f1, mcc, nll or brier: orders the methods, and puts them into groups of ties",
    )
    parser.add_argument(
        "--common_rows", action="store_true", help="compare runs of different rows on those that all have"
    )
    parser.add_argument(
        "--cluster", metavar="COLUMN", help="column of --data.keep_columns whose groups are resampled instead of rows"
    )
    parser.add_argument("--json", metavar="FILE", help="write all numbers there")
    parser.add_argument("--csv", metavar="FILE", help="write a line for each method there")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables in Markdown there")
    parser.add_argument("--latex", metavar="FILE", help="write the tables for LaTeX (booktabs) there")
    parser.add_argument(
        "--html", metavar="FILE", help="write a page there: the tables, and each row with the answers of all methods"
    )
    parser.add_argument(
        "--figures", metavar="DIR", help="draw the intervals, and quality against speed, as PNG files there"
    )
    parser.add_argument(
        "--update-readme",
        action="store_true",
        help="store the comparison in scripts/results, and update the tables of the documentation",
    )
    options = parser.parse_args(arguments)
    return run_script("compare", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
