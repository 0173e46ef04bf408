"""The run folder: its name, who may use it, and its `config.yaml`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from textclf.console import say
from textclf.data.text_values import mended
from textclf.errors import UserError
from textclf.files import atomic_path
from textclf.run.logger_media import record_config
from textclf.run.yaml_values import dump, is_inline

ROOT = Path("runs")
RECORDS = ("wandb", "tensorboard")
"""What loggers begin in a run folder before anything was read or trained."""


def is_first_process() -> bool:
    """Whether this is the first of the processes that a launcher such as torchrun started, or the only one."""
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))  # of Lightning's launcher and torchrun
    return node == "0" and bool(getattr(rank_zero_only, "rank", 0) == 0)  # from the launcher's environment variables


def run_name(configs: list[str], checkpoint: Path | None = None) -> str:
    """A run's name.

    Args:
        configs: The configuration files. The name is their stems, joined by `-`; one that is written out as JSON has
            none.
        checkpoint: Where there are no such files, the run of this checkpoint gives the name: `nsmc` for
            `runs/nsmc/0/checkpoints/best.ckpt`, and `mine` for `mine/checkpoints/best.ckpt`.
    """
    stems = [Path(config).stem for config in configs if not is_inline(config)]
    if stems or checkpoint is None:
        return "-".join(stems) or "run"
    folders = [folder.name for folder in checkpoint.resolve().parents if folder.name != "checkpoints"]
    is_version = folders[0].isdecimal() and len(folders) > 1
    return (folders[1] if is_version else folders[0]) or "run"


def run_group(config: dict[str, Any]) -> str:
    """Names the data set and the method, which many runs share: by their classes, or the folder of a person's own."""
    data, method = (config[axis]["class_path"].rpartition(".")[2] for axis in ("data", "model"))
    if data == "FilesDataModule":
        data = Path(config["data"]["init_args"]["data_dir"]).resolve().name
    return f"{data.removesuffix('DataModule')} {method}"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        path: The folder.
        made: The folders that were made for it, the outermost first; none on other processes than the first.
    """

    path: Path
    made: tuple[Path, ...] = ()

    def remove_if_empty(self) -> None:
        """Removes what was made for a run that has left nothing worth keeping: a failed command calls it.

        Records of loggers count as nothing, and so do folders without files. A folder that was there before stays.
        """
        if not self.made or not self.path.is_dir():
            return
        records = [self.path / name for name in RECORDS]
        files = (file for file in self.path.rglob("*") if not file.is_dir() or file.is_symlink())
        if any(not set(records) & set(file.parents) for file in files):
            return
        shutil.rmtree(self.path, ignore_errors=True)
        for folder in reversed(self.made):
            with suppress(OSError):  # another run is in it
                folder.rmdir()


def claim_run_folder(name: str, run_dir: str | None, resumed: Path | None) -> RunFolder:
    """Makes the folder of a run; only the first process does, the others are told later.

    Args:
        name: Of the run; its versions are `runs/<name>/0`, `1`, ...
        run_dir: Take this folder instead.
        resumed: The checkpoint that training goes on from, if it does.

    Raises:
        UserError: `run_dir` holds another run, or its name is not UTF-8.
    """
    if run_dir is None:
        return _next_version(ROOT / name) if is_first_process() else RunFolder(ROOT / name)
    folder = Path(run_dir)
    if mended(run_dir) != run_dir:
        raise UserError(f"run_dir {run_dir!r} is not UTF-8, which Parquet files must be named in: name another")
    made: tuple[Path, ...] = ()
    own = resumed is not None and folder.resolve() in resumed.resolve().parents
    if is_first_process() and not own:
        if (folder / "config.yaml").exists() or (folder / "checkpoints").exists():
            raise UserError(
                f"run_dir {str(folder)!r} holds a run already: name another folder, or resume it with "
                f"`fit --config {folder}/config.yaml --run_dir {folder} --ckpt_path last`"
            )
        with _told(f"run_dir {str(folder)!r} cannot be made", "name another"):
            made = _missing(folder)
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):  # where it was there already, perhaps of another user
                pass
    return RunFolder(folder, made)


def _next_version(parent: Path) -> RunFolder:
    """Makes the first folder `parent/0`, `parent/1`, ... that is not there yet.

    Raises:
        UserError: It cannot be made.
    """
    version = 0
    with _told(f"the run folder {str(parent)!r} cannot be made in {str(Path.cwd())!r}", "pass --run_dir"):
        made = _missing(parent)
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            folder = parent / str(version)
            with suppress(FileExistsError):  # another process may be faster
                folder.mkdir()
                return RunFolder(folder, (*made, folder))
            version += 1


@contextmanager
def _told(what: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} ({error.strerror}): {remedy}") from error


def _missing(folder: Path) -> tuple[Path, ...]:
    """The folder and those around it, as far as they are not there; the outermost first."""
    return tuple(path for path in reversed([folder, *folder.parents]) if not path.exists())


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
    folders = [Path(run_dir)] if run_dir else []
    folders += [Path(config).parent for config in configs if not is_inline(config)]
    for folder in folders:
        if (path := folder / "checkpoints" / f"{given}.ckpt").is_file():
            return path
    raise UserError(
        f"--ckpt_path {given}: no checkpoints/{given}.ckpt in {', '.join(map(str, folders)) or 'any folder named'}: "
        "give the path of the file, or --run_dir or --config of its run"
    )


def parameter_counts(model: LightningModule) -> dict[str, int]:
    """The number of parameters: `total`, and those that are `trainable`."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(n for n, _ in sizes), "trainable": sum(n for n, trained in sizes if trained)}


class ConfigWriter(Callback):
    """Writes the whole configuration to `config.yaml` and to the loggers, once data and model are there."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Takes the configuration as plain values."""
        self.config = config
        self._written = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes it before training, and says how large the network is."""
        self._write(trainer, pl_module)
        parameters = parameter_counts(pl_module)
        if parameters["total"]:
            say(f"{parameters['total']:,} parameters, {parameters['trainable']:,} of them are trained")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes it where there was no training."""
        self._write(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes it where there was no training."""
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, model: LightningModule) -> None:
        if self._written or not trainer.is_global_zero:
            return
        self._written = True
        with atomic_path(Path(trainer.default_root_dir, "config.yaml")) as path:
            path.write_text(dump(self.config), encoding="utf-8")
        for logger in trainer.loggers:
            record_config(logger, self.config, parameter_counts(model))
