"""Kills commands at random moments, runs them again, and compares with runs that nothing happened to.

python scripts/kill_anywhere.py --kills 20

Commands run in processes that are forked from this one, which has imported everything; a few are started anew. Disks
that get full are in memory; to mount them needs the rights of root. A loss of power is not tried: textclf does not wait
until the system has written its files to the disk.
"""

from __future__ import annotations

import argparse
import gc
import random
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from kills.bench import Bench
from kills.chat_server import serving
from kills.disks import LARGE, empty_folder
from kills.faults import MIXED, FaultName, Plan, Progress, Undisturbed, draw_plan
from kills.kinds import KINDS, Inputs
from kills.processes import Forked, Started, import_all, prepare
from kills.trials import Trial, described, store, stored_trials, table
from measure_memory import WORDS

from textclf.console import run_script
from textclf.errors import UserError, check_least
from textclf.files import check_writable

FAULTS = list(get_args(FaultName))
EVERY = 25
"""One trial of so many is of a command in a process of its own, which takes long to start."""


def run(options: argparse.Namespace) -> int:
    """Meets the faults, and prints the table.

    Returns:
        The exit code: 1 if something was wrong.

    Raises:
        UserError: An option is wrong, or disks cannot be mounted.
    """
    check_least("--kills", options.kills, 1)
    if unknown := [name for name in options.kinds if name not in KINDS]:
        raise UserError(f"unknown kind {', '.join(map(repr, unknown))}: the kinds are {', '.join(KINDS)}")
    calls: list[str] = []
    trials: list[Trial] = []
    if options.json:
        check_writable(options.json)
        calls, trials = stored_trials(Path(options.json))
    calls.append(shlex.join(["python", "scripts/kill_anywhere.py", *options.words]))
    prepare()
    import_all()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, serving(list(WORDS)) as url:
        if "full disk" in options.faults:
            with empty_folder(Path(folder, "disk"), LARGE):  # fails without the rights of root
                pass
        benches = make_benches(options.kinds, Path(folder), url)
        gc.freeze()  # children share the memory of what was imported
        for bench, plan in plans(benches, options.faults, options.seed):
            if (trial := bench.trial(plan)) is None:  # it ended before the fault
                continue
            trials.append(trial)
            print(f"{len(trials)}: {described(trial)}", flush=True)
            if options.json:
                store(Path(options.json), trials, calls)
            options.kills -= 1
            if not options.kills:
                break
    print("\n" + "\n".join(table(trials)))
    return int(any(trial.problems for trial in trials))


def make_benches(names: Sequence[str], folder: Path, url: str) -> dict[str, Bench]:
    """Writes the inputs, and measures each kind without a fault.

    Args:
        names: The kinds.
        folder: Where inputs and trials are.
        url: Address of the chat server.

    Raises:
        UserError: A command fails without a fault.
    """
    inputs = Inputs(folder / "inputs", url)
    inputs.write()
    progress = Progress()
    work = folder / "work"
    with empty_folder(work):
        made = [Forked(work, progress, "forward pass").run(inputs.train(), Undisturbed())]
        if any(KINDS[name].needs_encoder for name in names):
            made.append(Started(work, progress).run(inputs.export(), Undisturbed()))
    for ended in made:
        if ended.code:
            raise UserError(f"the inputs cannot be made (exit code {ended.code}): {ended.output[-2000:]}")
    benches = {}
    for name in names:
        benches[name] = Bench(KINDS[name](inputs, work), name, progress)
        benches[name].measure()
        print(f"{name}: {benches[name].undisturbed.seconds:.1f} s without a fault", flush=True)
    return benches


def plans(benches: dict[str, Bench], faults: Sequence[str], seed: int) -> Iterator[tuple[Bench, Plan]]:
    """The faults of all kinds in turn, without an end."""
    mixed = [(fault, moment) for fault, moment in MIXED if fault in faults]
    turns: Counter[str] = Counter()
    number = 0
    while True:
        bench = benches[next_kind(list(benches), number)]
        fault, moment = mixed[turns[bench.name] % len(mixed)]
        if not bench.kind.is_forked and fault != "full disk":  # such a process is only watched from outside
            fault, moment = ("SIGTERM" if fault == "SIGTERM" else "SIGKILL"), "any time"
        yield bench, draw_plan(fault, moment, bench.undisturbed, random.Random(f"{seed} {number}"))
        turns[bench.name] += 1
        number += 1


def next_kind(names: Sequence[str], number: int) -> str:
    """The kind of a trial; those that are started anew come seldom."""
    forked = [name for name in names if KINDS[name].is_forked]
    own = [name for name in names if name not in forked]
    if own and (not forked or number % EVERY == EVERY - 1):
        return own[number // EVERY % len(own)]
    return forked[number % len(forked)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200, help="number of faults that are met (default: 200)")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--faults", nargs="+", default=FAULTS, choices=FAULTS, help="all by default")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write the result to this file; what it holds is kept")
    options = parser.parse_args(arguments)
    options.words = sys.argv[1:] if arguments is None else arguments
    return run_script("kill_anywhere", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
