"""Processes that meet a fault: forked from this one, which has imported everything, or started anew."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kills.faults import (
    FirstStep,
    Plan,
    Progress,
    Undisturbed,
    Witness,
    Write,
    address_space,
    limit_memory,
    notice_first_step,
)

LONGEST = 300.0
"""Seconds after which a process counts as hung."""
GRACE = 60.0
"""Seconds that a process has to end after SIGTERM."""
POLL = 0.002
PIPE_BYTES = 2**20


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code; the negative number of the signal that killed it.
        seconds: From its start to its end.
        output: What it printed.
        has_started: Whether it had made its first step.
        reached: The write that was to be cut off; empty if none was reached.
        hung: Whether it did not end by itself.
    """

    code: int
    seconds: float
    output: str
    has_started: bool
    reached: str
    hung: bool

    @property
    def was_writing(self) -> bool:
        """Whether it was killed at a byte of a file, or just before the file was renamed."""
        return self.code == -signal.SIGXFSZ or (self.code == -signal.SIGKILL and bool(self.reached))

    @property
    def last_line(self) -> str:
        """The last line that it printed."""
        lines = self.output.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def has_traceback(self) -> bool:
        """Whether it printed a traceback instead of a line."""
        return "Traceback (most recent call last)" in self.output


def environment(folder: Path) -> dict[str, str]:
    """The variables of a trial: all that is written goes into its folder.

    Args:
        folder: Of the trial.
    """
    caches = folder / "cache"
    return {
        "HF_DATASETS_CACHE": str(caches / "datasets"),
        "XDG_CACHE_HOME": str(caches),
        "TMPDIR": str(folder / "tmp"),
        "OPENAI_API_KEY": "none",
        "WANDB_MODE": "offline",
    }


def import_all() -> None:
    """Imports what the commands import, once for all children."""
    import datasets
    import matplotlib.pyplot
    import openai
    import pyarrow.parquet
    import sentence_transformers
    import sklearn.linear_model
    import tenacity
    import transformers

    import textclf.cli

    modules = (datasets, matplotlib, openai, pyarrow, sentence_transformers, sklearn, tenacity, transformers, textclf)
    assert all(modules)


class Forked:
    """Runs commands of textclf in forked processes.

    Args:
        folder: Of the trial.
        progress: Shared with the children.
        first_step: What counts as a step.
    """

    measured: str | None = None
    """A file to which the child writes what a run without a fault took."""

    def __init__(self, folder: Path, progress: Progress, first_step: FirstStep) -> None:  # noqa: D107
        self.folder = folder
        self.progress = progress
        self.first_step = first_step

    def run(self, words: Sequence[str], undisturbed: Undisturbed, plan: Plan | None = None) -> Ended:
        """Runs a command, and waits for its end.

        Args:
            words: The command and its options.
            undisturbed: What the command takes without a fault.
            plan: The fault; None for none.
        """
        self.progress.reset()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._be_child(words, undisturbed, plan, writing)
        os.close(writing)
        return watch(pid, reading, plan, undisturbed, self.progress)

    def measure(self, words: Sequence[str]) -> tuple[Ended, Undisturbed]:
        """Runs a command without a fault, and tells what it took."""
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
            self.measured = file.name
            ended = self.run(words, Undisturbed())
            self.measured = None
            found = json.loads(file.read())
        writes = [Write(*each) for each in found.pop("writes")]
        return ended, Undisturbed(seconds=ended.seconds, writes=writes, **found)

    def _be_child(self, words: Sequence[str], undisturbed: Undisturbed, plan: Plan | None, output: int) -> None:
        """Runs the command in the child, which does not return."""
        code = 1
        try:
            os.setsid()
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            self._prepare(undisturbed, plan)
            code = self._call(words)
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _prepare(self, undisturbed: Undisturbed, plan: Plan | None) -> None:
        import datasets.config

        os.environ.update(environment(self.folder))
        datasets.config.HF_DATASETS_CACHE = Path(os.environ["HF_DATASETS_CACHE"])  # was read when it was imported
        tempfile.tempdir = None
        os.chdir(self.folder)
        notice_first_step(self.first_step, self._start())
        self.witness = Witness(self.folder, self.progress, plan, undisturbed.writes)
        sys.addaudithook(self.witness.hook)
        if plan is not None and plan.fault == "no memory":
            limit_memory(plan.share / 2, undisturbed.memory)  # much of the address space is never used

    def _start(self) -> Any:
        begun = time.perf_counter()
        self.first_step_after = 0.0

        def start(*_: Any) -> None:
            self.first_step_after = self.first_step_after or time.perf_counter() - begun
            self.progress.start()

        return start

    def _call(self, words: Sequence[str]) -> int:
        from textclf.cli import main

        before = address_space("VmSize")
        try:
            main(words)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        if self.measured is not None:
            writes = [(write.name, write.size, write.is_rename) for write in self.witness.seen()]
            memory = address_space("VmPeak") - before
            found = {"first_step": self.first_step_after, "memory": memory, "writes": writes}
            Path(self.measured).write_text(json.dumps(found), encoding="utf-8")
        return 0


