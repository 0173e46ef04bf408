"""Where modules of one's own are looked for."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from textclf import cli
from textclf.__main__ import run


@pytest.fixture
def started_by_path(tmp_path, monkeypatch):
    """A current folder with a module, and the `sys.path` of a console script, which is without that folder."""
    (tmp_path / "found_here.py").write_text("VALUE = 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(cli, "main", lambda: importlib.import_module("found_here"))
    yield
    sys.modules.pop("found_here", None)


def test_the_console_script_finds_modules_in_the_current_folder_once(started_by_path):
    for _ in range(2):
        run()
    assert sys.modules["found_here"].VALUE == 1
    assert sys.path.count("") == 1


def test_a_safe_path_stays_as_it_is(started_by_path, monkeypatch):
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if not name.startswith("_")}
    monkeypatch.setattr(sys, "flags", SimpleNamespace(**{**flags, "safe_path": True}))
    with pytest.raises(ModuleNotFoundError, match="found_here"):
        run()
