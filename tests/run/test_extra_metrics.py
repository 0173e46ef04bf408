"""Metrics that are added by their class paths."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from tests.several_processes import run_on_processes
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.named_metrics import NamedMetric
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import TextClassifier
from textclf.run.extra_metrics import ExtraMetrics

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("negative", "positive")
PREFIX = "torchmetrics.classification"
KAPPA, AUROC = f"{PREFIX}.MulticlassCohenKappa", f"{PREFIX}.MulticlassAUROC"


class BrierLoss:
    """A metric of one's own, with nothing of torchmetrics."""

    def __init__(self):
        self.sum, self.rows = 0.0, 0

    def update(self, preds, target):
        wrong = preds - torch.nn.functional.one_hot(target, preds.shape[1])
        self.sum += float((wrong**2).sum())
        self.rows += len(target)

    def compute(self):
        return self.sum / self.rows


class ByLength(TextClassifier):
    """Says by the number of characters how probable class 1 is; no answer for every seventh text."""

    skips = False

    def log_scores(self, batch):
        share = torch.tensor([(len(text) * 7 % 10 + 0.5) / 10 for text in batch["text"]])
        scores = torch.stack([1 - share, share], 1).log()
        skipped = [self.skips and len(text) % 7 == 0 for text in batch["text"]]
        return scores.masked_fill(torch.tensor(skipped)[:, None], torch.nan)


class InNumPy(BrierLoss):
    def compute(self):
        return np.float32(super().compute())


@pytest.mark.parametrize(
    ("entry", "classes", "name", "given"),
    [
        (KAPPA, 3, "cohen_kappa", "predictions"),
        (AUROC, 3, "auroc", "probabilities"),
        (AUROC, 2, "auroc", "probabilities"),
        (f"{PREFIX}.BinaryAUROC", 2, "auroc", "probability"),  # it would take predictions, and be wrong
        (f"{PREFIX}.BinaryF1Score", 2, "f1_score", "predictions"),
        ({"class_path": f"{PREFIX}.BinaryF1Score", "init_args": {"threshold": 0.3}}, 2, "f1_score", "probability"),
        (f"{PREFIX}.MulticlassAccuracy", 3, "multiclass_accuracy", "predictions"),
        ({"class_path": f"{PREFIX}.MulticlassAccuracy", "init_args": {"top_k": 2}, "name": "top2"}, 5, "top2", None),
        ("torchmetrics.CohenKappa", 4, "cohen_kappa", "predictions"),
        ({"class_path": "torchmetrics.MeanSquaredError", "given": "predictions"}, 2, "mean_squared_error", None),
        (f"{__name__}.BrierLoss", 3, "brier_loss", "probabilities"),
        (f"{__name__}.BrierLoss", 2, "brier_loss", "probabilities"),
        (f"{__name__}.InNumPy", 2, "in_num_py", "probabilities"),
    ],
)
def test_a_metric_is_given_what_it_depends_on(entry, classes, name, given):
    metric = NamedMetric.of(entry)
    expected = given or ("probabilities" if name == "top2" else "predictions")
    assert (metric.name, metric.wants(classes)) == (name, expected)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("MulticlassCohenKappa", "is not a dotted path: write it as torchmetrics.classification.MulticlassCohenKappa"),
        ("torchmetrics.Nothing", "'torchmetrics' has no 'Nothing'"),
        ("nowhere.Metric", "there is no module 'nowhere'"),
        ("os.path.join", "is not a class with update"),
        ({"init_args": {}}, "'class_path' in"),
        ({"class_path": KAPPA, "arguments": {}}, "'arguments' in"),
        ({"class_path": KAPPA, "given": "logits"}, "given 'logits'"),
        ({"class_path": KAPPA, "name": "accuracy"}, "would take the place of 'accuracy'"),
        ({"class_path": KAPPA, "name": "mcc_low"}, "would take the place of 'mcc_low'"),
        ({"class_path": KAPPA, "init_args": {"weight": 1}}, "`weight`: change its init_args"),
        (f"{PREFIX}.MulticlassConfusionMatrix", r"gives values of shape \(3, 3\), and one number is wanted"),
        (f"{PREFIX}.MulticlassROC", "gives a tuple, and one number is wanted"),
        (f"{PREFIX}.BinaryAUROC", "is for 2 classes, and the data has 3"),
        ("torchmetrics.text.CharErrorRate", r"fails with all inputs .*predictions: \w+: .*probabilities: \w+: "),
    ],
)
def test_what_cannot_be_a_metric_is_refused_in_one_line(entry, words):
    with pytest.raises(UserError, match=words):
        NamedMetric.of(entry).wants(3)


def test_a_single_class_path_is_a_list_of_one():
    assert [metric.name for metric in ExtraMetrics(KAPPA).metrics] == ["cohen_kappa"]


