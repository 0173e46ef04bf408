"""Run folders with the class paths of an earlier layout of the package: every command still reads them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from textclf.cli import main
from textclf.evaluation.prediction_table import read_predictions
from textclf.export import export_checkpoint, scores_of_folder
from textclf.models import FineTunedClassifier, TextClassifier, TfidfClassifier

FOLDERS = Path(__file__).parent / "run_folders"
CLASSES = {"tfidf": TfidfClassifier, "fine_tuned": FineTunedClassifier}
AS_STORED = ("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.logger", "false")
ROUNDING = 2e-6
"""Stored log-probabilities have six decimals."""


@pytest.fixture
def current_folder(tmp_path, monkeypatch):
    """A folder with copies of the run folders and their rows, as the runs were started in."""
    folder = tmp_path / "folder"
    shutil.copytree(FOLDERS, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return folder


@pytest.fixture(params=list(CLASSES))
def run(request, current_folder):
    """The relative path of a run folder."""
    return Path(request.param)


def scores_in(report, split):
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    return {name: value for name, value in metrics.items() if name.startswith(f"{split}/")}


def assert_same_predictions(found, stored, tolerance=ROUNDING):
    found, stored = (read_predictions(run / "report" / "predictions.parquet") for run in (found, stored))
    assert (found.ids, found.texts, found.label_names) == (stored.ids, stored.texts, stored.label_names)
    assert found.labels.tolist() == stored.labels.tolist()
    assert found.predictions.tolist() == stored.predictions.tolist()
    np.testing.assert_allclose(found.log_scores, stored.log_scores, rtol=0, atol=tolerance)


def test_the_checkpoint_alone_is_tested(run):
    main(["test", "--ckpt_path", str(run / "checkpoints" / "best.ckpt"), *AS_STORED, "--run_dir", "again"])
    assert_same_predictions(Path("again"), run)


def test_the_configuration_is_tested_with_its_callbacks_and_loggers(run):
    main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", "best", "--run_dir", "again"])
    assert_same_predictions(Path("again"), run)
    stored = scores_in(run / "report", "test")
    found = scores_in(Path("again/report"), "test")
    assert {name: found[name] for name in stored} == pytest.approx(stored, abs=1e-5)
    assert Path("again/metrics.csv").is_file()


@pytest.mark.slow
def test_the_checkpoint_is_validated(run):
    main(["validate", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *AS_STORED, "--run_dir", "again"])
    found = scores_in(Path("again/report/validation"), "validation")
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        logged = [row for row in csv.DictReader(file) if row["val/nll"]][-1]
    before_scaling = found.get("validation/nll_uncalibrated", found["validation/nll"])
    assert before_scaling == pytest.approx(float(logged["val/nll"]), abs=1e-5)


def test_the_checkpoint_predicts(run):
    best = str(run / "checkpoints" / "best.ckpt")
    main(["predict", "--ckpt_path", best, *AS_STORED[:4], "--input", "rows/test.csv", "--output", "answers.jsonl"])
    stored = read_predictions(run / "report" / "predictions.parquet")
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [answer["label"] for answer in answers] == [stored.label_names[i] for i in stored.predictions]
    scores = [[answer["scores"][name] for name in stored.label_names] for answer in answers]
    np.testing.assert_allclose(np.log(scores), stored.log_scores, rtol=0, atol=ROUNDING)


def test_the_checkpoint_is_loaded_from_python(run):
    model = TextClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt")
    assert type(model) is CLASSES[run.name]
    assert [type(step).__name__ for step in model.textclf.text_steps] == [
        "NormalizeUnicode",
        "RemoveControlCharacters",
        "StripWhitespace",
    ]
    stored = read_predictions(run / "report" / "predictions.parquet")
    labels = [answer["label"] for answer in model.classify(stored.texts)]
    assert labels == [stored.label_names[i] for i in stored.predictions]


@pytest.mark.slow
def test_training_goes_on_for_another_epoch(run):
    path = run / "checkpoints" / "last.ckpt"
    before = torch.load(path, weights_only=True)
    epochs = before["epoch"]
    more = ("--trainer.max_epochs", str(epochs + 1), "--trainer.logger", "false")
    main(["fit", "--config", str(run / "config.yaml"), "--run_dir", str(run), "--ckpt_path", "last", *more])
    after = torch.load(path, weights_only=True)
    assert after["epoch"] == epochs + 1
    assert after["global_step"] == before["global_step"] + before["global_step"] // epochs


def test_the_checkpoint_is_exported(current_folder):
    export_checkpoint("fine_tuned/checkpoints/best.ckpt", "exported")
    stored = read_predictions("fine_tuned/report/predictions.parquet")
    answers = scores_of_folder("exported", stored.texts)
    scores = [[answer[name] for name in stored.label_names] for answer in answers]
    np.testing.assert_allclose(np.log(scores), stored.log_scores, rtol=0, atol=ROUNDING)


@pytest.mark.slow
def test_the_configuration_trains_to_the_same_predictions(run):
    main(["fit", "--config", str(run / "config.yaml"), "--run_dir", "refitted"])
    assert_same_predictions(
        Path("refitted"), run, tolerance=1e-3
    )  # processors round differently, and training adds it up


@pytest.mark.slow
def test_a_resumed_run_is_the_run_without_a_break(current_folder):
    options = ("--config", "fine_tuned/config.yaml", "--trainer.max_epochs", "8", "--trainer.logger", "false")
    main(["fit", *options, "--run_dir", "refitted"])
    main(["fit", *options, "--run_dir", "fine_tuned", "--ckpt_path", "last"])
    assert_same_predictions(Path("refitted"), Path("fine_tuned"), tolerance=1e-3)