class Started:
    """Runs commands as processes that are started anew, in a session of their own.

    Args:
        folder: Of the trial.
        progress: Is not written by such processes.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:  # noqa: D107
        self.folder = folder
        self.progress = progress

    def run(self, words: Sequence[str], undisturbed: Undisturbed, plan: Plan | None = None) -> Ended:
        """Runs a command, and waits for its end.

        Args:
            words: The words after `python`.
            undisturbed: What the command takes without a fault.
            plan: The fault; None for none.
        """
        self.progress.reset()
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env={**os.environ, **environment(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        os.close(writing)
        ended = watch(process.pid, reading, plan, undisturbed, self.progress)
        process.returncode = ended.code  # it was waited for
        return ended

    def measure(self, words: Sequence[str]) -> tuple[Ended, Undisturbed]:
        """Runs a command without a fault, and tells what it took."""
        ended = self.run(words, Undisturbed())
        return ended, Undisturbed(seconds=ended.seconds)


def watch(pid: int, pipe: int, plan: Plan | None, undisturbed: Undisturbed, progress: Progress) -> Ended:
    """Waits for the end of a process, sends it the signal of the plan, and kills it if it hangs."""
    started = time.perf_counter()
    output: list[bytes] = []
    os.set_blocking(pipe, False)
    due = kill_time(plan, undisturbed, started, progress)
    last = started + LONGEST
    hung = False
    while True:
        read_into(output, pipe)
        ended, status = os.waitpid(pid, os.WNOHANG)
        now = time.perf_counter()
        if ended:
            break
        if due is None:
            due = kill_time(plan, undisturbed, started, progress)
        if due is not None and now >= due:
            assert plan is not None
            assert plan.signal is not None
            os.kill(pid, plan.signal)
            due = float("inf")
            last = now + GRACE
        if now > last:
            hung = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(POLL)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what it had started
    read_into(output, pipe)
    os.close(pipe)
    text = b"".join(output).decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(status), now - started, text, progress.has_started, progress.reached, hung)


def kill_time(plan: Plan | None, undisturbed: Undisturbed, started: float, progress: Progress) -> float | None:
    """When to send the signal of a plan; None as long as it is not known."""
    if plan is None or plan.signal is None:
        return None
    if plan.moment == "any time":
        return started + plan.share * undisturbed.seconds
    if progress.has_started:
        return time.perf_counter() + plan.share * (undisturbed.seconds - undisturbed.first_step)
    return None


def read_into(output: list[bytes], pipe: int) -> None:
    """Reads what is in a pipe."""
    with suppress(BlockingIOError):
        while part := os.read(pipe, 65536):
            output.append(part)


def prepare() -> None:
    """Keeps killed processes from writing their memory to the disk; SIGTERM ends this one as Ctrl-C does, cleanly."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
