"""Calibrators: fitted to the method's own scores, kept in the checkpoint, and applied wherever scores are given."""

import json
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset
from lightning.pytorch import Trainer
from torch import nn

from textclf.data import TextDataModule
from textclf.errors import UserError
from textclf.evaluation.calibration import (
    Calibrator,
    Temperature,
    Thresholds,
    calibrated,
    log_softmax,
    restored_calibrators,
    stored_calibrators,
)
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import TextClassifier
from textclf.run.calibration import Calibration
from textclf.run.checkpoints import LastCheckpoint
from textclf.run.report import ReportWriter

NAMES = ("dry", "wet")
WORDS = ("sun", "rain")


class Weather(TextDataModule):
    label_names = NAMES

    def source_splits(self):
        return ("train", "validation", "test")

    def load_split(self, split):
        texts = [f"{split} {WORDS[i % 2]} {i}" for i in range(24)]
        return Dataset.from_dict({"text": texts, "label": [i % 2 if i % 5 else 1 - i % 2 for i in range(24)]})


class Sure(TextClassifier):
    """Learns nothing, and is surer than it should be."""

    def __init__(self, num_classes=2, label_names=NAMES):
        super().__init__(num_classes, label_names)
        self.scale = nn.Parameter(torch.tensor(8.0))

    def log_scores(self, batch):
        wet = torch.tensor([float("rain" in text) for text in batch["text"]])
        return (torch.stack([1 - wet, wet], dim=1) * self.scale).log_softmax(1)

    def training_step(self, batch, batch_idx):
        return nn.functional.nll_loss(self.log_scores(batch), batch["labels"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class VectorScaling(Calibrator):
    def fit(self, scores, labels):
        from sklearn.linear_model import LogisticRegression

        found = LogisticRegression().fit(scores[:, 1:] - scores[:, :1], labels)
        self.weight, self.bias = found.coef_[0], found.intercept_
        return self

    def apply(self, scores):
        wet = (scores[:, 1:] - scores[:, :1]) * self.weight + self.bias
        return log_softmax(np.concatenate([np.zeros_like(wet), wet], axis=1))


class Isotonic(Calibrator):
    """The probability of class 1 as a monotone function of the method's own."""

    def fit(self, scores, labels):
        from sklearn.isotonic import IsotonicRegression

        found = IsotonicRegression(y_min=0.01, y_max=0.99, out_of_bounds="clip").fit(np.exp(scores[:, 1]), labels)
        self.places, self.values = found.X_thresholds_, found.y_thresholds_
        return self

    def apply(self, scores):
        wet = np.interp(np.exp(scores[:, 1]), self.places, self.values)
        return np.log(np.stack([1 - wet, wet], axis=1))


class AlwaysWet(Calibrator):
    decides = True

    def fit(self, scores, labels):
        return self

    def apply(self, scores):
        return np.tile([0.0, 1.0], (len(scores), 1))


class Notes(Calibration):
    """Keeps what each validation gives to `fit`."""

    def __init__(self, calibrator):
        super().__init__(calibrator)
        self.seen = []

    def on_validation_epoch_end(self, trainer, pl_module):
        if self._parts:  # none in the sanity check
            self.seen.append([np.concatenate(part) for part in zip(*self._parts, strict=True)])
        super().on_validation_epoch_end(trainer, pl_module)


def fit(folder, *calibrators, model=None, **options):
    options = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "max_epochs": 2, **options}
    callbacks = [LastCheckpoint(), *map(Notes, calibrators), ReportWriter()]
    trainer = Trainer(default_root_dir=folder, callbacks=callbacks, enable_model_summary=False, **options)
    trainer.fit(model or Sure(), datamodule=Weather(batch_size=8))
    return trainer


@pytest.mark.parametrize("kind", [Temperature, VectorScaling, Isotonic])
def test_a_calibrator_is_kept_and_applied_everywhere(kind, tmp_path):
    trainer = fit(tmp_path, kind())
    model, data = trainer.lightning_module, trainer.datamodule
    last = tmp_path / "checkpoints" / "last.ckpt"
    texts = ["test sun", "test rain"]
    scores = model.log_scores({"text": texts}).detach().double()
    expected = model.textclf.calibrator(decides=False).apply(scores.numpy())
    assert not np.allclose(expected, scores)
    loaded = TextClassifier.load_from_checkpoint(last)
    for each in (model, loaded):
        assert [a["score"] for a in each.classify(texts)] == pytest.approx(np.exp(expected.max(1)), abs=1e-6)
    nll = []
    for evaluate in (trainer.validate, trainer.test):
        nll.append(evaluate(loaded, datamodule=data, verbose=False)[0])
    rows = data.rows("validation")
    wanted = -expected[[int("rain" in text) for text in rows["text"]], list(rows["label"])].mean()
    assert nll[0]["val/nll"] == pytest.approx(wanted, abs=1e-5) == pytest.approx(nll[1]["test/nll"], abs=1e-5)
    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    assert table.log_scores[0] == pytest.approx(expected[0], abs=1e-6)
    named = [each["class_path"].rpartition(".")[2] for each in table.calibrators]
    assert named == ([] if kind is Temperature else [kind.__name__])
    assert (kind.__name__ in (tmp_path / "report" / "report.txt").read_text()) == (kind is not Temperature)


@pytest.mark.parametrize("kind", [Temperature, VectorScaling, Isotonic])
def test_each_validation_gives_the_methods_own_scores(kind, tmp_path):
    trainer = fit(tmp_path, kind(), model=(model := Sure()), max_epochs=3)
    notes = next(each for each in trainer.callbacks if isinstance(each, Notes))
    own = model.log_scores({"text": trainer.datamodule.rows("validation")["text"]}).detach().numpy()
    assert len(notes.seen) == 3
    np.testing.assert_allclose(np.sort(notes.seen[-1][0], axis=None), np.sort(own, axis=None), atol=1e-6)
    again = kind().fit(*notes.seen[-1])
    found = model.textclf.calibrator(decides=False)
    probe = log_softmax(np.array([[0.0, 3.0], [2.0, 0.0]]))
    np.testing.assert_allclose(found.apply(probe), again.apply(probe), atol=1e-5)


def test_one_that_decides_changes_answers_alone(tmp_path):
    trainer = fit(tmp_path, AlwaysWet(), Temperature())
    plain = fit(tmp_path / "plain", Temperature())
    tests = [each.test(each.lightning_module, each.datamodule, verbose=False)[0] for each in (trainer, plain)]
    assert tests[0]["test/nll"] == tests[1]["test/nll"]
    assert tests[0]["test/accuracy"] == pytest.approx(0.5, abs=0.2) != tests[1]["test/accuracy"]
    answer = TextClassifier.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt").classify(["sun"])[0]
    assert (answer["label"], answer["decision"]) == ("wet", "alwayswet")


@pytest.mark.parametrize(
    ("calibrators", "message"),
    [
        ([Temperature(), Isotonic()], "the calibrators Temperature and Isotonic both change the probabilities"),
        ([Thresholds(), AlwaysWet()], "the calibrators Thresholds and AlwaysWet both choose the answer"),
    ],
)
def test_two_of_a_kind_are_refused(calibrators, message, tmp_path):
    with pytest.raises(UserError, match=message):
        fit(tmp_path, *calibrators)


class Forest(Calibrator):
    def fit(self, scores, labels):
        from sklearn.linear_model import LogisticRegression

        self.model = LogisticRegression().fit(scores, labels)
        return self

    def apply(self, scores):
        return self.model.predict_log_proba(scores)


def test_what_no_checkpoint_can_keep_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"Forest\.model is a LogisticRegression: keep numbers"):
        fit(tmp_path, Forest())


