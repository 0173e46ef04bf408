"""Atomic writes: to a temporary path in the same folder, which is renamed when it is complete."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        _remove_abandoned(target)
        with _temporary_file(target) as temporary:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
            temporary.replace(target)


@contextmanager
def _temporary_file(target: Path) -> Iterator[Path]:
    """Makes a file next to `target`, which is locked until the end of the block, and removed if it is still there."""
    handle, temporary = _new_file(target)
    is_locked = _lock(handle, wait=True)
    while is_locked and not temporary.exists():  # another process took it for an abandoned one before it was locked
        os.close(handle)
        handle, temporary = _new_file(target)
        is_locked = _lock(handle, wait=True)
    if not is_locked:
        os.close(handle)  # Windows, which has no such locks, does not rename open files
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if is_locked:
            os.close(handle)


def _new_file(target: Path) -> tuple[int, Path]:
    handle, name = mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    return handle, Path(name)


def _remove_abandoned(target: Path) -> None:
    """Removes temporary files of `target` that no process has locked: those that wrote them were killed."""
    name = re.compile(rf"\.{re.escape(target.stem)}-[a-z0-9_]{{8}}{re.escape(target.suffix)}")
    for path in target.parent.iterdir():
        if not name.fullmatch(path.name):
            continue
        with suppress(OSError), path.open("rb") as file:  # another process may be faster
            if _lock(file.fileno(), wait=False):
                path.unlink()


def _lock(handle: int, wait: bool) -> bool:
    """Locks an open file until it is closed, or its process ends.

    Args:
        handle: Descriptor of the file.
        wait: Whether to wait while another process holds the lock.

    Returns:
        Whether it is locked; not if another process holds the lock, or if the system or the file system has no locks.
    """
    try:
        import fcntl  # noqa: PLC0415 - not there on Windows

        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


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
