"""`scripts/run_all.py`: each run once, also where something is killed in between."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.evaluation.run_folders import write_run
from textclf.run.grid import Outcome
from textclf.run.grid_job import GridRun

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "run_all.py"
CONFIGS = ROOT / "configs"
MEASURED = ("examples_per_second", "peak_memory_mib", "speed_note", "pareto", "cost")
SCRATCH = {
    "class_path": "FineTunedClassifier",
    "init_args": {
        "pretrained": None,
        "encoder_config": {
            "vocab_size": 300,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        },
        "max_length": 32,
        "learning_rate": 0.01,
    },
}


@pytest.fixture(scope="module")
def configs(rows_folder, tmp_path_factory):
    """Configurations of invented rows, of TF-IDF, of a tiny BERT, and of TF-IDF that finds no n-grams."""
    folder = tmp_path_factory.mktemp("configs")
    trainer = {"accelerator": "cpu", "logger": {"class_path": "textclf.run.MetricsCSV"}}
    contents = {
        "invented": {"data": {"class_path": "FilesDataModule", "init_args": {"data_dir": str(rows_folder)}}},
        "tfidf": {"model": {"class_path": "TfidfClassifier", "init_args": {"min_df": 1}}, "trainer": trainer},
        "scratch": {"model": SCRATCH, "trainer": {**trainer, "max_epochs": 6}},
        "bad": {"model": {"class_path": "TfidfClassifier", "init_args": {"min_df": 1000}}, "trainer": trainer},
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = str(folder / f"{name}.yaml")
        Path(paths[name]).write_text(yaml.safe_dump(content))
    return paths


def start(cwd, configs, *more, methods=("tfidf", "scratch")):
    """Starts the script as the leader of a process group of its own."""
    cwd.mkdir(exist_ok=True)
    words = ["runs", "--data", configs["invented"], "--methods", *(configs[name] for name in methods), *more]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=500)
    return process.returncode, output, errors


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def without_measurements(value):
    if isinstance(value, dict):
        return {name: without_measurements(entry) for name, entry in value.items() if name not in MEASURED}
    return [without_measurements(entry) for entry in value] if isinstance(value, list) else value


def comparison(cwd):
    return without_measurements(json.loads((cwd / "runs" / "comparison.json").read_text()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs", "--data", "{data}"], "--methods is missing: give at least one configuration, such as configs/model/"),
        (["runs", "--methods", "{method}"], "--data is missing: give at least one configuration, such as configs/"),
        (["runs", "--data", "none.yaml", "--methods", "{method}"], "the configuration 'none.yaml' does not exist"),
        (["runs", "--data", "{data}+none.yaml", "--methods", "{method}"], "the configuration 'none.yaml' does not"),
        (["runs", "--data", "{data}", "--methods", "{method}", "{method}"], "two combinations have the name invented-"),
        (["runs", "--seeds", "0"], "--seeds 0 is out of range: give a number of seeds from 1 to 1,000"),
        (["runs", "--seeds", "99999999999999"], "--seeds 99999999999999 is out of range: give a number of seeds"),
        (["runs", "--seeds", "5000000000", "1"], "--seeds 5000000000 is out of range: give seeds from 0 to 4294967295"),
        (["runs", "--seeds", "3", "-1"], "--seeds -1 is out of range: give seeds from 0 to"),
        (["runs", "--seeds", "3", "3"], "--seeds 3 3 has a seed twice: give each once"),
        (["runs", "--seeds", "three"], "argument --seeds: invalid int value: 'three'; --help lists the options"),
        (["runs", "--jobs", "0"], "--jobs 0 is too small: give 1 or more"),
        (["runs", "--folds", "1"], "--folds 1 is too small: give 2 or more"),
        (["runs", "--launcher", "pbs"], "argument --launcher: invalid choice: 'pbs'"),
        (["runs", "--slurm", "partition=gpu"], "--slurm has no effect without --launcher slurm"),
        (["runs", "--launcher", "slurm", "--slurm", "gpu"], "--slurm 'gpu' is not of the form NAME=VALUE"),
        ([], "the following arguments are required: FOLDER"),
        (["runs", "--data", "{data}", "--methods", "{method}", "--model.min_d", "2"], "invented-tfidf: .*min_d"),
        (["runs", "--data", "{data}", "--methods", "{method}", "--seed_everything", "2"], ".*: give --seeds instead"),
        (["runs", "--data", "{data}", "--methods", "{method}", "--data.fold=2"], ".*: --folds tests each of them"),
        (["runs", "--data", "{data}", "--methods", "{method}", "--data.seed", "2"], ".*--data.seed cannot be the same"),
    ],
)
def test_mistakes_are_one_line(words, message, script, configs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert script.main([word.format(data=configs["invented"], method=configs["tfidf"]) for word in words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.match(f"run_all: error: {message}", line)
    assert not (tmp_path / "runs").exists()


def test_runs_of_different_data_sets_are_not_compared(script, tmp_path, capsys):
    folders = [str(write_run(tmp_path / data, data=data)) for data in ("One", "Two")]
    script.print_comparison(tmp_path, folders)
    assert capsys.readouterr().out == "2 complete, no two on one data set: nothing to compare\n"
    script.print_comparison(tmp_path, [])
    assert capsys.readouterr().out == "0 complete, no two on one data set: nothing to compare\n"
    assert not (tmp_path / "comparison.json").exists()


def test_failed_runs_are_reported_where_the_others_cannot_be_compared(script, tmp_path, monkeypatch, capsys):
    """Runs of one folder with other rows, such as of two versions of the data."""
    complete = [GridRun(write_run(tmp_path / name, name, rows=rows), ("fit",)) for name, rows in (("a", 50), ("b", 60))]
    failed = [(GridRun(tmp_path / "c" / "seed-0", ("fit",)), "no memory")]
    monkeypatch.setattr("textclf.run.grid_plan.plan", lambda *_: [])
    monkeypatch.setattr("textclf.run.grid.run_grid", lambda *_, **__: Outcome(complete, failed))
    assert script.main([str(tmp_path), "--data", "d", "--methods", "m"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0] == f"run_all: c/seed-0 failed: no memory (log: {failed[0][0].log})"
    assert "has 50 rows" in lines[1]


@pytest.fixture(scope="module")
def whole(configs, tmp_path_factory):
    """An undisturbed grid, two runs at a time, one of which fails."""
    cwd = tmp_path_factory.mktemp("whole")
    code, output, errors = finish(start(cwd, configs, "--jobs", "2", methods=("bad", "tfidf", "scratch")))
    return code, output, errors, comparison(cwd)


@pytest.mark.slow
def test_a_failing_run_does_not_stop_the_others(whole):
    code, output, errors, compared = whole
    assert code == 1
    lines = output.splitlines()
    assert [line.partition(", ")[0] for line in lines[:2]] == [
        "[0/3] invented-bad/seed-0: started",
        "[0/3] invented-tfidf/seed-0: started",
    ]
    assert sorted(re.findall(r"/3\] (\S+): (failed|done)", output)) == [
        ("invented-bad/seed-0", "failed"),
        ("invented-scratch/seed-0", "done"),
        ("invented-tfidf/seed-0", "done"),
    ]
    (values,) = compared["data_sets"].values()
    assert {run["name"] for run in values["runs"]} == {"TfidfClassifier", "FineTunedClassifier"}
    (line,) = errors.splitlines()
    log = "runs/logs/invented-bad-seed-0.log"
    assert re.match(rf"run_all: invented-bad/seed-0 failed: .*min_df.* \(log: {log}\)$", line)


@pytest.mark.slow
def test_a_killed_grid_goes_on(whole, configs, tmp_path):
    """SIGKILL ends the script and its runs; the second start does what is missing, and the table is the same."""
    process = start(tmp_path, configs)
    run = tmp_path / "runs" / "invented-scratch" / "seed-0"
    wait_for(run / "checkpoints" / "last.ckpt", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run / "report" / "metrics.json").exists()
    code, output, errors = finish(start(tmp_path, configs))
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0].startswith("[1/2] invented-tfidf/seed-0: skipped, done before, accuracy ")
    assert lines[1].startswith("[1/2] invented-scratch/seed-0: resumed, log ")
    assert lines[2].startswith("[2/2] invented-scratch/seed-0: done, accuracy ")
    assert comparison(tmp_path) == whole[-1]
    found = list((tmp_path / "runs").glob("*/seed-*"))
    assert len(found) == 2
    assert all(path.is_dir() for path in found), "a glob of run folders matches run folders only"


@pytest.mark.exhaustive
@pytest.mark.parametrize("victim", ["all", "run"])
@pytest.mark.parametrize("moment", ["config.yaml", "checkpoints/best.ckpt", "report/run.json", "report/metrics.json"])
def test_a_kill_at_any_moment(moment, victim, whole, configs, tmp_path):
    """SIGKILL of the script with its runs, or of one run alone, which the script reports."""
    process = start(tmp_path, configs)
    run = tmp_path / "runs" / "invented-scratch" / "seed-0"
    wait_for(run / moment, process)
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    else:
        for number in running(run):
            os.kill(number, signal.SIGKILL)
        code, output, errors = finish(process)
        is_complete = GridRun(run, ("fit",)).is_complete
        assert code == (0 if is_complete else 1), output
        assert is_complete or "run_all: invented-scratch/seed-0 failed: " in errors
    code, output, errors = finish(start(tmp_path, configs))
    assert (code, errors) == (0, "")
    assert len(re.findall(r": (skipped|done)", output)) == 2
    assert comparison(tmp_path) == whole[-1]


def running(run):
    """The processes of `textclf` that a run folder was named to."""
    numbers = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            words = path.read_bytes().split(b"\0")
            relative = b"runs/invented-scratch/seed-0"
            if b"textclf" in words and relative in words and Path(path.parent, "cwd").resolve() == run.parents[2]:
                numbers.append(int(path.parent.name))
    return numbers


@pytest.mark.exhaustive
def test_two_scripts_share_one_folder(configs, tmp_path):
    """Each run is done by one of them, the one that a killed script left behind included."""
    cwd = tmp_path / "shared"
    first = start(cwd, configs, "--seeds", "2", methods=["tfidf"])
    wait_for(cwd / "runs" / "logs" / "invented-tfidf-seed-0.log", first)
    first.kill()  # its run goes on
    first.communicate()
    both = [start(cwd, configs, "--seeds", "2", methods=["tfidf"]) for _ in range(2)]
    outputs = []
    for process in both:
        code, output, errors = finish(process)
        assert (code, errors) == (0, ""), errors
        outputs.append(output)
    for seed in (0, 1):
        log = (cwd / "runs" / "logs" / f"invented-tfidf-seed-{seed}.log").read_text()
        assert log.count("textclf: fit: ") == 1
    assert sum("seed-0: started" in output for output in outputs) == 0


SBATCH = """#!/bin/sh
for last in "$@"; do :; done
cp "$last" "$STUB/script"
export SLURM_JOB_ID=7 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_JOB_NUM_NODES=1
export SLURM_JOB_NODELIST=here
bash "$last" >"$STUB/output" 2>&1 &
echo Submitted batch job 7
"""
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do case "$1" in --output|--error) shift 2;; *) shift;; esac; done
exec "$@"
"""


@pytest.mark.slow
def test_jobs_of_slurm(configs, tmp_path, monkeypatch):
    """Stand-ins for SLURM's commands: `sbatch` starts its script at once; nothing is known of jobs that have ended."""
    for name, content in {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/sh\necho JobID\n"}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("STUB", str(tmp_path))
    more = ["--launcher", "slurm", "--slurm", "partition=gpu", "time=5", "nodelist=here"]
    code, output, _ = finish(start(tmp_path, configs, *more, methods=["tfidf"]))
    assert code == 0, (tmp_path / "output").read_text()
    assert "[1/1] invented-tfidf/seed-0: done, accuracy " in output
    script = (tmp_path / "script").read_text()
    for option in ("partition=gpu", "time=5", "nodelist=here"):
        assert f"#SBATCH --{option}\n" in script
