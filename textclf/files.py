"""Atomic writes: to a temporary path in the same folder, which is renamed when it is complete."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp, mkstemp

from textclf.errors import SPACE, UserError, find_fault


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path to write to, and renames it to `path` at the end of the block.

    If the block raises an error, the temporary file is removed, and a file at `path` stays as it was. A process that is
    killed leaves its temporary file behind; the next one that writes `path` removes it.

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
        with _temporary(target.parent, f".{target.stem}-", target.suffix) as temporary:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
            temporary.replace(target)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Gives a temporary folder to fill with files, and renames it to `path` at the end of the block.

    If the block raises an error, the temporary folder is removed; if the process is killed, the next one that creates
    the folder removes it.

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
        with _temporary(target.parent, f".{target.name}-", None) as temporary:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for file in temporary.iterdir():
                file.chmod(0o666 & ~_umask())
            temporary.replace(target)


@contextmanager
def _temporary(parent: Path, prefix: str, suffix: str | None) -> Iterator[Path]:
    """Makes a file or a folder with a random name, which is locked until the end of the block, and then removed.

    Those that are not locked are removed first: the processes that made them were killed.

    Args:
        parent: Where it is.
        prefix: The beginning of its name.
        suffix: That of the file; None for a folder.
    """
    name = re.compile(rf"{re.escape(prefix)}[a-z0-9_]{{8}}{re.escape(suffix or '')}")
    for path in parent.iterdir():
        if name.fullmatch(path.name) and (lock := _lock(path, wait=False)) is not None:
            _remove(path)
            os.close(lock)
    path = _new(parent, prefix, suffix)
    lock = _lock(path, wait=True)
    while not path.exists():  # another process took it for an abandoned one before it was locked
        if lock is not None:
            os.close(lock)
        path = _new(parent, prefix, suffix)
        lock = _lock(path, wait=True)
    try:
        yield path
    finally:
        _remove(path)
        if lock is not None:
            os.close(lock)


def _new(parent: Path, prefix: str, suffix: str | None) -> Path:
    if suffix is None:
        return Path(mkdtemp(prefix=prefix, dir=parent))
    handle, name = mkstemp(prefix=prefix, suffix=suffix, dir=parent)
    os.close(handle)
    return Path(name)


def _remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(path: Path, wait: bool) -> int | None:
    """Locks a file or a folder until the lock is closed, or this process ends.

    Args:
        path: The file or folder.
        wait: Whether to wait while another process holds the lock.

    Returns:
        The descriptor to close; None if another process holds the lock, or if the system or the file system has none.
    """
    handle = None
    try:
        import fcntl  # noqa: PLC0415 - not there on Windows

        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        if handle is not None:
            os.close(handle)
        return None
    return handle


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
