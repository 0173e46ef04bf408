"""Many runs: data sets x methods x seeds x folds, each once, several at the same time, as jobs of `submitit`."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.hardware.device import usable_cores
from textclf.run.grid_job import GridRun, execute, is_locked, lock_path, locked

LONGEST_MINUTES = 60 * 24 * 365
SLURM_MINUTES = 60 * 24
"""Time limit of a SLURM job, unless `time` is given."""
POLL_SECONDS = 0.5
EXAMPLES = {"--data": "configs/rotten_tomatoes.yaml", "--methods": "configs/model/tfidf.yaml"}
OWN_OPTIONS = {
    "--seed_everything": "give --seeds instead",
    "--data.folds": "give --folds instead",
    "--data.fold": "--folds tests each of them",
    "--run_dir": "the first argument is the folder of all runs",
    "--run_name": "the first argument is the folder of all runs",
    "--ckpt_path": "runs that were cut off are resumed without it",
}
"""Options that differ from run to run, and what to do instead of giving them."""
Config = dict[str, Any]
Merge = Callable[[Sequence[str]], Config]


@dataclass(frozen=True)
class Cell:
    """A data set with a method: runs that differ in seed and fold alone.

    Attributes:
        folder: The folder of these runs.
        command: `fit`, or `test` for a method that is not trained.
        arguments: Options of each of the runs.
        config: The merged configuration, without seed and fold.
        varied: The options that get the seed; none where the seed has no effect.
    """

    folder: Path
    command: str
    arguments: tuple[str, ...]
    config: Config
    varied: tuple[str, ...]

    def runs(self, seeds: Sequence[int], folds: int | None) -> list[GridRun]:
        """The runs: for each seed, all folds.

        Args:
            seeds: Seeds; only the first is used where the seed has no effect.
            folds: The number of folds; None for the test split of the data.
        """
        found = []
        for seed in seeds if self.varied else seeds[:1]:
            words = [self.command, *self.arguments]
            for option in self.varied or ("--seed_everything",):
                words += [option, str(seed)]
            if folds is None:
                found.append(GridRun(self.folder / f"seed-{seed}", tuple(words)))
            for fold in range(folds or 0):
                folder = self.folder / f"seed-{seed}-fold-{fold}"
                found.append(GridRun(folder, (*words, "--data.fold", str(fold))))
        return found


# Which runs there are


def plan(
    root: Path,
    data: Sequence[str],
    methods: Sequence[str],
    arguments: Sequence[str],
    folds: int | None,
    merge: Merge,
) -> list[Cell]:
    """Finds out how each data set is run with each method, before anything is started.

    Args:
        root: The folder of all runs.
        data: Configurations of data sets; several files of one, joined by `+`.
        methods: Configurations of methods, likewise.
        arguments: Further options of every run.
        folds: The number of folds; None for the test split of the data.
        merge: Gives the merged configuration of a command line, and raises an error where an option is wrong.

    Raises:
        UserError: A file does not exist, an option is wrong, or two configurations have the same name.
    """
    if not data or not methods:
        missing = "--methods" if data else "--data"
        raise UserError(f"{missing} is missing: give at least one configuration, such as {EXAMPLES[missing]}")
    files_of = {given: _files(given) for given in (*data, *methods)}
    cells: dict[Path, Cell] = {}
    for one in data:
        for other in methods:
            folder = root / f"{_name(files_of[one])}-{_name(files_of[other])}"
            if folder in cells:
                raise UserError(
                    f"two combinations have the name {folder.name}: give the configurations different file names"
                )
            configs = [word for file in (*files_of[one], *files_of[other]) for word in ("--config", file)]
            cells[folder] = _cell(folder, (*configs, *arguments), folds, merge)
    return list(cells.values())


def _files(given: str) -> list[str]:
    """The files of a configuration; a file name may contain a plus sign itself."""
    files = [given] if Path(given).is_file() else given.split("+")
    for file in files:
        if not Path(file).is_file():
            example = EXAMPLES["--methods"]
            raise UserError(f"the configuration {file!r} does not exist: give the path of a file, such as {example}")
    return files


def _name(files: Sequence[str]) -> str:
    return "-".join(dict.fromkeys(Path(file).stem for file in files))


def _cell(folder: Path, arguments: tuple[str, ...], folds: int | None, merge: Merge) -> Cell:
    first_fold: tuple[str, ...] = ()
    _refuse_own_options(arguments)
    if folds is not None:
        arguments = (*arguments, "--data.folds", str(folds))
        first_fold = ("--data.fold", "0")
    try:
        config = merge(["fit", *arguments, *first_fold])
        command = "fit" if _is_trained(config) else "test"
        if command == "test":
            config = merge(["test", *arguments, *first_fold])
        varied = _varied(config, command)
        for option in varied:
            _refuse_option(arguments, option, "it is one of --seeds: leave it out")
    except UserError as error:
        raise UserError(f"{folder.name}: {error}") from error
    for name in ("seed_everything", "run_name", "run_dir", "ckpt_path"):
        config.pop(name, None)
    config["data"]["init_args"].pop("fold", None)
    return Cell(folder, command, arguments, config, varied)


def _refuse_own_options(arguments: Sequence[str]) -> None:
    """Refuses options that each run gets by itself: they would be overwritten.

    Raises:
        UserError: One of them is given.
    """
    for option, remedy in OWN_OPTIONS.items():
        _refuse_option(arguments, option, remedy)


def _refuse_option(arguments: Sequence[str], option: str, remedy: str) -> None:
    if any(word.partition("=")[0] == option for word in arguments):
        raise UserError(f"{option} cannot be the same for all runs: {remedy}")


def _class_of(config: Config) -> Any:
    module, _, name = config["class_path"].rpartition(".")
    return getattr(import_module(module), name)


def _is_trained(config: Config) -> bool:
    """Whether the method of a configuration is trained; if it is not, it is tested as it is."""
    return is_overridden("training_step", _class_of(config["model"]), LightningModule)


def _varied(config: Config, command: str) -> tuple[str, ...]:
    """The options that get the seed of a run; none where it would have no effect.

    Raises:
        UserError: There are no rows to test on.
    """
    data_arguments = config["data"]["init_args"]
    given = {name: value for name, value in data_arguments.items() if name != "cleaning"}
    data = _class_of(config["data"])(**given)
    if not data.has_split("test"):
        raise UserError(
            "runs are compared on test rows, and the data has no test split: pass --folds 5 to test on train rows"
        )
    model_arguments = config["model"].get("init_args", {})
    if command == "test" and not model_arguments.get("shots"):
        return ()
    varied = ["--seed_everything"]
    # Of a test split alone, some rows are reserved for training, by the seed of the data: other rows would be tested.
    if "seed" in data_arguments and data.used_splits() != ("test",):
        varied.append("--data.seed")
    if command == "test" and "shot_seed" in model_arguments:
        varied.append("--model.shot_seed")
    return tuple(varied)


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
    done = {run.folder for run in outcome.complete}
    return Outcome([run for run in runs if run.folder in done], outcome.failed)


def comparable(outcome: Outcome) -> list[GridRun]:
    """The complete runs, without those whose other folds failed."""
    halves = {_without_fold(run) for run, _ in outcome.failed}
    return [run for run in outcome.complete if _without_fold(run) not in halves]


def _without_fold(run: GridRun) -> Path:
    """The folder of a run without the number of its fold; runs that are no folds have folders of their own."""
    return run.folder.with_name(run.folder.name.partition("-fold-")[0])
