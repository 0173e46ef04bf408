import io
import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("script", "arguments", "code"),
    [
        ("benchmark", ["--list"], 0),
        ("plot_growth", ["none.json", "none.png"], 2),
        ("export", ["none.ckpt", "out"], 2),
        ("fetch_smollm2", ["."], 2),
        ("learning_curve", ["out", "--shots", "1", "--metric", "none", "--config", "none.yaml"], 2),
        ("measure_memory", ["--steps", "1"], 0),
        ("rescore", ["none"], 2),
        ("run_all", ["out"], 2),
        ("run_mteb", ["out"], 2),
    ],
)
def test_output_of_a_script_is_utf8(script, arguments, code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    module = import_module(script)
    if script == "measure_memory":
        monkeypatch.setattr(module, "measure", lambda *_: [])
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert module.main(arguments) == code
    assert output.encoding == "utf-8"
