"""Fuzzes the parsers of this package: damaged and random inputs give a result or one clear error, nothing else.

Inputs are drawn by Hypothesis (`fuzzing/inputs.py`). Any exception but `UserError`, and an input that takes longer than
`LONGEST` seconds, counts as a crash; the table and the file of results list each kind once, with its input.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textclf.console import align_table, run_script
from textclf.errors import UserError, check_range
from textclf.files import atomic_path

if TYPE_CHECKING:
    from fuzzing.parsers import Parser

LONGEST = 20
"""Seconds that an input may take."""
ROUND = 200
"""Inputs that are drawn at once."""
SHOWN = 300
"""Bytes of an input that the results show."""


class TooSlowError(Exception):
    """An input takes longer than `LONGEST` seconds."""


@dataclass
class Counts:
    """What became of the inputs of a parser.

    Attributes:
        inputs: Inputs that were tried.
        results: Those that were read.
        user_errors: Those that were refused by one clear error.
        crashes: All others.
        kinds: One crash of each kind.
    """

    inputs: int = 0
    results: int = 0
    user_errors: int = 0
    crashes: int = 0
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)

    def add_crash(self, error: BaseException, content: bytes) -> None:
        """Counts a crash; a kind is an exception at a place in the code."""
        self.crashes += 1
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        message = str(error)[:SHOWN].encode(errors="backslashreplace").decode()
        shown = base64.b64encode(content[:SHOWN]).decode()
        trace = "".join(traceback.format_exception(error))[-3000:].encode(errors="backslashreplace").decode()
        self.kinds.setdefault(kind, {"message": message, "input": shown, "traceback": trace})


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raises `TooSlowError` if the block takes longer."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_input(parser: Parser, content: bytes, counts: Counts) -> None:
    """Reads one input, and counts what became of it."""
    counts.inputs += 1
    try:
        with time_limit(LONGEST), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            parser.parse(content)
        counts.results += 1
    except UserError as error:
        if len(str(error).splitlines()) == 1:
            counts.user_errors += 1
        else:
            counts.add_crash(error, content)
    except (Exception, SystemExit) as error:
        counts.add_crash(error, content)


def try_parser(parser: Parser, seconds: float, seed: int, counts: Counts) -> None:
    """Draws inputs for a parser until the time is over, at least one.

    Args:
        parser: The parser.
        seconds: How long.
        seed: Of the draws.
        counts: Changed in place.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    end = time.monotonic() + seconds  # importing Hypothesis takes a while
    draw = random.Random(seed)
    while time.monotonic() < end:

        @seeded(draw.getrandbits(32))
        @settings(
            max_examples=ROUND, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(parser.inputs)
        def one_round(content: bytes) -> None:
            if not counts.inputs or time.monotonic() < end:  # on a busy machine, the first draw may take that long
                try_input(parser, content, counts)

        one_round()


def fuzz(seconds: float, names: Sequence[str], seed: int) -> dict[str, Counts]:
    """Tries all parsers, or some of them, each for the same time.

    Raises:
        UserError: There is no parser of a name.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = f"{folder}/cache"  # before anything imports datasets
        from fuzzing.parsers import all_parsers

        parsers = {parser.name: parser for parser in all_parsers(Path(folder))}
        for name in names:
            check_range("parser", name, name in parsers, ", ".join(map(repr, parsers)))
        chosen = [parsers[name] for name in names or parsers]
        found = {}
        for parser in chosen:
            found[parser.name] = Counts()
            try_parser(parser, seconds / len(chosen), seed, found[parser.name])
            print(f"{parser.name}: {found[parser.name].inputs:,} inputs", file=sys.stderr, flush=True)
    return found


def results_of(found: dict[str, Counts], seconds: float, arguments: Sequence[str]) -> dict[str, Any]:
    """The counts as they are stored."""
    from benchmarks.frame import machine

    names = ("inputs", "results", "user_errors", "crashes")
    counts = {parser: {name: getattr(each, name) for name in names} for parser, each in found.items()}
    command = shlex.join(["python", "scripts/fuzz.py", *arguments])
    check = {
        "check": "damaged and random files, options and answers of servers",
        "tried": f"{len(counts)} parsers",
        "faults": None,
        "bad_inputs": sum(each.inputs for each in found.values()),
        "lost": None,
        "crashes": sum(each.crashes for each in found.values()),
        "difference": None,
        "command": command,
    }
    crashes = {parser: each.kinds for parser, each in found.items() if each.kinds}
    return {
        "command": command,
        "machine": machine(),
        "seconds": round(seconds),
        **{name: sum(each[name] for each in counts.values()) for name in names},
        "parsers": counts,
        "robustness": [check],
        "crash_kinds": crashes,
    }


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Fuzzes, and prints a table; the exit code is 1 if there was a crash."""
    check_range("--minutes", options.minutes, options.minutes > 0, "a number above 0")
    started = time.monotonic()
    found = fuzz(60 * options.minutes, options.parsers, options.seed)
    results = results_of(found, time.monotonic() - started, arguments)
    lines = [["parser", "inputs", "results", "user errors", "crashes"]]
    for name, counts in [*results["parsers"].items(), ("all", results)]:
        lines.append([name, *(f"{counts[key]:,}" for key in ("inputs", "results", "user_errors", "crashes"))])
    print("\n".join(align_table(lines, "<>>>>")))
    for parser, kinds in results["crash_kinds"].items():
        for kind, crash in kinds.items():
            print(f"{parser}: {kind}: {crash['message']}")
    if options.json:
        with atomic_path(options.json) as path:
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 1 if results["crashes"] else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code: 1 if a parser crashed."""
    parser = argparse.ArgumentParser(description="Fuzzes the parsers of textclf with damaged inputs.")
    parser.add_argument("parsers", nargs="*", help="names of parsers, as the table has them; all by default")
    parser.add_argument("--minutes", type=float, default=10, help="how long, all parsers together (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument(
        "--json", metavar="FILE", help="write the counts, and the crashes with their inputs, to this file"
    )
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)
    return run_script("fuzz", lambda: run(options, given))


if __name__ == "__main__":
    sys.exit(main())
