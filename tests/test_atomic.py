import os
import stat

import pytest

from textclf.atomic import atomic_path


def test_file_is_whole_once_it_is_there(tmp_path):
    target = tmp_path / "new" / "folder" / "out.parquet"
    with atomic_path(target) as path:
        path.write_text("half")
        assert (path.parent, path.suffix) == (target.parent, ".parquet")
        assert not target.exists()
        path.write_text("whole")
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_exception_leaves_what_was_there(tmp_path, error):
    target = tmp_path / "out.csv"
    target.write_text("before")
    with pytest.raises(error), atomic_path(str(target)) as path:
        path.write_text("half")
        raise error
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_file_is_replaced(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("before")
    with atomic_path(target) as path:
        path.write_text("after")
    assert target.read_text() == "after"


def test_two_at_once_do_not_meet(tmp_path):
    with atomic_path(tmp_path / "out") as first, atomic_path(tmp_path / "out") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "out").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_file_may_be_read_as_any_other(tmp_path):
    umask = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "out"):
            pass
    finally:
        assert os.umask(umask) == 0o027
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640
