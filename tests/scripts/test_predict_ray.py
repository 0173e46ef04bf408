"""`predict_ray.py` up to the start of Ray."""

import sys

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "--workers 0 is too small: give 1 or more"),
        (["--shard_rows", "0"], "--shard_rows 0 is too small: give 1 or more"),
        (["--gpus", "-1"], "--gpus -1.0 is too small: give 0 or more"),
        (["--max_batch_tokens", "0"], "--max_batch_tokens 0 is too small: give 1 or more"),
        ([], "Ray is not installed: run pip install -e '.[ray]'"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(script, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setitem(sys.modules, "ray", None)
    output = tmp_path / "out"
    assert script.main(["--ckpt_path", "no.ckpt", "--input", "no.csv", "--output", str(output), *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(said)
    assert not output.exists()
