"""The header of a GGUF file is checked against the size of the file before a reader takes memory for what it announces.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each type that has a fixed size."""
STRING, ARRAY = 8, 9
MOST_DIMENSIONS = 8
MOST_PER_BYTE = 8
"""Weights in a byte, at most: the smallest quantisation has more than one bit for each."""


def check_header(path: Path) -> None:
    """Refuses a file whose header announces more than the file can hold.

    Args:
        path: The file, of either byte order.

    Raises:
        ValueError: It is not a GGUF file, or does.
    """
    if path.stat().st_size < 24:
        raise ValueError("it is too short for a GGUF file")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _Header(content).check()


class _Header:
    """A walk over the header, from value to value."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.place = 4
        self.order = "<"

    def check(self) -> None:
        if self.content[:4] != MAGIC:
            raise ValueError("it does not start with GGUF")
        version = self.number(4)
        if version % 65536 == 0:  # written on a machine of the other byte order
            self.order = ">"
            self.place = 4
            version = self.number(4)
        if version not in VERSIONS:
            raise ValueError(f"version {version} of GGUF is not read")
        tensors, values = self.number(8), self.number(8)
        for _ in range(values):
            self.skip(self.number(8))  # the key
            self.skip_value(self.number(4))
        weights = sum(self.weights_of_tensor() for _ in range(tensors))
        if weights > MOST_PER_BYTE * len(self.content):
            raise ValueError(f"it announces {weights:,} weights, and has {len(self.content):,} bytes")

    def number(self, size: int) -> int:
        """Reads an unsigned integer."""
        start = self.place
        self.skip(size)
        kind = "I" if size == 4 else "Q"
        value: int = struct.unpack_from(f"{self.order}{kind}", self.content, start)[0]
        return value

    def skip(self, size: int) -> None:
        """Goes on by some bytes, which the file must have."""
        left = len(self.content) - self.place
        if size > left:
            raise ValueError(f"it announces {size:,} bytes at byte {self.place:,}, where {left:,} are left")
        self.place += size

    def skip_value(self, kind: int) -> None:
        if kind in SIZES:
            self.skip(SIZES[kind])
        elif kind == STRING:
            self.skip(self.number(8))
        elif kind == ARRAY:
            entries, length = self.number(4), self.number(8)
            if entries in SIZES:
                self.skip(length * SIZES[entries])
                return
            if entries != STRING:  # no model has arrays of arrays
                raise ValueError(f"it has an array of type {entries}")
            for _ in range(length):
                self.skip(self.number(8))
        else:
            raise ValueError(f"it has a value of type {kind}")

    def weights_of_tensor(self) -> int:
        self.skip(self.number(8))  # the name
        dimensions = self.number(4)
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"it has a tensor of {dimensions} dimensions")
        weights = 1
        for _ in range(dimensions):
            weights *= self.number(8)
        self.skip(4 + 8)  # type and place
        return weights
