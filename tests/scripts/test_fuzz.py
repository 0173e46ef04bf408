"""The fuzzer: its inputs, its counts, and a short run over all parsers."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fuzzing.inputs import apply_edits, change_entries
from fuzzing.parsers import Parser
from hypothesis import strategies as st

from textclf.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("cut", 0.5, 0.0, b""), b"abcd"),
        (("delete", 0.5, 0.0, b""), b"abcdfgh"),
        (("repeat", 0.5, 0.0, b""), b"abcdeefgh"),
        (("replace", 0.5, 0.0, b"--"), b"abcd--fgh"),
        (("insert", 0.5, 0.0, b"--"), b"abcd--efgh"),
    ],
)
def test_edits(edit, expected):
    assert apply_edits(b"abcdefgh", [edit]) == expected


def test_changed_entries_leave_the_valid_value_alone():
    valid = {"a": [1, 2], "b": {"c": 3}}
    assert change_entries(valid, [(2, False, "x"), (5, True, None)]) == {"a": ["x", 2], "b": {}}
    assert valid == {"a": [1, 2], "b": {"c": 3}}


def parse(content):
    """Has all outcomes, by the first byte."""
    kind = content[0] % 5 if content else 0
    if kind == 1:
        raise UserError("refused")
    if kind == 2:
        raise KeyError("x")
    if kind == 3:
        sys.exit(2)
    if kind == 4:
        time.sleep(10)
    return content


def test_outcomes_are_counted(script, monkeypatch):
    monkeypatch.setattr(script, "LONGEST", 1)
    counts = script.Counts()
    for content in (b"\x00", b"\x01", b"\x02", b"\x02", b"\x03", b"\x04"):
        script.try_input(Parser("x", st.binary(), parse), content, counts)
    assert (counts.inputs, counts.results, counts.user_errors, counts.crashes) == (6, 1, 1, 4)
    assert [kind.split(" ")[0] for kind in counts.kinds] == ["KeyError", "SystemExit", "TooSlowError"]


def test_inputs_are_drawn_until_the_time_is_over(script):
    counts = script.Counts()
    script.try_parser(Parser("x", st.binary(min_size=1, max_size=1), len), 1, 0, counts)
    assert counts.inputs == counts.results > 0


@pytest.mark.slow
def test_a_short_run_finds_no_crash(tmp_path):
    command = [sys.executable, "scripts/fuzz.py", "--minutes", "0.2", "--json", str(tmp_path / "fuzz.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    results = json.loads((tmp_path / "fuzz.json").read_text())
    assert (results["crashes"], results["crash_kinds"]) == (0, {})
    assert results["inputs"] == results["results"] + results["user_errors"] == results["robustness"][0]["bad_inputs"]
    assert all(counts["inputs"] for counts in results["parsers"].values())


def test_a_parser_that_does_not_exist(script, capsys):
    assert script.main(["nothing", "--minutes", "0.01"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("fuzz: error: parser 'nothing' is out of range")
