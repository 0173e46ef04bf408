"""Several jobs of one name, with the same caches, on one machine at the same time: none harms another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textclf.evaluation.prediction_table import read_predictions

ROOT = Path(__file__).parents[2]


def started(encoder, rows, folder, method, *more):
    """A process that trains a method."""
    methods = {
        "probe": ("--config", str(ROOT / "configs" / "model" / "linear_probe.yaml")),
        "tuned": ("--trainer.max_epochs", "1"),
    }
    command = [
        *(sys.executable, "-m", "textclf", "fit", "--config", str(ROOT / "configs" / "files.yaml")),
        *(*methods[method], "--data.data_dir", str(rows), "--model.pretrained", str(encoder)),
        *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.callbacks", "[]", *more),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    environment["HF_DATASETS_CACHE"] = str(folder / "datasets")
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(processes):
    """Exit code and output of each process."""
    outputs = [process.communicate(timeout=600)[0].decode() for process in processes]
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "methods",
    [["probe", "probe"], pytest.param(["probe", "tuned", "probe", "tuned"], marks=pytest.mark.exhaustive)],
)
def test_each_job_of_one_name_has_its_own_folder(methods, tiny_encoder, rows_folder, tmp_path):
    jobs = [started(tiny_encoder, rows_folder, tmp_path, method, "--run_name", "same") for method in methods]
    for code, output in ended(jobs):
        assert code == 0, output[-3000:]
        assert "Traceback" not in output
    runs = [tmp_path / "runs" / "same" / str(version) for version in range(len(methods))]
    assert sorted((tmp_path / "runs" / "same").iterdir()) == runs
    found = {}
    for run in runs:
        method = json.loads((run / "report" / "metrics.json").read_text())["method"]
        table = read_predictions(run / "report" / "predictions.parquet")
        found.setdefault(method, []).append(table.log_scores)
        assert len(list((run / "wandb").glob("offline-run-*"))) == 1
        assert [path for path in run.rglob(".*") if path.is_file()] == []  # no temporary file is left
    assert {len(scores) for scores in found.values()} == {2}
    for one, other in found.values():
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_of_two_jobs_in_one_run_folder_one_runs(tiny_encoder, rows_folder, tmp_path):
    jobs = [started(tiny_encoder, rows_folder, tmp_path, "tuned", "--run_dir", "run") for _ in range(2)]
    results = ended(jobs)
    assert sorted(code for code, _ in results) == [0, 2]
    for code, output in results:
        if code:
            last = output.strip().splitlines()[-1]
            assert "another run is going on in 'run'" in last or "'run' holds a run already" in last
    table = read_predictions(tmp_path / "run" / "report" / "predictions.parquet")
    assert len(table.ids) == 21
