import errno
import io
import os
import sys
import tempfile

import numpy as np
import pytest

from textclf.errors import UserError
from textclf.models.array_file import ArrayFile, temporary_arrays

ARRAYS = [np.arange(5), np.empty(0, dtype=np.float32), np.array([1.5, np.nan]), np.arange(3, dtype=np.uint8)]


class SmallDisk(io.FileIO):
    """A file that takes 3 bytes at once, and `space` in total."""

    space = 10

    def write(self, data):
        if self.space == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(data[: min(3, self.space)])
        self.space -= written
        return written


def test_arrays_are_read_as_they_were_written():
    with temporary_arrays("arrays") as file:
        places = [file.append(array) for array in ARRAYS]
        for array, place in [*zip(ARRAYS, places, strict=True)][::-1]:
            read = file.read(place)
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)


def test_writing_in_parts_and_without_space(tmp_path):
    with SmallDisk(tmp_path / "file", "w+") as raw:
        file = ArrayFile(raw, "the features")
        place = file.append(np.arange(8, dtype=np.uint8))
        assert file.read(place).tolist() == list(range(8))
        with pytest.raises(UserError, match=r"no space left in .* for the features .*set TMPDIR") as caught:
            file.append(np.arange(8, dtype=np.uint8))
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_about_space(tmp_path):
    with SmallDisk(tmp_path / "file", "w+") as raw:
        file = ArrayFile(raw, "the features")
        raw.write = lambda data: os.close(-1)
        with pytest.raises(OSError, match="Bad file descriptor"):
            file.append(np.arange(8))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file has a name there")
def test_nothing_is_left_even_by_a_killed_process(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_arrays("arrays") as file:
        file.append(np.arange(8))
        assert not list(tmp_path.iterdir())
