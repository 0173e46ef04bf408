"""Errors of the user and of the machine: each is one line that names the cause and the remedy."""

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import config

from textclf.cli import main
from textclf.console import say
from textclf.errors import UserError, check_home, check_least, check_range, machine_error, user_error
from textclf.hub import loading
from textclf.run.folder import claim_run_folder

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a film", "a film"),
        ("영화 'é' \u3000 \U0001f468\u200d\U0001f469", "영화 'é' \u3000 \U0001f468\u200d\U0001f469"),
        ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
        ("\x1b[2J\x07\x00", r"\x1b[2J\x07\x00"),
        ("a\x85b\u2028c\u2029d\x1ce", r"a\x85b\u2028c\u2029d\x1ce"),
        ("\udcff", r"\udcff"),
        ("\u202ecod.exe\u202c \u2066a\u2069", r"\u202ecod.exe\u202c \u2066a\u2069"),
        ("\u05e9\u05dc\u05d5\u05dd \u200f", "\u05e9\u05dc\u05d5\u05dd \u200f"),
    ],
)
def test_a_message_is_one_line_without_control_characters(given, shown, capsys):
    assert str(UserError(given)) == shown
    say(given)
    assert capsys.readouterr().err == f"textclf: {shown}\n"


@pytest.mark.parametrize("value", [None, 0, 1, 2.5])
def test_values_that_are_not_too_small(value):
    check_least("shots", value, 0)


@pytest.mark.parametrize("value", [-1, -0.5, math.nan])
def test_values_that_are_too_small(value):
    with pytest.raises(UserError, match=rf"^shots {value} is too small: give 0 or more, or null$"):
        check_least("shots", value, 0, ", or null")


def test_a_value_out_of_range_is_named_with_what_is_allowed():
    check_range("val_size", 0.5, True, "a share")
    with pytest.raises(UserError, match=r"^val_size 1\.5 is out of range: give a share$"):
        check_range("val_size", 1.5, False, "a share")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left .*: free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space left .*quota exceeded.*: free some space"),
        (OSError(errno.EFBIG, "File too large"), "no space left .*: free some space"),
        (RuntimeError("IOError: [Errno 28] No space left on device"), "no space left"),
        (OSError(errno.EMFILE, "Too many open files", "a.csv"), "too many open files .*: raise the limit"),
        (RuntimeError("received 0 items of ancdata"), "too many open files .*num_workers 0"),
        (RuntimeError("DataLoader worker (pid 1) is killed ... out of shared memory."), "shared memory.*/dev/shm"),
        (MemoryError(), "out of memory .*batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "out of memory .*batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory .*batch_size"),
        (RuntimeError("could not create a primitive"), "out of memory .*batch_size"),
        (RuntimeError("std::bad_alloc"), "out of memory .*batch_size"),
        (RuntimeError("can't start new thread"), "out of memory .*batch_size"),
        (
            RuntimeError("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"),
            "out of memory",
        ),
        (OSError(errno.ENOLCK, "No locks available"), "cannot lock files .*local disk"),
        (NotImplementedError("FileSystem does not appear to support flock; use"), "cannot lock files"),
        (OSError(errno.ESTALE, "Stale file handle"), "the disk or its network connection fails"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "set TMPDIR"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/a.csv"), "'/data/a.csv': .*change its permissions"),
        (OSError(errno.EROFS, "Read-only file system", "/data/a.csv"), "'/data/a.csv': Read-only.*name another"),
    ],
)
def test_faults_of_the_machine(error, words):
    with pytest.raises(UserError, match=words) as caught, loading("file", "train.csv", "give a whole file"):
        raise RuntimeError("it failed") from error
    assert "train.csv" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(user_error(error)) == str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"),
        ValueError("not a number"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        PermissionError(errno.EACCES, "Permission denied"),  # of a socket: no file is named
        KeyError("a bug"),
        RuntimeError("could not create a primitive descriptor for a matmul primitive"),
    ],
)
def test_other_errors_are_none_of_the_machine(error):
    assert machine_error(error) is None


