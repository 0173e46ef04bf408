"""One run of a grid: its lock, whether it is complete, and the command that starts or resumes it.

Each job imports this module in a process of its own, so it imports nothing that takes long.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPORT = ("predictions.parquet", "metrics.json", "report.txt")
"""Files of every report, in the order in which they are written."""


@dataclass(frozen=True)
class GridRun:
    """A run of a grid.

    Attributes:
        folder: The run folder.
        arguments: The command, then its options, without the run folder.
        environment: Variables that are set for the run; None removes one.
    """

    folder: Path
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str | None], ...] = ()

    @property
    def name(self) -> str:
        """The last two parts of the folder: data set and method, then seed and fold."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def log(self) -> Path:
        """The file with the output of the run, away from the run folders, so that a glob of these does not match it."""
        return self.folder.parents[1] / "logs" / f"{self.folder.parent.name}-{self.folder.name}.log"

    @property
    def is_complete(self) -> bool:
        """Whether the test of the run is over, and its report written."""
        report = self.folder / "report"
        if not all((report / name).is_file() for name in REPORT):
            return False
        facts = report / "run.json"  # written at the end of `fit`, and again after the test
        return not facts.is_file() or json.loads(facts.read_text(encoding="utf-8")).get("ended") is not None

    @property
    def can_resume(self) -> bool:
        """Whether an earlier `fit` has left a checkpoint to go on from."""
        return self.arguments[0] == "fit" and (self.folder / "checkpoints" / "last.ckpt").is_file()

    def command(self) -> list[str]:
        """The words that start the run, or resume it."""
        words = [*self.arguments, "--run_dir", str(self.folder)]
        return [*words, "--ckpt_path", "last"] if self.can_resume else words


def lock_path(folder: Path) -> Path:
    """The file that is locked while a run in `folder` is going on; it stays there."""
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[int]:
    """Holds the lock of a run folder.

    Args:
        folder: The run folder, which need not exist; the folder above it does.
        wait: Whether to wait while another process holds the lock.

    Yields:
        The descriptor of the lock; the lock is held until all processes that have inherited it have ended.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    with lock_path(folder).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file.fileno()


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of a run folder."""
    try:
        with locked(folder, wait=False):
            return False
    except BlockingIOError:
        return True


def execute(run: GridRun) -> None:
    """Starts or resumes a run as a process of its own, and waits for its end; does nothing if the run is complete.

    The process inherits the lock: if this process is killed, the run goes on, and no other process starts it again.

    Args:
        run: The run. Its output is appended to its log.
    """
    with locked(run.folder, wait=True) as lock:
        if run.is_complete:
            return
        os.truncate(lock, 0)
        os.write(lock, f"{socket.gethostname()} {os.getpid()}\n".encode())  # for a reader; also the time of the start
        if run.folder.exists() and not run.can_resume:
            shutil.rmtree(run.folder)
        environment = dict(os.environ)
        for name, value in run.environment:
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        run.log.parent.mkdir(exist_ok=True)
        with run.log.open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "textclf", *run.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[lock],
                check=False,  # the master looks at what the run has written
            )
