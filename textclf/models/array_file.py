"""Arrays in a temporary file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from tempfile import TemporaryFile, gettempdir
from typing import NamedTuple, cast

import numpy as np

from textclf.errors import SPACE, UserError, find_fault


@contextmanager
def temporary_arrays(content: str) -> Iterator[ArrayFile]:
    """Creates a file in the folder for temporary files.

    It has no name (except on Windows): nothing of it is left, however the process ends.

    Args:
        content: What is written to it, for the message if no space is left.
    """
    # Without a buffer: if the disk is full, one would try to write its rest once more when the file is closed.
    with TemporaryFile(buffering=0) as file:
        yield ArrayFile(cast(RawIOBase, file), content)


class Place(NamedTuple):
    """Where an array is in a file."""

    offset: int
    length: int
    dtype: np.dtype


class ArrayFile:
    """One-dimensional arrays in a file.

    Attributes:
        size: Bytes that were written.
    """

    def __init__(self, file: RawIOBase, content: str) -> None:
        """Takes an empty file, without a buffer.

        Args:
            file: The file.
            content: What is written to it, for the message if no space is left.
        """
        self._file = file
        self._content = content
        self.size = 0

    def append(self, array: np.ndarray) -> Place:
        """Writes an array to the end of the file.

        Raises:
            UserError: No space is left.
        """
        place = Place(self.size, len(array), array.dtype)
        rest = memoryview(array.tobytes())
        self.size += len(rest)
        try:
            self._file.seek(place.offset)
            while rest:  # the system may write a part only
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            if find_fault(error, SPACE) is None:
                raise
            raise UserError(
                f"no space left in {gettempdir()!r} for {self._content} ({self.size / 2**20:,.0f} MiB so "
                "far): free some space, or set TMPDIR to a folder on a larger disk"
            ) from error
        return place

    def read(self, place: Place) -> np.ndarray:
        """Reads an array."""
        self._file.seek(place.offset)
        return np.fromfile(self._file, place.dtype, place.length)
