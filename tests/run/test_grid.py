"""A grid of runs: which there are, whose configuration they have, and whether they are complete."""

import subprocess
from pathlib import Path

import pytest

from textclf.errors import UserError
from textclf.run.grid import claim, make_executor
from textclf.run.grid_job import GridRun, is_locked, locked
from textclf.run.grid_plan import plan


@pytest.fixture
def configs(tmp_path):
    """Files of configurations; their content is given by `Cells`."""
    paths = {}
    for name in ("invented", "tfidf", "more"):
        path = tmp_path / f"{name}.yaml"
        path.touch()
        paths[name] = str(path)
    return paths


class Cells:
    """Stands in for the command line: a configuration for each pair of files."""

    def __init__(self, rows, **model):
        self.data = {"class_path": "textclf.data.FilesDataModule", "init_args": {"data_dir": str(rows), "seed": 42}}
        self.model = {"class_path": "textclf.models.TfidfClassifier", "init_args": {}} | model
        self.asked = []

    def merge(self, words):
        self.asked.append(words)
        folds = {"folds": 2, "fold": 0} if "--data.folds" in words else {}
        data = {**self.data, "init_args": self.data["init_args"] | folds}
        return {"seed_everything": 42, "model": self.model, "data": data}

    def plan(self, root, configs, folds=None):
        return plan(root, [configs["invented"]], [configs["tfidf"]], ["--data.limit", "5"], folds, self.merge)


def test_seeds_and_folds_of_a_trained_method(configs, rows_folder, tmp_path):
    (cell,) = Cells(rows_folder).plan(tmp_path / "runs", configs)
    runs = cell.runs([0, 7], None)
    assert [run.name for run in runs] == ["invented-tfidf/seed-0", "invented-tfidf/seed-7"]
    files = ("--config", configs["invented"], "--config", configs["tfidf"])
    seeds = ("--seed_everything", "7", "--data.seed", "7")
    assert runs[1].arguments == ("fit", *files, "--data.limit", "5", *seeds)
    (cell,) = Cells(rows_folder).plan(tmp_path / "runs", configs, folds=2)
    runs = cell.runs([3, 4], 2)
    assert [run.folder.name for run in runs] == ["seed-3-fold-0", "seed-3-fold-1", "seed-4-fold-0", "seed-4-fold-1"]
    assert runs[1].arguments[-8:] == (
        "--data.folds",
        "2",
        "--seed_everything",
        "3",
        "--data.seed",
        "3",
        "--data.fold",
        "1",
    )


CAUSAL = "textclf.models.CausalLMClassifier"


@pytest.mark.parametrize(
    ("model", "splits", "command", "options"),
    [
        ({"class_path": "textclf.models.LinearProbe"}, ("train", "test"), "fit", ["--seed_everything", "--data.seed"]),
        ({"class_path": "textclf.models.LinearProbe"}, ("test",), "fit", ["--seed_everything"]),
        ({"class_path": "textclf.models.EmbeddingZeroShot"}, ("train", "test"), "test", []),
        ({"class_path": CAUSAL, "init_args": {"shots": 0, "shot_seed": 42}}, ("train", "test"), "test", []),
        (
            {"class_path": CAUSAL, "init_args": {"shots": 4, "shot_seed": 42}},
            ("train", "test"),
            "test",
            ["--seed_everything", "--data.seed", "--model.shot_seed"],
        ),
        (
            {"class_path": CAUSAL, "init_args": {"shots": 4, "shot_seed": 42}},
            ("test",),  # rows are reserved by the seed of the data: others would be tested
            "test",
            ["--seed_everything", "--model.shot_seed"],
        ),
    ],
)
def test_what_the_seed_varies(model, splits, command, options, configs, tmp_path):
    for split in splits:
        (tmp_path / f"{split}.csv").write_text("text,label\na,x\nb,y\n")
    (cell,) = Cells(tmp_path, **model).plan(tmp_path / "runs", configs)
    assert (cell.command, list(cell.varied)) == (command, options)
    assert len(cell.runs([0, 1, 2], None)) == (3 if options else 1)


def test_configurations_of_several_files(configs, tmp_path, rows_folder):
    (tmp_path / "c++").mkdir()
    odd = tmp_path / "c++" / "odd.yaml"
    odd.write_text("data: {}")
    data = [f"{configs['invented']}+{configs['more']}", str(odd)]
    cells = plan(tmp_path / "runs", data, [configs["tfidf"]], [], None, Cells(rows_folder).merge)
    assert [cell.folder.name for cell in cells] == ["invented-more-tfidf", "odd-tfidf"]
    assert cells[0].arguments[:4] == ("--config", configs["invented"], "--config", configs["more"])


def test_runs_of_another_configuration_are_not_reused(configs, rows_folder, tmp_path):
    cells = Cells(rows_folder)
    root = tmp_path / "runs"
    (before,) = cells.plan(root, configs)
    claim(root, [before])
    claim(root, [before])
    run = before.folder / "seed-0"
    (run / "checkpoints").mkdir(parents=True)
    cells.data["init_args"]["val_size"] = 0.2
    (after,) = cells.plan(root, configs)
    claim(root, [after])
    assert not run.exists()  # it was cut off, and would have been resumed with another configuration
    (run / "report").mkdir(parents=True)
    (run / "report" / "metrics.json").touch()
    with pytest.raises(UserError, match=r"invented-tfidf' holds runs with data.val_size 0.2, not null: name another"):
        claim(root, [before])
    assert run.exists()


def test_a_folder_that_cannot_be_written(configs, rows_folder, tmp_path):
    (tmp_path / "file").touch()
    for root, why in ((tmp_path / "file", "is a file: name a folder"), (Path("/proc/runs"), "cannot be written")):
        with pytest.raises(UserError, match=why):
            claim(root, Cells(rows_folder).plan(root, configs))


def test_a_run_is_complete_once_its_test_is_recorded(tmp_path):
    run = GridRun(tmp_path / "seed-0", ("fit",))
    report = run.folder / "report"
    report.mkdir(parents=True)
    for name in ("predictions.parquet", "metrics.json", "report.txt"):
        assert not run.is_complete
        (report / name).touch()
    for content, is_complete in (("{}", False), ('{"ended": null}', False), ('{"ended": "2026-01-01"}', True)):
        (report / "run.json").write_text(content)
        assert run.is_complete == is_complete


def test_the_lock_lasts_as_long_as_the_run(tmp_path):
    """A child that inherited the lock keeps it when its parent is gone."""
    folder = tmp_path / "seed-0"
    assert not is_locked(folder)
    with locked(folder, wait=True) as lock:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock])
    assert is_locked(folder)
    child.communicate()
    assert not is_locked(folder)


def test_no_slurm_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"--launcher slurm: .*srun.*: run this on a machine that submits SLURM jobs"):
        make_executor("slurm", tmp_path / "jobs", {})
