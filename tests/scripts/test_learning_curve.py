import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from textclf.data import KorSAEDataModule

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_interval_of_a_mean(script):
    point = script.interval(4, [0.5, 0.6, 0.7])
    assert point.mean == pytest.approx(0.6)
    # Student's t with two degrees of freedom: 4.3027 times the standard error, 0.1 / sqrt(3).
    assert point.high - point.mean == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert point.high - point.mean == pytest.approx(point.mean - point.low)
    assert math.isnan(script.interval(4, [0.5]).low)


def test_the_interval_covers_the_mean_as_often_as_it_says(script):
    draw = np.random.default_rng(0)
    points = [script.interval(1, draw.normal(size=4).tolist()) for _ in range(2000)]
    assert np.mean([point.low <= 0 <= point.high for point in points]) == pytest.approx(0.95, abs=0.02)


@pytest.fixture
def arguments(rows_folder, tmp_path):
    config = {
        "model": {"class_path": "TfidfClassifier", "init_args": {"min_df": 1}},
        "data": {"class_path": "FilesDataModule", "init_args": {"data_dir": str(rows_folder)}},
        "trainer": {"accelerator": "cpu", "logger": False},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    return [str(tmp_path / "curve"), "--config", str(tmp_path / "small.yaml"), "--seeds", "0", "1"]


@pytest.mark.slow
def test_a_curve_is_measured_and_goes_on_where_it_was(script, arguments, tmp_path, capsys):
    folder = tmp_path / "curve"
    assert script.main([*arguments, "--shots", "2"]) == 0
    runs = sorted(path.name for path in folder.glob("shots-*"))
    assert runs == ["shots-2-seed-0", "shots-2-seed-1"]
    reports = [folder / run / "report" / "metrics.json" for run in runs]
    before = [path.stat().st_mtime_ns for path in reports]
    assert script.main([*arguments, "--shots", "8", "2"]) == 0
    assert [path.stat().st_mtime_ns for path in reports] == before
    with (folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["shots"] for row in rows] == ["2", "8"]
    scores = [json.loads(path.read_text())["test/macro_f1"] for path in reports]
    assert float(rows[0]["mean"]) == pytest.approx(np.mean(scores))
    config = yaml.safe_load((folder / "shots-8-seed-1" / "config.yaml").read_text())
    data = config["data"]["init_args"]
    assert (data["shots_per_class"], data["seed"], config["seed_everything"]) == (8, 1, 1)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "95 % interval" in capsys.readouterr().out


@pytest.mark.slow
def test_a_test_split_that_is_made_from_train_leaves_the_curve_its_shots(script, tmp_path):
    """Each class has words of its own, 16 of them: with more shots, more of them are known."""
    names = KorSAEDataModule.label_names
    rows = [f"{chr(0xAC00 + 16 * label + i % 16)} {i},{name}" for i in range(120) for label, name in enumerate(names)]
    (tmp_path / "rows").mkdir()
    lines = "\n".join(["intent_pair1,label", *rows])
    (tmp_path / "rows" / "train.csv").write_text(lines + "\n", encoding="utf-8")
    folder = tmp_path / "curve"
    data = ["--data", "KorSAEDataModule", "--data.data_dir", str(tmp_path / "rows"), "--trainer.logger", "false"]
    method = ["--config", str(CONFIGS / "model" / "tfidf.yaml"), "--model.min_df", "1"]
    assert script.main([str(folder), *method, *data, "--shots", "1", "64", "--seeds", "0"]) == 0
    for shots in (1, 64):
        with (folder / f"shots-{shots}-seed-0" / "cleaning.csv").open() as file:
            left = {row["split"]: int(row["rows"]) for row in csv.DictReader(file)}
        assert left == {"train": 6 * shots, "validation": 60, "test": 144}
    with (folder / "curve.csv").open() as file:
        few, many = (float(row["mean"]) for row in csv.DictReader(file))
    assert few < many - 0.1


@pytest.mark.slow
def test_the_nearest_centroid_from_few_rows(script, arguments, tiny_encoder, tmp_path):
    model = ["--model", "NearestCentroid", "--model.pretrained", str(tiny_encoder)]
    assert script.main([*arguments, *model, "--shots", "1", "8"]) == 0
    with (tmp_path / "curve" / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        scores = []
        for seed in (0, 1):
            run = tmp_path / "curve" / f"shots-{row['shots']}-seed-{seed}"
            scores.append(json.loads((run / "report" / "metrics.json").read_text())["test/macro_f1"])
            kept = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["textclf"]["fitted"]
            assert kept["class_counts"] == [int(row["shots"])] * 2
        assert (float(row["mean"]), row["draws"]) == (pytest.approx(np.mean(scores)), "2")


@pytest.mark.slow
def test_runs_with_other_arguments_are_not_reused(script, arguments, tmp_path, capsys):
    assert script.main([*arguments, "--shots", "2"]) == 0
    capsys.readouterr()
    assert script.main([*arguments, "--shots", "2", "--model.C", "3"]) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    assert "holds runs with arguments --config" in line
    config = tmp_path / "small.yaml"
    config.write_text(config.read_text().replace("min_df: 1", "min_df: 2"))
    assert script.main([*arguments, "--shots", "2"]) == 2
    assert f"another content of {config}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_starts_again(script, arguments, tmp_path):
    run = tmp_path / "curve" / "shots-2-seed-0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("half: written")
    assert script.main([*arguments, "--shots", "2"]) == 0
    assert (run / "report" / "metrics.json").is_file()


@pytest.mark.slow
def test_the_curve_ends_where_rows_do(script, arguments, tmp_path, capsys):
    assert script.main([*arguments, "--shots", "2", "64", "32"]) == 0
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("learning_curve: the curve ends here (shots-32-seed-0: shots_per_class 32 is more than")
    with (tmp_path / "curve" / "curve.csv").open() as file:
        assert [row["shots"] for row in csv.DictReader(file)] == ["2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--shots", "31"], ["shots-31-seed-0: shots_per_class 31 is more than the 30 rows"]),
        (["--shots", "2", "--metric", "accuracy"], ["--metric 'accuracy'", "test/accuracy"]),
        (["--shots", "2", "--model.min_d", "1"], ["'min_d'"]),
    ],
)
def test_mistakes_are_one_line(script, arguments, more, words, capsys):
    assert script.main([*arguments, *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("learning_curve: error: ")
    assert len(error) == 1
    for word in words:
        assert word in error[-1]


def test_a_corrected_command_may_use_the_same_folder(script, arguments, tmp_path, monkeypatch, capsys):
    assert script.main([*arguments, "--shots", "2", "--model.min_d", "1"]) == 2
    assert "'min_d'" in capsys.readouterr().err
    passed = []
    monkeypatch.setattr(script, "fit", lambda arguments, log: passed.append(arguments) or "stopped here")
    assert script.main([*arguments, "--shots", "2", "--model.min_df", "1"]) == 2
    assert "stopped here" in capsys.readouterr().err
    assert "--model.min_df" in passed[0]
    known = json.loads((tmp_path / "curve" / "arguments.json").read_text())
    assert known["arguments"][-2:] == ["--model.min_df", "1"]


def test_a_file_in_place_of_the_folder(script, arguments, tmp_path, capsys):
    (tmp_path / "curve").write_text("")
    assert script.main(arguments) == 2
    assert "is a file: name a folder" in capsys.readouterr().err


def test_ctrl_c_in_a_run_stops_all_runs(script, arguments, monkeypatch, capsys):
    def interrupted(arguments):
        raise SystemExit(130)

    monkeypatch.setattr("textclf.cli.main", interrupted)
    assert script.main([*arguments, "--shots", "2"]) == 130
    assert capsys.readouterr().err.strip() == "learning_curve: stopped by Ctrl-C"
