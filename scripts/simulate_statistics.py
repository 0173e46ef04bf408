"""Measures how often intervals cover the truth and tests raise false alarms, on simulated tables.

python scripts/simulate_statistics.py
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from textclf.console import run_script
from textclf.errors import UserError, check_least
from textclf.files import atomic_path, check_writable

RESULTS = Path(__file__).parent / "results" / "statistics.json"


def known_results(path: Path, draws: int, tests: int) -> dict[str, Any]:
    """The settings that an earlier call measured.

    Raises:
        UserError: They were measured with other numbers of test sets, or the file holds something else.
    """
    check_least("--draws", draws, 1)
    check_least("--tests", tests, 1)
    check_writable(path)
    if not path.is_file():
        return {"version": 1, "draws": draws, "tests": tests, "cells": []}
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): give another file as --output") from error
    if not isinstance(results, dict) or not {"draws", "tests", "cells"} <= results.keys():
        raise UserError(f"{path}: not a file of this script: give another one as --output")
    if (results["draws"], results["tests"]) != (draws, tests):
        numbers = f"--draws {results['draws']} --tests {results['tests']}"
        raise UserError(f"{path} was measured with {numbers}: give these, or another file as --output")
    return results


def run(options: argparse.Namespace) -> None:
    """Measures what is not known yet; the results are written after each setting."""
    from textclf.evaluation.simulated_rows import Setting
    from textclf.evaluation.simulation import measure, settings
    from textclf.evaluation.simulation_table import markdown, summary

    path = Path(options.output)
    results = known_results(path, options.draws, options.tests)
    wanted = [setting for setting in settings() if options.rows is None or setting.rows in options.rows]
    if not wanted:
        sizes = sorted({setting.rows for setting in settings()})
        raise UserError(f"no setting has --rows {options.rows}: give any of {', '.join(map(str, sizes))}")
    cells = {json.dumps({field.name: cell[field.name] for field in fields(Setting)}): cell for cell in results["cells"]}
    for number, setting in enumerate(wanted):
        key = json.dumps(asdict(setting))
        if key in cells:
            continue
        print(f"{number + 1} of {len(wanted)}: {key}", flush=True)
        cells[key] = measure(setting, options.draws, options.tests)
        results["cells"] = list(cells.values())
        with atomic_path(path) as temporary:
            lines = ",\n".join(json.dumps(cell, allow_nan=False) for cell in results["cells"])
            head = json.dumps({name: results[name] for name in ("version", "draws", "tests")})
            temporary.write_text(f'{head[:-1]}, "cells": [\n{lines}\n]}}\n', encoding="utf-8")
    print(markdown(results))
    for line in summary(results):
        print(f"simulate_statistics: {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", default=str(RESULTS), help="JSON file; settings that it holds are not repeated")
    parser.add_argument("--draws", type=int, default=2_000, help="test sets for intervals (default: 2,000)")
    parser.add_argument("--tests", type=int, default=10_000, help="test sets for tests (default: 10,000)")
    parser.add_argument("--rows", type=int, nargs="+", help="only test sets of these sizes")
    options = parser.parse_args(arguments)
    return run_script("simulate_statistics", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
