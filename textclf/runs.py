"""The run folder: its name, and who may use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from textclf.errors import UserError

ROOT = Path("runs")


def _is_first() -> bool:
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))  # of Lightning's launcher and torchrun
    return node == "0" and bool(getattr(rank_zero_only, "rank", 0) == 0)  # from the launcher's environment variables


def run_name(configs: list[str]) -> str:
    """A run's name from its configuration files: their stems, joined by `-`; one written out as JSON has none."""
    return "-".join(Path(config).stem for config in configs if not config.lstrip().startswith("{")) or "run"


def run_group(config: dict[str, Any]) -> str:
    """Names the data set and the method, which many runs share: by their classes, or the folder of a person's own."""
    data, method = (config[axis]["class_path"].rpartition(".")[2] for axis in ("data", "model"))
    if data == "FilesDataModule":
        data = Path(config["data"]["init_args"]["data_dir"]).resolve().name
    return f"{data.removesuffix('DataModule')} {method}"


def claim_run_folder(name: str, run_dir: str | None, resumed: Path | None) -> Path:
    """Makes the folder of a run; only the first process does, the others are told later.

    Args:
        name: Of the run; its versions are `runs/<name>/0`, `1`, ...
        run_dir: Take this folder instead.
        resumed: The checkpoint that training goes on from, if it does.

    Raises:
        UserError: `run_dir` holds another run.
    """
    if run_dir is None:
        return _next_version(ROOT / name) if _is_first() else ROOT / name
    folder = Path(run_dir)
    own = resumed is not None and folder.resolve() in resumed.resolve().parents
    if _is_first() and not own:
        if (folder / "config.yaml").exists() or (folder / "checkpoints").exists():
            raise UserError(
                f"run_dir {str(folder)!r} holds a run already: name another folder, or resume it with "
                f"`fit --config {folder}/config.yaml --run_dir {folder} --ckpt_path last`"
            )
        with _told(f"run_dir {str(folder)!r} cannot be made", "name another"):
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):  # where it was there already, perhaps of another user
                pass
    return folder


def _next_version(parent: Path) -> Path:
    """Makes the first folder `parent/0`, `parent/1`, ... that is not there yet.

    Raises:
        UserError: It cannot be made.
    """
    version = 0
    with _told(f"the run folder {str(parent)!r} cannot be made in {str(Path.cwd())!r}", "pass --run_dir"):
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            with suppress(FileExistsError):  # another process may be faster
                (parent / str(version)).mkdir()
                return parent / str(version)
            version += 1


@contextmanager
def _told(what: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} ({error.strerror}): {remedy}") from error


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
    folders = ([Path(run_dir)] if run_dir else []) + [Path(config).parent for config in configs]
    for folder in folders:
        if (path := folder / "checkpoints" / f"{given}.ckpt").is_file():
            return path
    raise UserError(
        f"--ckpt_path {given}: no checkpoints/{given}.ckpt in {', '.join(map(str, folders)) or 'any folder named'}: "
        "give the path of the file, or --run_dir or --config of its run"
    )
