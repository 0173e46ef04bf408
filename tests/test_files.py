import errno
import os
import stat
import subprocess
import sys

import pytest

from textclf import files
from textclf.errors import UserError
from textclf.files import atomic_folder, atomic_path


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


ABANDONED = """
import sys, os
from textclf import files
with getattr(files, sys.argv[1])(sys.argv[2]) as path:
    half = path / "a" if path.is_dir() else path
    half.write_text("half")
    os.kill(os.getpid(), 9)
"""


def abandon(function, target):
    """Writes half of a file or a folder, and is killed."""
    assert subprocess.run([sys.executable, "-c", ABANDONED, function, str(target)]).returncode == -9


def test_the_file_of_a_killed_process_is_removed_by_the_next_write(tmp_path):
    target = tmp_path / "out [1].csv"
    abandon("atomic_path", target)
    (half,) = tmp_path.iterdir()
    assert half.read_text() == "half"
    others = [
        tmp_path / name for name in (".out [1]-short.csv", ".out [1]-abcdefgh.json", ".out-abcdefgh.csv", "a.csv")
    ]
    for other in others:
        other.write_text("not of this file")
    with atomic_path(target) as path:
        path.write_text("whole")
        assert not half.exists()
        with atomic_path(target):  # the outer file is in use
            assert path.exists()
    assert target.read_text() == "whole"
    assert sorted(tmp_path.iterdir()) == sorted([target, *others])


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    abandoned = tmp_path / ".out-abcdefgh.csv"
    abandoned.write_text("perhaps another process writes it")
    with atomic_path(tmp_path / "out.csv") as path:
        path.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [abandoned.name, "out.csv"]


def test_a_file_that_is_taken_for_an_abandoned_one_is_made_again(tmp_path, monkeypatch):
    makes, made = files._new, []

    def make(*arguments):
        made.append(makes(*arguments))
        if len(made) == 1:
            made[0].unlink()  # by another process, before it is locked
        return made[-1]

    monkeypatch.setattr(files, "_new", make)
    with atomic_path(tmp_path / "out.csv"):
        pass
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_file_may_be_read_as_any_other(tmp_path):
    umask = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "out"):
            pass
    finally:
        assert os.umask(umask) == 0o027
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def full_disk(how):
    """Fails as Python does, or a library in another language, or one that hides why at first."""
    if how == "number":
        raise OSError(errno.ENOSPC, "No space left on device")
    if how == "words":
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    try:
        full_disk("number")
    finally:
        raise RuntimeError("unexpected pos 576 vs 534")


@pytest.mark.parametrize("how", ["number", "words", "hidden"])
def test_a_full_disk_leaves_the_old_file_and_is_said_in_one_line(how, tmp_path):
    target = tmp_path / "out.ckpt"
    target.write_text("before")
    with pytest.raises(UserError, match=r"no space left for '.*out\.ckpt'") as refused, atomic_path(target) as path:
        path.write_text("half")
        full_disk(how)
    assert "\n" not in str(refused.value)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_another_error_stays_as_it_is(tmp_path):
    with pytest.raises(PermissionError), atomic_path(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "Permission denied")


# Folders


@pytest.mark.parametrize("empty", [True, False])
def test_folder_is_whole_once_it_is_there(empty, tmp_path):
    target = tmp_path / "new" / "folder"
    if empty:
        target.mkdir(parents=True)
    with atomic_folder(target) as folder:
        (folder / "a").write_text("whole")
        assert folder.parent == target.parent
        assert not (target / "a").exists()
    assert (target / "a").read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o777 & ~current_umask()


def current_umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


@pytest.mark.parametrize("how", ["number", "words"])
def test_a_full_disk_leaves_no_half_of_a_folder(how, tmp_path):
    with pytest.raises(UserError, match="no space left"), atomic_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("half")
        full_disk(how)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next_one(tmp_path):
    target = tmp_path / "model"
    abandon("atomic_folder", target)
    (half,) = tmp_path.iterdir()
    assert (half / "a").read_text() == "half"
    other = tmp_path / ".model-2-abcdefgh"
    other.mkdir()
    with atomic_folder(target) as folder:
        (folder / "a").write_text("whole")
        assert not half.exists()
        with atomic_folder(target):  # the outer folder is in use
            assert folder.exists()
    assert (target / "a").read_text() == "whole"
    assert sorted(tmp_path.iterdir()) == [other, target]
