"""Which runs are found, and what is read of them."""

from pathlib import Path

import pytest

from tests.evaluation.run_folders import configuration, write_run, write_table
from textclf.errors import UserError
from textclf.evaluation.run_records import find_runs, read_run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/a/0"), "A", config=configuration(3, C=1), facts={"command": "fit", "cost": 0.5})
    write_run(Path("runs/b/0"), "B")
    write_table(Path("runs/a/0/report/validation/predictions.parquet"))
    write_table(Path("loose.parquet"))
    Path("runs/a/config.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["runs/*/0"], ["runs/a/0", "runs/b/0"]),
        (["runs/*/*"], ["runs/a/0", "runs/b/0"]),
        (["runs/b/0", "runs/*/0"], ["runs/b/0", "runs/a/0"]),  # the first one named is the baseline
        (["runs/a/0", "./runs/a/0/"], ["runs/a/0"]),
        (["runs/a/*/report/predictions.parquet"], ["runs/a/0"]),
        (["runs/a/0/report"], ["runs/a/0"]),
        (["runs/a/0/report/validation"], ["runs/a/0"]),
        (["*.parquet"], ["loose.parquet"]),
    ],
)
def test_runs_are_found(folder, patterns, found):
    assert [str(run.path) for run in find_runs(patterns)] == found


def test_what_is_read(folder):
    run = read_run(Path("runs/a/0"))
    assert (run.data_set, run.method, run.facts["cost"], run.fold) == ("Toy", "A", 0.5, None)
    assert run.config["data.seed"] == 42
    assert run.config["model.C"] == 1
    assert run.seeds == (3, 42, None)  # the last is the seed of few-shot examples
    assert "seed_everything" not in run.settings
    assert run.settings["model.C"] == 1
    assert len(run.table.ids) == 60


def test_a_table_alone(folder):
    run = read_run(Path("loose.parquet"))
    assert (run.data_set, run.method, run.config) == ("data", "loose", {})


def test_a_run_of_an_older_version_names_its_data(folder):
    """Before there was `data_set`, `data` named the class."""
    write_run(Path("old"), "A", data="Old", metrics={"data_set": None})
    assert read_run(Path("old")).data_set == "Old"
    write_run(Path("new"), "A", data="Old", metrics={"data_set": "Old (without StripWhitespace)"})
    assert read_run(Path("new")).data_set == "Old (without StripWhitespace)"


def test_a_validation_table_is_that_of_its_folder(folder):
    run = read_run(Path("runs/a/0/report/validation"))
    assert run.table_path == Path("runs/a/0/report/validation/predictions.parquet")
    assert run.config["model.C"] == 1


def test_damaged_yaml(folder):
    Path("runs/a/0/config.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.yaml: not YAML"):
        read_run(Path("runs/a/0"))
