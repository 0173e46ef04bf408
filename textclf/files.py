"""Files and folders that are whole as soon as they exist."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp, mkstemp

from textclf.errors import SPACE, UserError, find_fault


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; renames it to `path` when the block ends well.

    When the block raises, the temporary file is removed and what stood at `path` before stays whole.

    Args:
        path: The file to write. Its folder is made if it is not there.

    Yields:
        A path in the same folder with the same suffix.

    Raises:
        UserError: No space is left.
    """
    target = Path(path)
    with _told_of_space(target):
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
    """Gives a temporary folder beside `path` to fill with files; renames it to `path` when the block ends well.

    Args:
        path: The folder to make; it is not there, or empty.

    Yields:
        A folder in the same folder.

    Raises:
        UserError: No space is left.
    """
    target = Path(path).resolve()
    with _told_of_space(target):
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


@contextmanager
def _told_of_space(target: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or find_fault(error, SPACE) is None:
            raise
        raise UserError(
            f"no space left for {str(target)!r}: what stood there is whole; make room, then run the command again "
            "(fit goes on from its newest checkpoint with --ckpt_path last)"
        ) from error


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
