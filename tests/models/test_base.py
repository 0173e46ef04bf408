"""The contract, tried on the smallest methods that keep it."""

import subprocess
import sys

import pytest
import torch
from lightning.pytorch import Trainer
from torch.nn.parallel import DistributedDataParallel

from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import TextClassifier
from textclf.plain_values import plain_arguments
from textclf.run.report import ReportWriter

NAMES = ("negative", "positive")


class LengthRule(TextClassifier):
    """Scores follow from the number of characters; texts of one word fit no class."""

    def log_scores(self, batch):
        lengths = torch.tensor([float(len(text)) for text in batch["text"]])
        scores = torch.stack([-lengths / 10, torch.zeros_like(lengths)], dim=1).log_softmax(1)
        scores[torch.tensor([" " not in text for text in batch["text"]])] = float("nan")
        return scores


class Words(LengthRule):
    """Has answers, but no probabilities."""

    has_probabilities = False


def run_test(model, rows_folder, folder):
    trainer = Trainer(
        default_root_dir=folder, callbacks=[ReportWriter()], logger=False, accelerator="cpu", enable_progress_bar=False
    )
    return trainer.test(model, datamodule=FilesDataModule(str(rows_folder)), verbose=False)[0]


def test_a_method_is_one_function(rows_folder, tmp_path, capsys):
    metrics = run_test(LengthRule(2, NAMES), rows_folder, tmp_path)
    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    assert metrics["test/accuracy"] == pytest.approx((table.labels == table.predictions).mean())
    assert "macro avg" in capsys.readouterr().out
    source = FilesDataModule(str(rows_folder)).rows("test")
    assert table.texts == list(source["text"])
    assert table.labels.tolist() == list(source["label"])


def test_an_answer_that_fits_no_class_is_wrong_and_counted(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "test.csv").write_text("text,label\nno words,0\nnone,1\ntwo long words here,1\n")
    data = FilesDataModule(str(tmp_path / "rows"), label_names=NAMES)
    trainer = Trainer(default_root_dir=tmp_path, callbacks=[ReportWriter()], logger=False, accelerator="cpu")
    metrics = trainer.test(LengthRule(2, NAMES), datamodule=data, verbose=False)[0]
    assert metrics["test/invalid"] == 1
    assert metrics["test/accuracy"] == pytest.approx(1 / 3)
    assert read_predictions(tmp_path / "report" / "predictions.parquet").predictions.tolist() == [1, -1, 1]


def test_a_method_without_probabilities_has_no_nll(rows_folder, tmp_path):
    metrics = run_test(Words(2, NAMES), rows_folder, tmp_path)
    assert "test/accuracy" in metrics
    assert "test/nll" not in metrics
    assert "test/ece" not in metrics


def test_data_with_other_labels_is_refused(rows_folder, tmp_path):
    with pytest.raises(UserError, match="neutral"):
        run_test(LengthRule(3, (*NAMES, "neutral")), rows_folder, tmp_path)


def test_names_and_number_must_agree():
    with pytest.raises(UserError, match="num_classes is 3"):
        LengthRule(3, NAMES)


def test_hyperparameters_are_kept_without_asking_for_it():
    class Tuned(LengthRule):
        def __init__(self, num_classes, label_names, knob: float = 1.0):
            super().__init__(num_classes, label_names)

    assert plain_arguments(Tuned(2, NAMES, knob=2.0)) == {"num_classes": 2, "label_names": list(NAMES), "knob": 2.0}


def test_the_encoding_key_changes_with_arguments_and_what_was_fitted():
    model = LengthRule(2, NAMES)
    key = model.encoding_key()
    model.fitted = {"table": torch.zeros(2), "size": torch.tensor(3)}
    zeros = model.encoding_key()
    model.fitted = {"table": torch.zeros(2, dtype=torch.int32), "size": torch.tensor(3)}
    assert len({key, zeros, model.encoding_key(), LengthRule(2, NAMES[::-1]).encoding_key()}) == 4


def test_classify_takes_a_list():
    with pytest.raises(UserError, match="list of texts"):
        LengthRule(2, NAMES).classify("one text")
    answers = LengthRule(2, NAMES).classify(iter(["some words", "none"]))
    assert answers[0]["label"] == "positive"
    assert answers[1] == {"label": None, "score": None}


def test_loading_a_checkpoint_of_another_class(tmp_path, rows_folder):
    model = LengthRule(2, NAMES)
    trainer = Trainer(logger=False, accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.test(model, datamodule=FilesDataModule(str(rows_folder)), verbose=False)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert isinstance(TextClassifier.load_from_checkpoint(tmp_path / "a.ckpt"), LengthRule)
    with pytest.raises(UserError, match=r"a\.ckpt' holds a .*LengthRule, which is not a Words"):
        Words.load_from_checkpoint(tmp_path / "a.ckpt")


def test_private_attributes_of_torch_are_still_those_that_are_used():
    model = LengthRule(2, NAMES)
    ignored = torch.nn.Linear(1, 1)
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(ignored, ["weight"])
    assert ignored._ddp_params_and_buffers_to_ignore == ["weight"]
    assert model._ddp_params_and_buffers_to_ignore == []
    model.layer = torch.nn.Linear(1, 1)
    light = model.for_workers()
    assert light.layer is None
    assert model.layer.weight.numel() == 1


def test_importing_the_package_is_light():
    code = "import textclf, sys; assert 'torch' not in sys.modules, 'torch'; print(textclf.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
