"""Files that are whole as soon as they exist."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; renames it to `path` when the block ends well.

    When the block raises, the temporary file is removed and what stood at `path` before stays whole.

    Args:
        path: The file to write. Its folder is made if it is not there.

    Yields:
        A path in the same folder with the same suffix.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
