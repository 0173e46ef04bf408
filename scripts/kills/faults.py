"""Faults, and the moments at which they meet a command: planned by the parent, met in the child."""

from __future__ import annotations

import mmap
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FaultName = Literal["SIGKILL", "SIGTERM", "full disk", "no memory"]
Moment = Literal["any time", "after the first step", "inside a write"]
FirstStep = Literal["optimizer step", "forward pass", "request"]
MIXED: tuple[tuple[FaultName, Moment], ...] = (
    ("SIGKILL", "inside a write"),
    ("SIGKILL", "after the first step"),
    ("SIGKILL", "inside a write"),
    ("SIGTERM", "after the first step"),
    ("full disk", "inside a write"),
    ("SIGKILL", "after the first step"),
    ("SIGKILL", "inside a write"),
    ("SIGKILL", "any time"),
    ("no memory", "any time"),
    ("SIGTERM", "any time"),
)
"""Faults and moments in the order in which a kind of command meets them, over and over."""
PAGE = 4096


@dataclass(frozen=True)
class Write:
    """A file that is opened to be written, or renamed.

    Attributes:
        name: Its path, from the folder of the trial on.
        size: Bytes that it has in the end; 0 for a renaming.
        is_rename: Whether it is renamed.
    """

    name: str
    size: int
    is_rename: bool


@dataclass
class Undisturbed:
    """What a run without a fault took.

    Attributes:
        seconds: From its start to its end.
        first_step: Seconds from its start to its first step.
        writes: In their order.
        disk: Bytes that it had on disk in the end.
        memory: Bytes of address space that it took beyond those of the process that was forked.
    """

    seconds: float = 0.0
    first_step: float = 0.0
    writes: list[Write] = field(default_factory=list)
    disk: int = 0
    memory: int = 0


@dataclass(frozen=True)
class Plan:
    """The fault of one trial.

    Attributes:
        fault: What happens.
        moment: When it happens.
        share: From 0 to 1: how much of the time, of the file, of the disk or of the memory is left to the run.
        write: For SIGKILL inside a write: index of the write in `Undisturbed.writes`.
    """

    fault: FaultName
    moment: Moment
    share: float
    write: int | None = None

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that the parent sends; None if the child meets the fault by itself."""
        if self.moment == "inside a write" or self.fault not in ("SIGKILL", "SIGTERM"):
            return None
        return signal.Signals[self.fault]


def draw_plan(fault: FaultName, moment: Moment, undisturbed: Undisturbed, draw: random.Random) -> Plan:
    """Draws a moment at random: a time, a byte of a file, or how much room the disk or the memory has."""
    share = draw.random()
    if moment == "inside a write" and fault == "SIGKILL":
        candidates = [i for i, write in enumerate(undisturbed.writes) if write.size or write.is_rename]
        return Plan(fault, moment, share, draw.choice(candidates))
    return Plan(fault, moment, share)


def small_disk(plan: Plan, undisturbed: Undisturbed) -> int:
    """The bytes of a disk that has too few for the whole run."""
    return max(8 * PAGE, int(plan.share * undisturbed.disk) // PAGE * PAGE)


class Progress:
    """What a child has reached, in memory that it shares with its parent: a kill does not lose it."""

    def __init__(self) -> None:
        """Maps the memory; to be called before the child is forked."""
        self.memory = mmap.mmap(-1, PAGE)

    def reset(self) -> None:
        """Forgets an earlier child."""
        self.memory[:] = bytes(PAGE)

    def start(self, *_: Any) -> None:
        """Notes the first step."""
        self.memory[0] = 1

    @property
    def has_started(self) -> bool:
        """Whether the first step was made."""
        return self.memory[0] == 1

    def reach(self, write: str) -> None:
        """Notes a write that is to be cut off."""
        name = write.encode(errors="replace")[: PAGE - 2]
        self.memory[1 : len(name) + 2] = name + b"\0"

    @property
    def reached(self) -> str:
        """The write that was to be cut off; empty if none was reached."""
        return self.memory[1:].partition(b"\0")[0].decode(errors="replace")


class Witness:
    """Sees what the child writes, and cuts one write off.

    A hook for audit events sees files that Python opens or renames, temporary files of other libraries included, and
    databases of SQLite. From the chosen one on, no file may grow beyond a number of bytes: the kernel kills the process
    at that byte, whichever library writes it.

    Args:
        folder: Of the trial; other files do not count.
        progress: Shared with the parent.
        plan: The fault; None to let the run be.
        writes: Those of an undisturbed run.
    """

    def __init__(self, folder: Path, progress: Progress, plan: Plan | None, writes: Sequence[Write]) -> None:  # noqa: D107
        self.folder = f"{folder}/"
        self.progress = progress
        self.plan = plan
        self.writes = writes
        self.paths: list[tuple[str, bool]] = []
        self.sizes: dict[str, int] = {}

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Takes an audit event of Python."""
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR) and not flags & os.O_DIRECTORY:
                self._see(path, is_rename=False)
        elif event == "sqlite3.connect":
            self._see(arguments[0], is_rename=False)
        elif event == "os.rename":
            self._see(arguments[0], is_rename=True)

    def _see(self, path: Any, is_rename: bool) -> None:
        if not isinstance(path, str | bytes | os.PathLike):  # a descriptor
            return
        name = os.fsdecode(path)
        if not name.startswith(self.folder):
            return
        if is_rename:
            self.sizes[name] = os.stat(name).st_size
        self.paths.append((name, is_rename))
        if self.plan is not None and self.plan.write == len(self.paths) - 1:
            self._cut_off(name, is_rename)

    def _cut_off(self, name: str, is_rename: bool) -> None:
        assert self.plan is not None
        assert self.plan.write is not None
        self.progress.reach(name.removeprefix(self.folder))
        if is_rename:
            os.kill(os.getpid(), signal.SIGKILL)
        limit = int(self.plan.share * self.writes[self.plan.write].size)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def seen(self) -> list[Write]:
        """The writes so far, with the sizes of the files."""
        found = []
        for name, is_rename in self.paths:
            size = self.sizes.get(name)
            if size is None:
                size = os.stat(name).st_size if os.path.isfile(name) else 0
            found.append(Write(name.removeprefix(self.folder), 0 if is_rename else size, is_rename))
        return found


def notice_first_step(kind: FirstStep, start: Callable[..., None]) -> None:
    """Calls `start` at the first step of a command, and at the following ones.

    Args:
        kind: What counts as a step.
        start: Takes any arguments.
    """
    if kind == "optimizer step":
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(start)
    elif kind == "forward pass":
        from torch.nn.modules.module import register_module_forward_hook

        register_module_forward_hook(start)
    else:

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "socket.connect":
                start()

        sys.addaudithook(hook)


def limit_memory(share: float, needed: int) -> None:
    """Leaves the process a share of the address space that the run needs.

    Args:
        share: From 0 to 1.
        needed: Bytes that an undisturbed run takes beyond those of the process now.
    """
    limit = address_space("VmSize") + int(share * needed)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def address_space(entry: str) -> int:
    """The address space of this process in bytes: `VmSize` now, `VmPeak` at most so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(entry):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {entry}")
