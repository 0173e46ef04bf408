"""Output: aligned tables, streams in UTF-8, errors of scripts, and which warnings are shown."""

import errno
import io
import sys
import warnings

import pytest

from textclf import console
from textclf.errors import UserError


@pytest.mark.parametrize(
    ("text", "width"),
    [("", 0), ("abc", 3), ("긍정", 4), ("ｱｲ", 2), ("ＡＢ", 4), ("e\u0301", 1), ("か\u3099", 2)],
)
def test_width_on_a_terminal(text, width):
    assert console.display_width(text) == width
    assert console.align_right(text, 6) == " " * (6 - width) + text


def test_columns_are_aligned_by_their_width_on_a_terminal():
    rows = [["", "수", "why"], ["긍정", "1", "a longer reason"], ["neutral", "1,000", ""]]
    assert console.align_table(rows, "<><") == [
        "            수  why",
        "긍정         1  a longer reason",
        "neutral  1,000",
    ]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Checkpoint directory /runs/0/checkpoints exists and is not empty.", False),
        ("Experiment logs directory logs exists and is not empty. Previous log files will be deleted", True),
    ],
)
def test_warnings_about_what_will_be_deleted_are_shown(message, shown):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for pattern in console.IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", pattern)
        warnings.warn(message, stacklevel=1)
    assert bool(caught) == shown


@pytest.mark.parametrize("encoding", ["ascii", "cp949", "latin-1", "utf-8"])
def test_output_is_utf8_whatever_the_locale(encoding, monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    console.use_utf8()
    print("긍정 😊", flush=True)
    assert output.buffer.getvalue().decode("utf-8") == "긍정 😊\n"


def test_input_that_is_not_utf8_is_refused(monkeypatch):
    source = io.TextIOWrapper(io.BytesIO("긍정\n".encode("cp949")), encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", source)
    console.use_utf8()
    with pytest.raises(UnicodeDecodeError):
        source.read()


def test_a_terminal_keeps_its_encoding(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="cp949")
    output.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", output)
    console.use_utf8()
    print("긍정 😊", flush=True)
    assert output.buffer.getvalue().decode("cp949") == "긍정 \\U0001f60a\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("--rows 0 is too small"), 2, "tool: error: --rows 0 is too small"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "tool: error: no space left on the device"),
        (KeyboardInterrupt(), 130, "tool: stopped by Ctrl-C"),
    ],
)
def test_errors_of_a_script_are_one_line(error, code, line, capsys):
    def work():
        raise error

    assert console.run_script("tool", work) == code
    printed = capsys.readouterr().err
    assert printed.startswith(line)
    assert printed.count("\n") == 1


def test_exit_codes_of_a_script():
    assert console.run_script("tool", lambda: None) == 0
    assert console.run_script("tool", lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        console.run_script("tool", lambda: 1 // 0)
