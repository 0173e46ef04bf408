"""Soak tests: 20,000 questions to a chat server that misbehaves, and 200,000 steps of training.

Each runs a command of textclf in this process, and measures its memory while it runs (on Linux). The server is a
process of its own on loopback. It answers most requests; to the others it returns errors, or it hangs, breaks off or
restarts.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textclf.console import run_script
from textclf.errors import UserError, check_least

if TYPE_CHECKING:
    from textclf.evaluation.robustness import Check

PARTS = ("chat", "fit")


def run(options: argparse.Namespace) -> int:
    """Runs the parts, prints what was counted, and returns the exit code: 1 if a part has failed."""
    from benchmarks.frame import machine
    from soaks.chat import soak_chat
    from soaks.training import soak_fit

    from textclf.files import atomic_path, check_writable

    check_least("--questions", options.questions, 1)
    check_least("--steps", options.steps, 1)
    if options.json is not None:
        check_writable(options.json)
    parts = {"chat": (soak_chat, options.questions), "fit": (soak_fit, options.steps)}
    found = {} if options.json is None else known_parts(Path(options.json))
    chosen = options.parts or PARTS
    for name in chosen:
        soak, size = parts[name]
        with tempfile.TemporaryDirectory() as folder:
            found[name] = {"command": options.command, "machine": machine(), **soak(size, Path(folder))}
        print(f"{name}: {json.dumps(found[name], indent=1)}", flush=True)
        if options.json is not None:
            with atomic_path(options.json) as temporary:
                temporary.write_text(json.dumps({**found, "robustness": checks(found)}, indent=1) + "\n")
    return 0 if all(found[name]["ok"] for name in chosen) else 1


def known_parts(path: Path) -> dict[str, dict[str, Any]]:
    """The parts that a file has already: those that are run replace them.

    Raises:
        UserError: The file is not one of this script.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: values[name] for name in PARTS if name in values}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{str(path)!r} has no soak tests ({error}): name another file") from error


def checks(found: dict[str, dict[str, Any]]) -> list[Check]:
    """The rows of the table of robustness checks."""
    rows: list[Check] = []
    if "chat" in found:
        chat = found["chat"]
        faults = chat["requests"] - chat["paid"]
        rows.append(
            {
                "check": "questions to a chat server that misbehaves and restarts",
                "tried": f"{chat['questions']:,} questions, memory {chat['memory_growth_mib']:+} MiB",
                "faults": faults,
                "bad_inputs": None,
                "lost": chat["questions"] - chat["right_answers"] + chat["paid_twice"],
                "crashes": int(not chat["ok"]),
                "difference": None,
                "command": chat["command"],
            }
        )
    if "fit" in found:
        fit = found["fit"]
        rows.append(
            {
                "check": "a long training",
                "tried": f"{fit['steps']:,} steps, memory {fit['memory_growth_mib']:+} MiB",
                "faults": None,
                "bad_inputs": None,
                "lost": None,
                "crashes": int(not fit["ok"]),
                "difference": None,
                "command": fit["command"],
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog="The exit code is 1 if a question was lost or paid for twice, or if memory or files have grown.",
    )
    parser.add_argument("parts", nargs="*", choices=PARTS, metavar="PART", help="chat, fit (default: both)")
    parser.add_argument("--questions", type=int, default=20_000, metavar="N", help="questions of chat (default: 20000)")
    parser.add_argument("--steps", type=int, default=200_000, metavar="N", help="steps of fit (default: 200000)")
    parser.add_argument("--json", metavar="FILE", help="write the counts to a file, too")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    options.command = shlex.join(["python", "scripts/soak.py", *words])
    return run_script("soak", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
