"""How a run is repeated, and what differs before the repetition and after it."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from textclf import run_experiment
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.prediction_table import write_predictions
from textclf.models import TfidfClassifier
from textclf.run.reproduction import (
    checkpoint_differences,
    data_differences,
    environment_differences,
    read_recorded_run,
    report_differences,
)

NAMES = ("negative", "positive")


@pytest.fixture(scope="module")
def run(rows_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduction") / "run"
    model = TfidfClassifier(2, NAMES, min_df=1)
    run_experiment(model, FilesDataModule(str(rows_folder)), run_dir=folder, logger=False, accelerator="cpu")
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "copy"))


def changed(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_was_run_is_read_from_the_folder(run):
    recorded = read_recorded_run(run)
    assert (recorded.command, recorded.checkpoint) == ("fit", None)
    assert recorded.fingerprints.keys() == {"train", "validation", "test"}
    assert recorded.fingerprints["test"] == recorded.facts["data_fingerprint"]
    assert recorded.working_directory == Path.cwd()
    threads = str(torch.get_num_threads())
    assert recorded.environment == {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    assert recorded.repetition(Path("again"))[:5] == ["fit", "--config", f"{run}/config.yaml", "--run_dir", "again"]


def test_the_folder_that_a_run_was_started_in_may_be_gone(copy, monkeypatch):
    changed(copy / "report" / "run.json", working_directory=str(copy / "gone"))
    monkeypatch.chdir(copy)
    assert read_recorded_run(copy).working_directory == copy


def test_a_test_is_repeated_with_its_checkpoint(copy):
    shutil.rmtree(copy / "checkpoints")
    changed(copy / "report" / "metrics.json", checkpoint="else/best.ckpt")
    for command in ("test --config x", None):
        changed(copy / "report" / "run.json", command=command)
        recorded = read_recorded_run(copy)
        assert (recorded.command, recorded.repetition(Path("x"))[-2:]) == ("test", ["--ckpt_path", "else/best.ckpt"])


def test_a_run_of_an_earlier_version_has_the_hash_of_its_scored_rows(copy):
    changed(copy / "report" / "run.json", fingerprints=None)
    recorded = read_recorded_run(copy)
    assert recorded.fingerprints == {"test": recorded.facts["data_fingerprint"]}


@pytest.mark.parametrize(
    ("removed", "said"),
    [("config.yaml", "has no config.yaml: give the folder of a run"), ("report", "has no report to compare with")],
)
def test_what_is_no_finished_run_is_refused(copy, removed, said):
    path = copy / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=said):
        read_recorded_run(copy)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"versions": {"torch": "1.0"}}, "torch: 1.0 then, 2."),
        ({"versions": {"gone": "1.0"}}, "gone: 1.0 then, not installed now"),
        ({"commit": "abc"}, "commit: abc then, "),
        ({"uncommitted_changes": True}, "textclf had changes then that were not committed"),
        ({"cpu": "Z80"}, "processor: Z80 then, "),
        ({"cpu": None}, "processor: unknown then, "),
        ({"seed": None}, "the run had no seed"),
    ],
)
def test_what_is_different_now(run, facts, said):
    recorded = {**read_recorded_run(run).facts, "uncommitted_changes": False}
    before = environment_differences(recorded)
    new = [line for line in environment_differences({**recorded, **facts}) if line not in before]
    assert [line for line in new if line.startswith(said)], new
    assert environment_differences({}) == ["the run has no run.json: versions, commit and data cannot be checked"]


@pytest.mark.parametrize(("split", "named"), [("train", ["train"]), ("test", ["test"]), (None, [])])
def test_splits_whose_rows_have_changed(run, rows_folder, tmp_path, split, named):
    rows = Path(shutil.copytree(rows_folder, tmp_path / "rows"))
    if split is not None:
        with (rows / f"{split}.csv").open("a", encoding="utf-8") as file:
            file.write("one row more,negative\n")
    lines = data_differences(read_recorded_run(run).fingerprints, FilesDataModule(str(rows)))
    assert [line.split(" rows have changed: fingerprint ")[0] for line in lines] == [f"the {each}" for each in named]


def test_rows_that_were_reserved_of_a_test_split_are_compared(rows_folder, tmp_path):
    shutil.copy(rows_folder / "test.csv", tmp_path)
    before = FilesDataModule(str(tmp_path))
    before.reserve_test_rows()
    before.setup()
    assert before.fingerprints().keys() == {"train", "test"}
    assert data_differences(before.fingerprints(), FilesDataModule(str(tmp_path))) == []


def test_equal_runs(run, copy):
    differences = [*report_differences(run, copy), *checkpoint_differences(run, copy)]
    assert all(each.is_equal for each in differences)
    assert [line for each in differences for line in each.lines()] == [
        "test: 21 predictions with their scores, and all metrics, equal to the bit",
        "validation: 20 predictions with their scores, and all metrics, equal to the bit",
        "best.ckpt: 6 entries, equal to the bit",
        "last.ckpt: 6 entries, equal to the bit",
    ]


def test_metrics_that_are_measured_or_depend_on_a_cache_may_differ(run, copy):
    changed(copy / "report" / "metrics.json", time="now", examples_per_second=3, checkpoint="x", **{"chat/cached": 1})
    changed(run / "report" / "metrics.json", **{"chat/cached": 0})
    assert next(report_differences(run, copy)).is_equal
    changed(copy / "report" / "metrics.json", **{"test/accuracy": 0.25})
    different = next(report_differences(run, copy))
    assert not different.is_equal
    assert different.lines()[-1].startswith("  test/accuracy: ")
    assert different.lines()[-1].endswith(" then, 0.25 now")


def table(folder, scores, text="a"):
    rows = {"id": ["0", "1"], "text": [text, "b"], "label": [0, 1]}
    scores = np.array(scores)
    classes = np.where(np.isnan(scores[:, 0]), -1, scores.argmax(axis=1))
    path = folder / "report" / "predictions.parquet"
    write_predictions(path, [rows], predictions=classes, log_scores=scores, label_names=NAMES)
    (folder / "report" / "metrics.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("scores", "predictions", "largest"),
    [
        ([[-1.0, -2.0], [-3.0, -1.0]], 0, 0.0),
        ([[-1.0, -2.25], [-3.0, -1.0]], 0, 0.25),
        ([[-1.0, -0.5], [-3.0, -1.0]], 1, 1.5),
        ([[-1.0, -math.inf], [-3.0, -1.0]], 0, math.inf),
        ([[-1.0, -2.0], [math.nan, math.nan]], 1, math.inf),
    ],
)
def test_differences_of_tables(tmp_path, scores, predictions, largest):
    first = table(tmp_path / "first", [[-1.0, -2.0], [-3.0, -1.0]])
    (different,) = report_differences(first, table(tmp_path / "second", scores))
    assert (different.rows, different.predictions, different.largest) == (2, predictions, largest)
    assert different.is_equal == (largest == 0)


def test_tables_of_other_rows_cannot_be_compared(tmp_path):
    scores = [[-1.0, -2.0], [-3.0, -1.0]]
    (different,) = report_differences(table(tmp_path / "1", scores), table(tmp_path / "2", scores, text="c"))
    assert not different.is_equal
    assert different.lines() == ["test: other rows were scored, so predictions cannot be compared"]


def test_a_missing_report_is_named(run, copy):
    shutil.rmtree(copy / "report" / "validation")
    with pytest.raises(UserError, match="no report of the validation split"):
        list(report_differences(run, copy))


def test_weights_that_differ(run, copy):
    path = copy / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["textclf"]["fitted"]["intercepts"] += 0.5
    torch.save(checkpoint, path)
    best, last = checkpoint_differences(run, copy)
    assert (best.different, best.largest, last.is_equal) == (["fitted.intercepts"], 0.5, True)
    assert best.lines() == ["best.ckpt: 1 of 6 entries differ, weights by at most 0.5"]
