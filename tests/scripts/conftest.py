"""What the tests of scripts share: the scripts can be imported by their names."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


@pytest.fixture
def script(request, monkeypatch):
    """The script that the file of tests is named after, as a new module: changes of one test are not in the next."""
    name = request.path.stem.removeprefix("test_")
    monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module(name)
