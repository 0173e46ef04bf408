"""The run folder: its name, the claim of one run to it, its checkpoints, and its `config.yaml`."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]  # there is no other way to say that a module may be missing

from textclf.console import say
from textclf.data.text_values import mended
from textclf.errors import UserError, printable
from textclf.files import atomic_path
from textclf.run.logger_media import record_config
from textclf.run.yaml_values import dump, is_inline

ROOT = Path("runs")
DRIVE = re.compile("[A-Za-z]:")
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}
"""Names of devices on Windows, with any suffix."""
RECORDS = ("wandb", "tensorboard")
"""Folders in a run folder that loggers make before any row is read."""

LOCK_SECONDS = 10.0
"""How long a run waits for another one in its folder: the workers of a run that was killed end a little later."""


def is_first_process() -> bool:
    """Whether this is the first of the processes that a launcher such as torchrun started, or the only one."""
    # Lightning's launcher sets the first variable, torchrun the second.
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    # Lightning reads the rank from the launcher's variables, and leaves the attribute out where there are none.
    rank = getattr(rank_zero_only, "rank", 0)
    return node == "0" and rank == 0


def run_name(configs: list[str], checkpoint: Path | None = None) -> str:
    """The default name of a run.

    Args:
        configs: The configuration files, whose stems are joined by `-`. A configuration in braces has no stem.
        checkpoint: Where there are no such files, the run of this checkpoint gives the name: `nsmc` for
            `runs/nsmc/0/checkpoints/best.ckpt`, and `mine` for `mine/checkpoints/best.ckpt`.
    """
    stems = [Path(config).stem for config in configs if not is_inline(config)]
    name = "-".join(stems)
    if not stems and checkpoint is not None:
        folders = [folder.name for folder in checkpoint.resolve().parents if folder.name != "checkpoints"]
        name = folders[0]
        if name.isdecimal() and len(folders) > 1:  # the version of a run
            name = folders[1]
    return name or "run"


def run_group(config: dict[str, Any]) -> str:
    """Names the data set and the method, which several runs share.

    A data set is named by its class, or by its folder where it is the user's own files.
    """
    data = config["data"]["class_path"].rpartition(".")[2]
    method = config["model"]["class_path"].rpartition(".")[2]
    if data == "FilesDataModule":
        data = Path(config["data"]["init_args"]["data_dir"]).resolve().name
    return f"{data.removesuffix('DataModule')} {method}"


class FolderLock:
    """The lock of a run folder, so that no two runs write to it at the same time.

    The folder itself is locked, without a further file. The lock ends with the process.
    """

    def __init__(self, folder: Path) -> None:
        """Locks a folder.

        Args:
            folder: It exists.

        Raises:
            UserError: Another run holds the lock for more than `LOCK_SECONDS`.
        """
        self._descriptor: int | None = None
        if fcntl is None:
            return
        self._descriptor = os.open(folder, os.O_RDONLY)
        deadline = time.monotonic() + LOCK_SECONDS
        while not self._is_taken():
            if time.monotonic() > deadline:
                self.release()
                raise UserError(f"another run is going on in {str(folder)!r}: wait for its end, or name another folder")
            time.sleep(0.1)

    def _is_taken(self) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        return True

    def release(self) -> None:
        """Ends the lock; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        path: The folder.
        made: The folders that were made for it, the outermost first; none on other processes than the first.
        lock: Its lock; None on other processes than the first.
    """

    path: Path
    made: tuple[Path, ...] = ()
    lock: FolderLock | None = None

    def release(self) -> None:
        """Lets other runs use the folder."""
        if self.lock is not None:
            self.lock.release()

    def remove_if_empty(self) -> None:
        """Removes the folders that were made for a run that failed before it wrote a file.

        Records of loggers do not count as files of the run. A folder that existed before is kept.
        """
        if not self.made or not self.path.is_dir():
            return
        records = [self.path / name for name in RECORDS]
        for path in self.path.rglob("*"):
            is_file = not path.is_dir() or path.is_symlink()
            if is_file and not set(records) & set(path.parents):
                return
        shutil.rmtree(self.path, ignore_errors=True)
        for folder in reversed(self.made):
            with suppress(OSError):  # another run is in it
                folder.rmdir()


def claim_run_folder(name: str, run_dir: str | None, resumed: Path | None) -> RunFolder:
    """Makes the folder of a run; only the first process does, and broadcasts its path later.

    Args:
        name: Of the run; its versions are `runs/<name>/0`, `1`, ...
        run_dir: The folder to use instead.
        resumed: The checkpoint that training resumes from; its own folder may be claimed again.

    Raises:
        UserError: `run_dir` holds another run, or one is going on in it, or its name is not UTF-8.
    """
    if run_dir is None:
        _check_name(name)
        if is_first_process():
            return _next_version(ROOT / name)
        return RunFolder(ROOT / name)
    folder = Path(run_dir)
    if mended(run_dir) != run_dir:
        raise UserError(f"run_dir {run_dir!r} is not UTF-8, which Parquet files must be named in: name another")
    if not is_first_process():
        return RunFolder(folder)
    with _errors_name(f"run_dir {str(folder)!r} cannot be made", "name another"):
        made = _missing(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
        try:
            if resumed is None or folder.resolve() not in resumed.resolve().parents:
                _refuse_used(folder)
            with TemporaryFile(dir=folder):  # fails in an existing folder that this user may not write to
                pass
        except BaseException:
            lock.release()
            raise
    return RunFolder(folder, made, lock)


def _refuse_used(folder: Path) -> None:
    if (folder / "config.yaml").exists() or (folder / "checkpoints").exists():
        raise UserError(
            f"run_dir {str(folder)!r} holds a run already: name another folder, or resume it with "
            f"`fit --config {folder}/config.yaml --run_dir {folder} --ckpt_path last`"
        )


def _check_name(name: str) -> None:
    """Refuses a name of a run that leads out of the folder of all runs, or that some systems do not have.

    Raises:
        UserError: It does.
    """
    parts = name.split("/")  # of an absolute path, the first one is empty
    leads_out = "\\" in name or DRIVE.match(name) or any(not part.strip(". ") for part in parts)
    if leads_out:
        reason = "leads out of the folder of all runs"
    elif printable(name) != name:
        reason = "has a control character"
    elif any(part.split(".")[0].strip().upper() in RESERVED for part in parts):
        reason = "is a device on some systems"
    else:
        return
    raise UserError(f"run_name {name!r} {reason}: pass --run_name with letters, digits, '-' and '_'")


def _next_version(parent: Path) -> RunFolder:
    """Makes the first folder `parent/0`, `parent/1`, ... that does not exist yet.

    Raises:
        UserError: It cannot be made.
    """
    version = 0
    with _errors_name(f"the run folder {str(parent)!r} cannot be made in {str(Path.cwd())!r}", "pass --run_dir"):
        made = _missing(parent)
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            folder = parent / str(version)
            with suppress(FileExistsError):  # another process may be faster
                folder.mkdir(parents=True)  # one that fails may have removed the empty folder above
                return RunFolder(folder, (*made, folder), FolderLock(folder))
            version += 1


@contextmanager
def _errors_name(what: str, remedy: str) -> Iterator[None]:
    """Turns an error of the file system into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} ({error.strerror}): {remedy}") from error


