"""`predict` from end to end, with a small TF-IDF model."""

import json

import pyarrow.parquet as pq
import pytest
import torch

from textclf.cli import main
from textclf.data.read_files import open_rows
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import TextClassifier

CPU = ["--trainer.accelerator", "cpu", "--trainer.precision", "32-true"]


@pytest.fixture(scope="module")
def fitted(rows_folder, tmp_path_factory):
    """The run folder of a TF-IDF model with tuned thresholds."""
    run = tmp_path_factory.mktemp("fitted") / "run"
    method = ["--data", "FilesDataModule", "--model", "TfidfClassifier", "--model.min_df", "1"]
    options = ["--data.data_dir", str(rows_folder), "--trainer.logger", "false", "--run_dir", str(run)]
    main(["fit", *method, *options, *CPU, "--trainer.callbacks+=TunedThresholds"])
    return run


@pytest.fixture(scope="module")
def decided(fitted):
    """Its checkpoint with thresholds that answer `positive` unless the text is nearly surely negative."""
    checkpoint = torch.load(fitted / "checkpoints/best.ckpt", weights_only=True)
    assert set(checkpoint["textclf"]["thresholds"]) == {"negative", "positive"}
    checkpoint["textclf"]["thresholds"] = {"negative": 0.999, "positive": 0.001}
    torch.save(checkpoint, fitted / "decided.ckpt")
    return fitted / "decided.ckpt"


@pytest.mark.slow
def test_predict_says_when_thresholds_decided(decided, tmp_path, capsys):
    texts = ["dull film", "a great film", ""]
    output = tmp_path / "out.parquet"
    main(["predict", "--ckpt_path", str(decided), *CPU, "--texts", json.dumps(texts), "--output", str(output)])
    main(["predict", "--ckpt_path", str(decided), *CPU, "--texts", json.dumps(texts)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(lines[0]) == ["id", "text", "label", "score", "scores", "decision", "thresholded_scores"]
    assert lines[0]["scores"]["negative"] > 0.5
    assert lines[0]["label"] == "positive"
    for line, row in zip(lines, pq.read_table(output).to_pylist(), strict=True):
        assert line["decision"] == "thresholds"
        assert line["label"] == max(line["thresholded_scores"], key=line["thresholded_scores"].get)
        assert {name: dict(v) if isinstance(v, list) else v for name, v in row.items()} == line
    answers = TextClassifier.load_from_checkpoint(decided).classify(texts)
    assert [(a["label"], a["decision"]) for a in answers] == [(line["label"], "thresholds") for line in lines]


@pytest.mark.slow
def test_a_report_says_when_thresholds_decided(fitted):
    table = read_predictions(fitted / "report/predictions.parquet")
    assert set(table.thresholds) == {"negative", "positive"}
    assert "highest probability divided by its threshold" in (fitted / "report/report.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flag", [["--keep_all"], ["--keep_all", "true"], ["--keep", "[label, author]"], ["--keep=author", "--keep_all"]]
)
def test_predict_carries_columns_along(fitted, tmp_path, flag):
    (tmp_path / "in.csv").write_text('text,label,author\n"dull, film",x,kim\ngreat,,lee\n')
    checkpoint = str(fitted / "checkpoints/best.ckpt")
    source, output = str(tmp_path / "in.csv"), tmp_path / "out.csv"
    main(["predict", "--ckpt_path", checkpoint, *CPU, "--input", source, "--output", str(output), *flag])
    rows = [row.values for row in open_rows(output)]
    assert [(row["text"], row["input_label"], row["author"]) for row in rows] == [
        ("dull, film", "x", "kim"),
        ("great", "", "lee"),
    ]
    assert {row["decision"] for row in rows} == {"thresholds"}
