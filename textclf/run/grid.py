"""Many runs, each once, several at the same time, as jobs of `submitit`."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.hardware.device import usable_cores
from textclf.run.grid_job import GridRun, execute, is_locked, lock_path, locked
from textclf.run.grid_plan import Cell

LONGEST_MINUTES = 60 * 24 * 365
SLURM_MINUTES = 60 * 24
"""Time limit of a SLURM job, unless `time` is given."""
POLL_SECONDS = 0.5


# The folder


def claim(root: Path, cells: Sequence[Cell]) -> None:
    """Stores the configuration of each cell: complete runs of another configuration are never reused.

    Runs of another configuration that were cut off are removed.

    Raises:
        UserError: The folder cannot be written, or holds complete runs of another configuration, or such runs are
            going on.
    """
    if root.exists() and not root.is_dir():
        raise UserError(f"{str(root)!r} is a file: name a folder")
    for cell in cells:
        try:
            cell.folder.mkdir(parents=True, exist_ok=True)
            with locked(cell.folder / "config", wait=True):
                _claim_cell(cell)
        except OSError as error:
            what = f"{str(cell.folder)!r} cannot be written ({error.strerror})"
            raise UserError(f"{what}: name another folder") from error


def _claim_cell(cell: Cell) -> None:
    path = cell.folder / "config.json"
    own = json.loads(json.dumps({"command": cell.command, "config": cell.config}, default=str))
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        difference = _difference(known, own)
        if difference is None:
            return
        runs = [each for each in cell.folder.glob("seed-*") if each.is_dir()]
        if any((run / "report" / "metrics.json").is_file() or is_locked(run) for run in runs):
            raise UserError(f"{str(cell.folder)!r} holds runs with {difference}: name another folder, or remove it")
        for run in runs:
            shutil.rmtree(run)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(own, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _difference(known: Any, own: Any) -> str | None:
    """The first difference of two configurations, in words; None where there is none.

    A value of null and an option that an earlier version did not have are the same.
    """
    before, now = dict(_flat(known, "")), dict(_flat(own, ""))
    for key in before | now:
        if before.get(key) != now.get(key):
            stored, given = (json.dumps(values.get(key), ensure_ascii=False) for values in (before, now))
            return f"{key} {stored}, not {given}"
    return None


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, entry in value.items():
            inner = key if name in ("init_args", "config") else f"{key}.{name}".lstrip(".")
            yield from _flat(entry, inner)
    else:
        yield key, value


# Jobs


def make_executor(launcher: str, folder: Path, slurm: Mapping[str, Any]) -> Any:
    """Makes what starts jobs.

    Args:
        launcher: `local` or `slurm`.
        folder: Where submitit writes its files.
        slurm: Options of `sbatch`, such as `partition`.

    Raises:
        UserError: There is no SLURM on this machine.
    """
    import submitit

    if launcher == "local":
        local = submitit.LocalExecutor(folder)
        local.update_parameters(timeout_min=LONGEST_MINUTES, stderr_to_stdout=True)
        return local
    try:
        executor = submitit.SlurmExecutor(folder)
    except RuntimeError as error:
        raise UserError(f"--launcher slurm: {error}: run this on a machine that submits SLURM jobs") from error
    known = submitit.SlurmExecutor._valid_parameters()
    own = {name: value for name, value in slurm.items() if name in known}
    more = {name: value for name, value in slurm.items() if name not in known}
    executor.update_parameters(**{"time": SLURM_MINUTES, "stderr_to_stdout": True, "additional_parameters": more} | own)
    return executor


def local_environment(jobs: int) -> dict[str, str | None]:
    """The variables of local runs: the GPUs of this process, and its cores divided among runs at the same time.

    Args:
        jobs: The number of runs at the same time.
    """
    environment: dict[str, str | None] = {}
    environment["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES")  # submitit hides GPUs
    if jobs > 1 and "OMP_NUM_THREADS" not in os.environ:
        environment["OMP_NUM_THREADS"] = str(max(1, usable_cores() // jobs))
    return environment


@dataclass
class Outcome:
    """What became of the runs.

    Attributes:
        complete: Runs with a report.
        failed: Failed runs, and why.
    """

    complete: list[GridRun]
    failed: list[tuple[GridRun, str]]


class Queue:
    """Runs that are started one after another, several at the same time; prints a line for each."""

    def __init__(self, runs: Sequence[GridRun], executor: Any, jobs: int) -> None:
        """Stores what is to be done.

        Args:
            runs: In the order in which they are started.
            executor: Of submitit.
            jobs: The number of runs at the same time.
        """
        self.executor = executor
        self.jobs = jobs
        self.total = len(runs)
        self.waiting = deque(runs)
        self.active: dict[GridRun, Any] = {}
        self.outcome = Outcome([], [])
        self._elsewhere: set[Path] = set()

    def work(self) -> Outcome:
        """Does all runs; Ctrl-C stops those that were started here."""
        try:
            while self.waiting or self.active:
                self._collect()
                self._start()
                if self.waiting or self.active:
                    time.sleep(POLL_SECONDS)
        except BaseException:
            for job in self.active.values():
                with suppress(Exception):  # it may have ended
                    job.cancel()
            raise
        return self.outcome

    def _start(self) -> None:
        """Starts runs while there is room; one that another process works on is looked at again later."""
        for _ in range(len(self.waiting)):
            run = self.waiting.popleft()
            if is_locked(run.folder):
                if run.folder not in self._elsewhere:
                    self._elsewhere.add(run.folder)
                    self._say(run, "another process works on it")
                self.waiting.append(run)
            elif run.is_complete:
                how = "done by another process" if run.folder in self._elsewhere else "skipped, done before"
                self._end(run, f"{how}, accuracy {accuracy_of(run)}")
            elif len(self.active) < self.jobs:
                how = "resumed" if run.can_resume else "started"
                self._say(run, f"{how}, log {run.log}")
                self.active[run] = self._submit(run)
            else:
                self.waiting.append(run)

    def _submit(self, run: GridRun) -> Any:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            return self.executor.submit(execute, run)
        except (FailedJobError, FailedSubmissionError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"SLURM does not accept the job of {run.name} ({reason}): change --slurm") from error

    def _collect(self) -> None:
        for run, job in list(self.active.items()):
            if not job.done():
                continue
            del self.active[run]
            if run.is_complete:
                minutes = (time.time() - lock_path(run.folder).stat().st_mtime) / 60
                self._end(run, f"done, accuracy {accuracy_of(run)}, {minutes:.1f} min")
            elif is_locked(run.folder):  # the process that waited for it was killed
                self.waiting.append(run)
            else:
                reason = last_line(run, job)
                self.outcome.failed.append((run, reason))
                self._say(run, f"failed: {reason}")

    def _end(self, run: GridRun, what: str) -> None:
        self.outcome.complete.append(run)
        self._say(run, what)

    def _say(self, run: GridRun, what: str) -> None:
        ended = len(self.outcome.complete) + len(self.outcome.failed)
        print(f"[{ended}/{self.total}] {run.name}: {what}", flush=True)


def accuracy_of(run: GridRun) -> str:
    """The accuracy on the test rows, for a line."""
    metrics = json.loads((run.folder / "report" / "metrics.json").read_text(encoding="utf-8"))
    return f"{metrics['test/accuracy']:.4f}"


def last_line(run: GridRun, job: Any) -> str:
    """Why a run failed: the last line of its log; where the run was not started, that of its job."""
    for path in (run.log, Path(job.paths.stdout)):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1].removeprefix("textclf: error: ")
    return f"the job ended without output (state {job.state})"


def run_grid(
    root: Path,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    *,
    folds: int | None = None,
    jobs: int = 1,
    launcher: str = "local",
    slurm: Mapping[str, Any] | None = None,
) -> Outcome:
    """Does each run once: complete ones are skipped, those that were cut off are resumed.

    Several processes may work on one folder at the same time; each run is done by one of them.

    Args:
        root: The folder of all runs.
        cells: From `plan`.
        seeds: The seeds of each method that depends on one.
        folds: The number of folds; None for the test split of the data.
        jobs: The number of runs at the same time.
        launcher: `local`, or `slurm`.
        slurm: Options of `sbatch`.

    Returns:
        The complete runs in the order of `cells`, and those that failed.

    Raises:
        UserError: A number is too small, or runs cannot be started.
    """
    claim(root, cells)
    session = root / ".submitit" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    executor = make_executor(launcher, session, slurm or {})
    environment: dict[str, str | None] = {"SLURM_NTASKS": None}  # Lightning starts the processes of a run itself
    if launcher == "local":
        environment = local_environment(jobs)
    runs = []
    for cell in cells:
        for run in cell.runs(seeds, folds):
            runs.append(GridRun(run.folder, run.arguments, tuple(environment.items())))
    outcome = Queue(runs, executor, jobs).work()
    if not outcome.failed:
        shutil.rmtree(session, ignore_errors=True)
        with suppress(OSError):  # those of other sessions are there
            session.parent.rmdir()
    done = {run.folder for run in outcome.complete}
    return Outcome([run for run in runs if run.folder in done], outcome.failed)


def comparable(outcome: Outcome) -> list[GridRun]:
    """The complete runs, without those whose other folds failed."""
    halves = {_without_fold(run) for run, _ in outcome.failed}
    return [run for run in outcome.complete if _without_fold(run) not in halves]


def _without_fold(run: GridRun) -> Path:
    """The folder of a run without the number of its fold; runs that are no folds have folders of their own."""
    return run.folder.with_name(run.folder.name.partition("-fold-")[0])
