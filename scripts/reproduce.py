"""Repeats runs from their folders, and compares: equal to the bit, or what differs.

python scripts/reproduce.py runs/quickstart/0
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textclf.classes.user_code import search_current_folder
from textclf.console import run_script
from textclf.errors import UserError

if TYPE_CHECKING:
    from textclf.evaluation.robustness import Check
    from textclf.run.reproduction import CheckpointDifference, RecordedRun, ReportDifference

EQUAL = "equal to the bit"
RESULTS = {EQUAL: 0, "different": 1, "not repeated, since the data has changed": 1}
"""How a repetition may end, and the exit code."""


def run(options: argparse.Namespace, more: Sequence[str]) -> int:
    """Repeats the runs one after another, and prints what differs.

    Returns:
        The exit code: 0 if all are equal to the bit, otherwise 1.

    Raises:
        UserError: There is no such run, or its command fails.
    """
    from benchmarks.frame import machine

    from textclf.evaluation.stored_results import stored
    from textclf.files import atomic_path, check_writable
    from textclf.run.reproduction import read_recorded_run

    if options.run_dir is not None and len(options.runs) > 1:
        raise UserError("--run_dir is the folder of one repetition: leave it out, or give one run")
    folders = [Path(each) for each in options.runs]
    # Also "." has a name then.
    targets = [Path(options.run_dir or f"{os.path.abspath(folder)}-reproduced").resolve() for folder in folders]
    for number, (folder, target) in enumerate(zip(folders, targets, strict=True)):
        if target in targets[:number]:
            raise UserError(f"{str(folder)!r} is given twice: give each run once")
        check_target(target)
        read_recorded_run(folder)  # before hours of work on another one
    store = None if options.json is None else Path(options.json).resolve()
    if store is not None:
        check_writable(store)
    found = []
    for folder, target in zip(folders, targets, strict=True):
        found.append({"run": str(folder), **repeated(folder, target, more)})
    if store is not None:
        values = stored({"command": options.command, "machine": machine(), "runs": found})
        values["robustness"] = [check(found, values["command"])]
        with atomic_path(store) as temporary:
            temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return max(RESULTS[each["result"]] for each in found)


def check(found: Sequence[Mapping[str, Any]], command: str) -> Check:
    """The row of the table of robustness checks."""
    reports = [report for each in found for report in each.get("reports", [])]
    return {
        "check": "runs repeated from their folders",
        "tried": f"{len(found):,} runs, {sum(each['result'] == EQUAL for each in found):,} {EQUAL}",
        "faults": None,
        "bad_inputs": None,
        "lost": sum(report["predictions"] for report in reports),
        "crashes": None,
        "difference": max((float(report["largest"]) for report in reports), default=None),
        "command": command,
    }


def check_target(target: Path) -> None:
    """Refuses a folder that is used.

    Raises:
        UserError: The folder has files in it.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{str(target)!r} is there already: name another folder by --run_dir, or remove it")


def repeated(folder: Path, target: Path, more: Sequence[str]) -> dict[str, Any]:
    """Repeats a run, unless its data has changed, and prints what differs.

    Args:
        folder: The run folder.
        target: Where the repetition writes.
        more: Further options of the command.

    Returns:
        The `result`, what differs in the environment and in the data, and the comparison of reports and checkpoints.

    Raises:
        UserError: There is no such run, or its command fails.
    """
    from textclf.run.reproduction import environment_differences, read_recorded_run

    recorded = read_recorded_run(folder)
    print(f"run: {folder} ({recorded.command})", flush=True)
    found: dict[str, Any] = {
        "command": recorded.facts.get("command"),
        "environment": environment_differences(recorded.facts),
        "data": changed_data(recorded, more),
    }
    for line in [*found["environment"], *found["data"]]:
        print(f"different: {line}", flush=True)
    if found["data"]:
        print("not repeated: other data gives another result; --data.data_dir names the folder of the former data")
        return {**found, "result": "not repeated, since the data has changed"}
    if not found["environment"]:
        print("versions, commit, processor and data: as they were", flush=True)
    repeat(recorded, target, more)
    return {**found, **compared(recorded.folder, target)}


def changed_data(recorded: RecordedRun, more: Sequence[str]) -> list[str]:
    """The splits whose rows have changed since the run, in words."""
    from contextlib import chdir

    from textclf.cli.app import build_parts
    from textclf.console import hush
    from textclf.run.reproduction import data_differences

    hush()
    with chdir(recorded.working_directory):
        return data_differences(recorded.fingerprints, build_parts([*recorded.config, *more])[1])


def repeat(recorded: RecordedRun, target: Path, more: Sequence[str]) -> None:
    """Runs the command of a run again, where it was started, with as many threads.

    Raises:
        UserError: It fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "textclf", *recorded.repetition(target), *more],
        cwd=recorded.working_directory,
        env={**os.environ, **recorded.environment},
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode != 0:
        raise UserError(f"the repetition ended with exit code {done.returncode}: the line above gives the reason")


def compared(first: Path, second: Path) -> dict[str, Any]:
    """Compares a run with its repetition, and prints the differences."""
    from textclf.run.reproduction import checkpoint_differences, report_differences

    reports = list(report_differences(first, second))
    checkpoints = list(checkpoint_differences(first, second))
    differences: list[ReportDifference | CheckpointDifference] = [*reports, *checkpoints]
    for each in differences:
        print("\n".join(each.lines()), flush=True)
    is_equal = all(each.is_equal for each in differences)
    return {
        "result": EQUAL if is_equal else "different",
        "reports": [storable(vars(each)) for each in reports],
        "checkpoints": [storable(vars(each)) for each in checkpoints],
    }


def storable(values: dict[str, Any]) -> dict[str, Any]:
    """Values for strict JSON, which has no infinity."""
    return {name: "inf" if value == math.inf else value for name, value in values.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="All other arguments are added to the commands of the runs, such as --data.data_dir DIR. The exit code "
        "is 0 if the repetitions are equal to the bit, 1 if one differs or its data has changed, 2 after an error.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folder")
    parser.add_argument("--run_dir", metavar="DIR", help="folder of the repetition (default: RUN-reproduced)")
    parser.add_argument("--json", metavar="FILE", help="write what differs to a file, too")
    options, rest = parser.parse_known_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    options.command = shlex.join(["python", "scripts/reproduce.py", *words])
    search_current_folder()  # classes of the user may be there
    return run_script("reproduce", lambda: run(options, rest))


if __name__ == "__main__":
    sys.exit(main())