def test_a_mistake_is_found_among_the_causes_of_an_error():
    def outer(cause, hidden=False):
        try:
            raise cause
        except Exception as error:
            try:
                raise RuntimeError("it failed") from None if hidden else error
            except RuntimeError as raised:
                return raised

    mistake = UserError("give another")
    assert user_error(outer(outer(mistake))) is mistake
    assert user_error(outer(mistake, hidden=True)) is None
    assert user_error(outer(OSError(errno.ENOSPC, "No space left on device"), hidden=True)) is None


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_is_named_with_its_variable(place, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    cache = tmp_path / place
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", cache)
    with pytest.raises(OSError) as failed:
        (cache / "rows").mkdir(parents=True)
    with pytest.raises(UserError, match=f"'{cache}' cannot be written .*: set HF_DATASETS_CACHE"):
        with loading("file", "train.csv", "give a whole file"):
            raise failed.value


def test_an_error_in_a_cache_that_can_be_written_is_not_blamed_on_it(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path)
    assert machine_error(FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "rows"))) is None


@pytest.mark.parametrize(
    ("place", "run_dir", "words"),
    [
        ("runs", None, r"the run folder 'runs/files' cannot be made in '.*' \(Not a directory\): pass --run_dir"),
        ("runs/files", None, r"the run folder 'runs/files' cannot be made in '.*' \(File exists\): pass --run_dir"),
        ("file", "file", r"run_dir 'file' cannot be made \(File exists\): name another"),
        ("file", "file/run", r"run_dir 'file/run' cannot be made \(Not a directory\): name another"),
        ("file", "/proc/run", r"run_dir '/proc/run' cannot be made \(No such file or directory\): name another"),
        ("file", "/proc", r"run_dir '/proc' cannot be made \(No such file or directory\): name another"),
    ],
)
def test_run_folders_that_cannot_be_made(place, run_dir, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(place).parent.mkdir(exist_ok=True)
    Path(place).touch()
    with pytest.raises(UserError, match=words):
        claim_run_folder("files", run_dir, None)


def test_a_user_without_a_home(monkeypatch):
    check_home()
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)  # who has no name
    with pytest.raises(UserError, match="no home folder: set HOME"):
        check_home()


@pytest.fixture(scope="module")
def checkpoint(rows_folder, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("machine") / "run"
    configs = [f"--config={CONFIGS / name}" for name in ("files.yaml", "model/tfidf.yaml")]
    options = ("--model.min_df", "1", "--trainer.logger", "false", "--test_after_fit", "false")
    main(["fit", *configs, "--data.data_dir", str(rows_folder), *options, "--run_dir", str(run_dir)])
    return run_dir / "checkpoints" / "last.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "redirected", "said", "written"),
    [
        ("--texts '[\"긍정 😊\"]'", "", "", "긍정 😊"),
        pytest.param("--texts '[\"긍정 😊\"]'", "2>&-", "", "긍정 😊", marks=pytest.mark.exhaustive),
        ("--texts '[\"a\"]'", ">&-", "textclf: error: standard output is closed: pass --output FILE", ""),
        ("--texts '[\"a\"]'", ">/dev/full", "textclf: error: no space left on the device", ""),
        pytest.param("--input -", "<&-", "", "", marks=pytest.mark.exhaustive),
    ],
)
def test_streams_that_are_closed_or_full_or_not_utf8(arguments, redirected, said, written, checkpoint):
    command = f"{sys.executable} -m textclf predict --ckpt_path {checkpoint} {arguments} {redirected}"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, timeout=120)
    errors = done.stderr.decode()
    assert done.returncode == (2 if said else 0), errors
    assert "Traceback" not in errors
    assert said in errors
    assert [json.loads(line)["text"] for line in done.stdout.decode().splitlines()] == ([written] if written else [])
