"""Measures how many planted label errors are found, beside cleanlab's default rule on the same probabilities.

python scripts/plant_label_errors.py --config configs/bbc_news.yaml --name "BBC News"
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from textclf.classes.user_code import search_current_folder
from textclf.console import hush, run_script, say
from textclf.errors import UserError, check_least, check_range
from textclf.files import atomic_path, check_writable

RESULTS = Path(__file__).parent / "results" / "label_errors.json"
SHARES = (0.02, 0.1)
COLUMNS = {
    "data": ("data", "text"),
    "rows": ("train rows", "count"),
    "planted": ("planted", "count"),
    "agreement": ("agreement", "share"),
    "found": ("found", "count"),
    "precision": ("precision", "share"),
    "recall": ("recall", "share"),
    "first_precision": ("precision of the first", "share"),
    "cleanlab_found": ("found by cleanlab", "count"),
    "cleanlab_precision": ("precision", "share"),
    "cleanlab_recall": ("recall", "share"),
}
"""Title and kind of each column of the table."""


def run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Measures each share, and writes the table.

    Raises:
        UserError: An option is out of range, or the rows cannot be read.
    """
    for share in options.share or ():
        check_range("--share", share, 0 < share < 1, "a share between 0 and 1, such as 0.02")
    check_least("--seeds", options.seeds, 1)
    check_writable(options.json)
    from textclf.cli.app import build_parts
    from textclf.evaluation.stored_results import general_command, stored_table
    from textclf.findings.planted_errors import measure_planted_errors
    from textclf.findings.rows import ExploredSplit

    hush()
    _, data = build_parts([*arguments, "--model", "TfidfClassifier", "--data.val_size", "0"])
    split = ExploredSplit("train", data.rows("train"), tuple(data.label_names))
    shares = options.share or SHARES
    for share in shares:
        if not round(share * len(split)):
            raise UserError(f"--share {share} of {len(split):,} rows is less than one row: give a larger share")
    rows = []
    for share in shares:
        say(f"{options.name}: {share:.0%} of {len(split):,} rows")
        rows.append({"data": options.name} | measure_planted_errors(split, share, range(options.seeds)))
    path = Path(options.json)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": [], "commands": {}}
    columns = [{"key": key, "title": title, "kind": kind} for key, (title, kind) in COLUMNS.items()]
    others = [row for row in known["rows"] if row["data"] != options.name]
    commands = known["commands"] | {options.name: general_command(shlex.join(arguments))}
    results = {"columns": columns, "rows": [*others, *rows], "commands": commands}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(stored_table(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="All other arguments are those of `python -m textclf fit` for the data, such as --data.limit "
        "'{train: 10000}'. Errors are planted into the train rows after cleaning.",
        allow_abbrev=False,
    )
    parser.add_argument("--name", required=True, help="name of the data set in the table")
    parser.add_argument("--share", type=float, action="append", help="share of wrong labels; 0.02 and 0.1 by default")
    parser.add_argument("--seeds", type=int, default=3, help="number of draws, over which counts are summed")
    parser.add_argument("--json", default=str(RESULTS), metavar="FILE", help="the results, which are added to it")
    options, rest = parser.parse_known_args(arguments)
    search_current_folder()  # classes of the user may be there
    return run_script("plant_label_errors", lambda: run(options, rest))


if __name__ == "__main__":
    sys.exit(main())