def test_two_metrics_of_one_name_are_refused():
    with pytest.raises(UserError, match="two are called 'cohen_kappa'"):
        ExtraMetrics([KAPPA, {"class_path": KAPPA, "init_args": {"weights": "quadratic"}}])


def trained_nothing(rows_folder, metrics, names=NAMES, **options):
    data = FilesDataModule(str(rows_folder), label_names=list(names), eval_batch_size=4)
    trainer = Trainer(callbacks=[ExtraMetrics(metrics)], logger=False, accelerator="cpu", enable_progress_bar=False)
    model = ByLength(2, NAMES)
    for name, value in options.items():
        setattr(model, name, value)
    (test,) = trainer.test(model, datamodule=data, verbose=False)
    (validation,) = trainer.validate(model, datamodule=data, verbose=False)
    return test | validation


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]])
@pytest.mark.parametrize("split", ["test", "validation"])
def test_values_are_those_of_scikit_learn_with_a_plain_trainer(split, names, rows_folder):
    """Class 1 is that of the data, whatever the order of the model's labels."""
    metrics = [KAPPA, f"{PREFIX}.BinaryAUROC", f"{__name__}.BrierLoss"]
    logged = trained_nothing(rows_folder, metrics, names)
    rows = FilesDataModule(str(rows_folder), label_names=list(names)).rows(split)
    labels, model = np.array(rows["label"]), ByLength(2, NAMES)
    probabilities = model.log_scores({"text": rows["text"]}).exp().numpy()[:, [NAMES.index(name) for name in names]]
    prefix = {"test": "test", "validation": "val"}[split]
    one_hot = np.eye(2)[labels]
    expected = {
        "cohen_kappa": cohen_kappa_score(labels, probabilities.argmax(1)),
        "auroc": roc_auc_score(labels, probabilities[:, 1]),
        "brier_loss": ((probabilities - one_hot) ** 2).sum(1).mean(),
    }
    assert {name: logged[f"{prefix}/{name}"] for name in expected} == pytest.approx(expected, abs=1e-5)


def test_rows_without_an_answer_are_left_out(rows_folder):
    logged = trained_nothing(rows_folder, [f"{PREFIX}.BinaryAveragePrecision"], skips=True)
    rows = FilesDataModule(str(rows_folder), label_names=list(NAMES)).rows("test")
    answered = [i for i, text in enumerate(rows["text"]) if len(text) % 7]
    assert 0 < len(answered) < len(rows)
    assert logged["test/invalid"] == len(rows) - len(answered)
    chosen = rows.select(answered)
    scores = ByLength(2, NAMES).log_scores({"text": chosen["text"]})[:, 1].exp()
    expected = average_precision_score(chosen["label"], scores)
    assert logged["test/average_precision"] == pytest.approx(expected, abs=1e-5)


def test_a_metric_of_probabilities_refuses_a_method_without(rows_folder):
    with pytest.raises(UserError, match=r"MulticlassAUROC needs probabilities, and ByLength gives none"):
        trained_nothing(rows_folder, [AUROC], has_probabilities=False)


def command(rows_folder, folder, *more):
    return [
        *("test", "--config", str(CONFIGS / "files.yaml"), "--data.data_dir", str(rows_folder)),
        *("--model", f"{__name__}.ByLength", "--data.eval_batch_size", "4", "--trainer.logger", "false"),
        *("--trainer.accelerator", "cpu", "--run_dir", str(folder), "--trainer.callbacks+=ExtraMetrics"),
        *(f"--trainer.callbacks.metrics=[{KAPPA}, {AUROC}]", *more),
    ]


def test_the_report_has_them(rows_folder, tmp_path):
    main(command(rows_folder, tmp_path / "run"))
    metrics = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    table = read_predictions(tmp_path / "run" / "report" / "predictions.parquet")
    expected = {
        "test/cohen_kappa": cohen_kappa_score(table.labels, table.predictions),
        "test/auroc": roc_auc_score(table.labels, table.log_scores[:, 1]),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    report = (tmp_path / "run" / "report" / "report.txt").read_text(encoding="utf-8")
    assert f"cohen_kappa:             {metrics['test/cohen_kappa']:.4f}\n" in report
    assert f"auroc:                   {metrics['test/auroc']:.4f}\n" in report


@pytest.mark.exhaustive
def test_two_processes_give_what_one_gives(rows_folder, tmp_path):
    main(command(rows_folder, tmp_path / "1", "--data.limit", "13"))
    run_on_processes(2, command(rows_folder, tmp_path / "2", "--data.limit", "13"))
    found = [json.loads((tmp_path / name / "report" / "metrics.json").read_text()) for name in ("1", "2")]
    for name in ("test/cohen_kappa", "test/auroc"):
        assert found[0][name] == found[1][name]