class AnotherOne(Temperature):
    """Returns a new fitted object, as some libraries do."""

    def fit(self, scores, labels):
        return type(self)(0.5)


class SaysNothing(Temperature):
    def fit(self, scores, labels):
        self.temperature = 0.5


def test_a_fit_that_returns_a_new_object_or_nothing_counts(tmp_path):
    for kind in (AnotherOne, SaysNothing):
        model = Sure()
        fit(tmp_path / kind.__name__, kind(), model=model, max_epochs=1)
        assert [calibrator.temperature for calibrator in model.textclf.calibrators] == [0.5]


class OfAnotherClass(Temperature):
    def fit(self, scores, labels):
        return Temperature()


def test_a_fit_that_returns_another_calibrator_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"OfAnotherClass\.fit gave a Temperature: return self"):
        fit(tmp_path, OfAnotherClass())


def made(give):
    class Own(Calibrator):
        def fit(self, scores, labels):
            return self

        def apply(self, scores):
            return give(scores)

    return Own()


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda scores: None, "Own.apply gave a NoneType: wanted a NumPy array of floats of shape"),
        (torch.from_numpy, "Own.apply gave a Tensor"),
        (lambda scores: scores[:, 0], r"Own.apply gave a float64 array of shape \(2,\)"),
        (lambda scores: scores > -1, "Own.apply gave a bool array"),
        (lambda scores: np.exp(scores), "Own.apply gave scores whose probabilities do not sum to 1"),
        (lambda scores: scores * np.nan, "Own.apply gave NaN or inf"),
    ],
)
def test_what_apply_may_not_give(give, message):
    with pytest.raises(UserError, match=message):
        calibrated(made(give), torch.tensor([[0.5, 0.5], [0.25, 0.75]]).log())


