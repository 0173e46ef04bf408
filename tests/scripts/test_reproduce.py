"""`scripts/reproduce.py`: a run is repeated from its folder, and compared."""

import json
import shutil
from pathlib import Path

import pytest

from textclf.cli import main as textclf

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(rows_folder, tmp_path_factory):
    """A folder with rows, which a run names by a relative path."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(rows_folder, folder / "rows")
    configs = (ROOT / "configs" / "files.yaml", ROOT / "configs" / "model" / "tfidf.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        textclf(
            [
                *("fit", *(f"--config={config}" for config in configs), "--data.data_dir", "rows", "--run_dir", "run"),
                *("--model.min_df=1", "--trainer.logger", "textclf.run.MetricsCSV", "--trainer.callbacks", "[]"),
            ]
        )
    return folder


@pytest.mark.slow
def test_a_run_that_was_moved_is_repeated_from_another_folder(script, project, tmp_path, monkeypatch, capfd):
    moved = shutil.copytree(project / "run", tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert script.main(["moved", "--run_dir", "again", "--json", "found.json"]) == 0
    assert "test: 21 predictions with their scores, and all metrics, equal to the bit" in capfd.readouterr().out
    (found,) = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert (found["run"], found["result"], found["data"]) == ("moved", "equal to the bit", [])
    assert [each["name"] for each in found["checkpoints"]] == ["best.ckpt", "last.ckpt"]
    assert (moved / "report" / "predictions.parquet").read_bytes()
    # A folder that holds something is refused before anything is run.
    assert script.main(["moved", "--run_dir", "again"]) == 2
    assert "is there already: name another folder by --run_dir" in capfd.readouterr().err
    # What was computed with another option is different, and the exit code says so.
    assert script.main(["moved", "--run_dir", "other", "--model.C", "30"]) == 1
    said = capfd.readouterr().out
    assert "test: 0 of 21 predictions differ, log-probabilities by at most " in said
    assert "best.ckpt: 2 of 6 entries differ, weights by at most " in said


def test_the_current_folder_is_repeated_next_to_itself(script, project, monkeypatch):
    targets = []
    monkeypatch.setattr(
        script, "repeated", lambda folder, target, more: targets.append(target) or {"result": "different"}
    )
    monkeypatch.chdir(project / "run")
    assert script.main(["."]) == 1
    assert targets == [project / "run-reproduced"]


def test_nothing_is_run_where_the_data_has_changed(script, project, tmp_path, capsys):
    rows = shutil.copytree(project / "rows", tmp_path / "rows")
    with (rows / "train.csv").open("a", encoding="utf-8") as file:
        file.write("one row more,negative\n")
    run, again = str(project / "run"), tmp_path / "again"
    assert script.main([run, "--run_dir", str(again), "--data.data_dir", str(rows)]) == 1
    assert "different: the train rows have changed: fingerprint " in capsys.readouterr().out
    assert not again.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone"], "'gone' has no config.yaml: give the folder of a run"),
        (["gone", "gone2", "--run_dir", "x"], "--run_dir is the folder of one repetition"),
        (["{run}", "gone"], "'gone' has no config.yaml: give the folder of a run"),
        (["{run}", "{run}/."], "is given twice: give each run once"),
        (["{run}", "{run}/report/.."], "is given twice: give each run once"),
        (["{run}", "--data.data_dir", "nowhere"], "nowhere"),
        (["{run}", "--data.unknown", "1"], "unknown"),
    ],
)
def test_errors_are_one_line(script, project, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert script.main([word.format(run=project / "run") for word in words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("reproduce: error: ")
    assert said in error
    assert list(tmp_path.iterdir()) == []
