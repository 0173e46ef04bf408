"""The folders of trials, and disks in memory that get full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textclf.errors import UserError

LARGE = 2**30
"""Bytes that are enough for every command."""


@contextmanager
def empty_folder(folder: Path, size: int | None = None) -> Iterator[None]:
    """Makes a folder, and removes it with all that is in it.

    Args:
        folder: It does not exist, or is empty.
        size: The bytes that it has room for; as much as there is by default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if size is not None:
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        (folder / "tmp").mkdir()
        yield
    finally:
        if size is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            # What is still open on the disk goes on until it is closed.
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    """Makes a disk large enough for every command."""
    mount("-o", f"remount,size={LARGE}", folder)


def mount(*words: str | Path) -> None:
    """Calls `mount`.

    Raises:
        UserError: It fails, as without the rights of root.
    """
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip()
        raise UserError(f"a disk cannot be mounted ({reason}): run this as root, or without 'full disk' in --faults")


def used_bytes(folder: Path) -> int:
    """The bytes that the files below a folder take on a disk."""
    return sum(
        os.lstat(os.path.join(parent, name)).st_blocks * 512 for parent, _, names in os.walk(folder) for name in names
    )
