"""Atomic writes: to a temporary path in the same folder, which is renamed when it is complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp, mkstemp

from textclf.errors import SPACE, UserError, find_fault


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it to `path` at the end of the block.

    If the block raises an error, the temporary file is removed, and a file at `path` stays as it was.

    Args:
        path: The file to write. Its folder is created if it does not exist.

    Yields:
        A path in the same folder with the same suffix.

    Raises:
        UserError: No space is left.
    """
    target = Path(path)
    with _named_if_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Gives a temporary folder to fill with files, and renames it to `path` at the end of the block.

    If the block raises an error, the temporary folder is removed.

    Args:
        path: The folder to create; it does not exist, or is empty.

    Yields:
        A new folder next to `path`.

    Raises:
        UserError: No space is left.
    """
    target = Path(path).resolve()
    with _named_if_full(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for file in temporary.iterdir():
                file.chmod(0o666 & ~_umask())
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_writable(path: str | Path, is_folder: bool = False) -> None:
    """Refuses a place that cannot be written, before the work whose result goes there.

    Args:
        path: A file to write, whose folder is created if it does not exist.
        is_folder: Whether it is a folder for several files instead, which is created as well.

    Raises:
        UserError: It cannot be written.
    """
    target = Path(path)
    if target.is_dir() and not is_folder:
        raise UserError(f"{str(path)!r} is a folder: name a file")
    folder = target if is_folder else target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be written ({error.strerror}): name another place") from error


@contextmanager
def _named_if_full(target: Path) -> Iterator[None]:
    """Names the file in the error that no space is left."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if find_fault(error, SPACE) is None:
            raise
        raise UserError(
            f"no space left for {str(target)!r}: what was there before is unchanged; {SPACE.remedy}"
        ) from error


def _umask() -> int:
    """The permissions that new files do not get; the system has no way to read them without setting them."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