def _missing(folder: Path) -> tuple[Path, ...]:
    """The folder and its parents, as far as they do not exist; the outermost first."""
    outermost_first = reversed([folder, *folder.parents])
    return tuple(path for path in outermost_first if not path.exists())


def find_checkpoint(given: str, run_dir: str | None, configs: list[str]) -> Path:
    """Finds the checkpoint that `--ckpt_path` means.

    Args:
        given: A path; or `best` or `last` of the run in `run_dir`, or of the run whose `config.yaml` is given.
        run_dir: As on the command line.
        configs: The configuration files.

    Raises:
        UserError: There is none.
    """
    if given not in ("best", "last"):
        return Path(given)
    folders: list[Path] = []
    if run_dir:
        folders.append(Path(run_dir))
    folders += [Path(config).parent for config in configs if not is_inline(config)]
    for folder in folders:
        if (path := folder / "checkpoints" / f"{given}.ckpt").is_file():
            return path
    searched = ", ".join(map(str, folders)) or "any folder named"
    raise UserError(
        f"--ckpt_path {given}: no checkpoints/{given}.ckpt in {searched}: "
        "give the path of the file, or --run_dir or --config of its run"
    )


def parameter_counts(model: LightningModule) -> dict[str, int]:
    """The number of parameters: `total`, and those that are `trainable`."""
    counts = {"total": 0, "trainable": 0}
    for parameter in model.parameters():
        counts["total"] += parameter.numel()
        if parameter.requires_grad:
            counts["trainable"] += parameter.numel()
    return counts


class ConfigWriter(Callback):
    """Writes the whole configuration to `config.yaml` and to the loggers, once data and model are built."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Stores the configuration.

        Args:
            config: Plain values only.
        """
        self.config = config
        self._written = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the configuration before training, and prints the number of parameters."""
        self.on_validation_start(trainer, pl_module)
        parameters = parameter_counts(pl_module)
        if parameters["total"]:
            say(f"{parameters['total']:,} parameters, {parameters['trainable']:,} of them are trained")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the configuration where there was no training."""
        if self._written or not trainer.is_global_zero:
            return
        self._written = True
        with atomic_path(Path(trainer.default_root_dir, "config.yaml")) as path:
            path.write_text(dump(self.config), encoding="utf-8")
        for logger in trainer.loggers:
            record_config(logger, self.config, parameter_counts(pl_module))

    on_test_start = on_validation_start