def test_rows_without_an_answer_stay_so_and_scores_are_not_changed_in_place():
    def halve(scores):
        scores /= 2
        return log_softmax(scores)

    scores = torch.tensor([[0.2, 0.8], [torch.nan, torch.nan], [0.0, 1.0]]).log()
    before = scores.clone()
    given = calibrated(made(halve), scores)
    assert given[1].isnan().all()
    assert given[[0, 2]].exp().sum(1).tolist() == pytest.approx([1, 1])
    assert torch.equal(scores.nan_to_num(), before.nan_to_num())
    assert calibrated(made(halve), scores[1:2]).isnan().all()


def test_checkpoints_keep_the_keys_that_older_ones_have():
    kept = stored_calibrators([Temperature(1.5), Thresholds([0.25, 0.75])], NAMES)
    assert kept == {"temperature": 1.5, "thresholds": {"dry": 0.25, "wet": 0.75}, "calibrators": []}
    old = {"temperature": 1.5, "thresholds": {"wet": 0.75, "dry": 0.25}}
    temperature, thresholds = restored_calibrators(old, NAMES, dict)
    assert temperature.temperature == 1.5
    assert thresholds.thresholds.tolist() == [0.25, 0.75]
    assert restored_calibrators({"temperature": 1.0, "thresholds": None}, NAMES, dict) == ()


@pytest.mark.slow
def test_the_command_line_takes_a_calibrator_by_class_path(rows_folder, tmp_path, monkeypatch):
    from textclf.cli import main

    (tmp_path / "own_calibrators.py").write_text(
        "from textclf.evaluation.calibration import Calibrator, log_softmax\n"
        "class Doubled(Calibrator):\n"
        "    def __init__(self, power: float = 1.0):\n"
        "        self.power = power\n"
        "    def fit(self, scores, labels):\n"
        "        return self\n"
        "    def apply(self, scores):\n"
        "        return log_softmax(scores * self.power)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--data.data_dir", str(rows_folder), "--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    method = ["--data", "FilesDataModule", "--model", "TfidfClassifier", "--model.min_df", "1"]
    added = ["--trainer.callbacks+=Calibration", "--trainer.callbacks.calibrator=own_calibrators.Doubled"]
    power = "--trainer.callbacks.calibrator.power=2.0"
    main(["fit", *method, *options, *added, power, "--run_dir", str(tmp_path / "run")])
    sys.modules.pop("own_calibrators")  # as in a new process
    best = str(tmp_path / "run" / "checkpoints" / "best.ckpt")
    main(["test", "--ckpt_path", best, *options, "--run_dir", str(tmp_path / "again")])
    metrics = [json.loads((tmp_path / run / "report/metrics.json").read_text()) for run in ("run", "again")]
    assert metrics[0]["test/nll"] == metrics[1]["test/nll"]
    table = read_predictions(tmp_path / "again" / "report" / "predictions.parquet")
    assert [dict(each) for each in table.calibrators] == [
        {"class_path": "own_calibrators.Doubled", "state": {"power": 2.0}}
    ]
