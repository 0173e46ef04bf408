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
from typing import Any

from textclf.console import run_script
from textclf.errors import check_least

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
    found: dict[str, Any] = {"command": options.command, "machine": machine()}
    for name in options.parts or PARTS:
        soak, size = parts[name]
        with tempfile.TemporaryDirectory() as folder:
            found[name] = soak(size, Path(folder))
        print(f"{name}: {json.dumps(found[name], indent=1)}", flush=True)
        if options.json is not None:
            with atomic_path(options.json) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if all(found[name]["ok"] for name in options.parts or PARTS) else 1


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
