"""One line a violation: the command, what is wrong with the scores, and what the line says."""

import json
import re
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from tests.contract.basis import SKIES, Forecasts
from tests.contract.scores import Scores
from textclf.errors import UserError

SHAPE = r"Scores\.log_scores gave .*{}.*\(\d+, 2\)"
VIOLATIONS = [
    ("test", "logits", r"Scores\.log_scores gave .*log_softmax"),
    ("validate", "logits", r"Scores\.log_scores gave .*log_softmax"),
    ("predict", "logits", r"Scores\.log_scores gave .*log_softmax"),
    ("test", "log_softmax_slightly_off", r"Scores\.log_scores gave .*log_softmax"),
    ("test", "mass_lost", r"Scores\.log_scores gave .*log_softmax"),
    ("test", "probabilities", r"Scores\.log_scores gave .*log"),
    ("test", "percent", r"Scores\.log_scores gave .*log"),
    ("test", "negative", r"Scores\.log_scores gave .*log"),
    ("test", "base_two", r"Scores\.log_scores gave .*log"),
    ("test", "sigmoid", r"Scores\.log_scores gave .*log_softmax"),
    ("test", "softmax_over_rows", r"Scores\.log_scores gave .*log_softmax"),
    ("test", "last_row_alone", r"Scores\.log_scores gave .*log_softmax"),
    ("test", "squeezed", SHAPE.format(r"\(2,\)")),
    ("predict", "of_one_class", SHAPE.format(r"\(3,\)")),
    ("test", "one_column", SHAPE.format(r"\(\d+, 1\)")),
    ("test", "one_column_more", SHAPE.format(r"\(\d+, 3\)")),
    ("test", "one_dimension_more", SHAPE.format(r"\(\d+, 2, 1\)")),
    ("test", "transposed", SHAPE.format(r"\(2, \d+\)")),
    ("test", "mean", SHAPE.format(r"\(\)")),
    ("test", "last_row_missing", SHAPE.format(r"\(\d+, 2\)")),
    ("test", "twice", SHAPE.format(r"\(\d+, 2\)")),
    ("test", "nothing", SHAPE.format(r"\(0, 2\)")),
    ("test", "argmax", r"Scores\.log_scores gave .*int64"),
    ("test", "one_hot", r"Scores\.log_scores gave .*int64"),
    ("test", "bools", r"Scores\.log_scores gave .*bool"),
    ("test", "complex", r"Scores\.log_scores gave .*complex64"),
    ("test", "half", r"Scores\.log_scores gave .*float16"),
    ("predict", "bfloat16", r"Scores\.log_scores gave .*bfloat16"),
    ("test", "meta", r"Scores\.log_scores gave .*meta"),
    ("test", "sparse", r"Scores\.log_scores gave .*sparse"),
    ("test", "numpy", r"Scores\.log_scores gave .*NumPy array"),
    ("predict", "numpy", r"Scores\.log_scores gave .*NumPy array"),
    ("test", "nested_list", r"Scores\.log_scores gave .*list"),
    ("test", "rows", r"Scores\.log_scores gave .*list"),
    ("test", "tuple", r"Scores\.log_scores gave .*tuple"),
    ("test", "dictionary", r"Scores\.log_scores gave .*dict"),
    ("test", "model_output", r"Scores\.log_scores gave .*SequenceClassifierOutput"),
    ("test", "none", r"Scores\.log_scores gave .*None"),
    ("test", "infinite", r"Scores\.log_scores gave .*inf"),
    ("predict", "infinite", r"Scores\.log_scores gave .*inf"),
    ("test", "impossible", r"Scores\.log_scores gave .*inf"),
    ("test", "all_nan", r"Scores\.log_scores gave NaN for all 33 rows"),
    ("predict", "all_nan", r"Scores\.log_scores gave NaN for all 3 rows"),
    ("test", "half_nan", r"Scores\.log_scores gave .*NaN"),
    ("test", "one_nan", r"Scores\.log_scores gave .*NaN"),
]
TRAINED = [
    ("logits", r"TrainedScores\.log_scores gave .*log_softmax"),
    ("squeezed", r"TrainedScores\.log_scores gave .*\(2,\)"),
    ("numpy", r"TrainedScores\.log_scores gave .*NumPy array"),
]
HALF = {  # with bf16-mixed
    "InAutocast": r"InAutocast\.log_scores gave .*bfloat16.*bf16-mixed",
    "HalfWeights": r"HalfWeights\.log_scores gave .*bfloat16.*float\(\)",
}
KEPT = {  # what the table of metrics says of methods that keep the contract
    "scores.MissingAnswers": {"test/invalid": 1, "examples": 33},
    "scores.Words": {"test/accuracy": 17 / 33, "test/nll": None},
    "scores.WordsByArgument": {"test/accuracy": 17 / 33, "test/nll": None},
    "scores.DoublePrecision": {"test/nll": 0.6931},
    "scores.AlmostCertain": {"test/accuracy": 17 / 33},
    "scores.Expanded": {"test/nll": 0.6931},
}


@pytest.mark.parametrize(("command", "defect", "says"), VIOLATIONS)
def test_scores_that_are_no_log_probabilities(command, defect, says, refused):
    line = refused(command, "scores.Scores", "basis.Forecasts", "--model.defect", defect)
    assert re.match(says, line), line


@pytest.mark.parametrize(("defect", "says"), TRAINED)
def test_in_the_validation_of_training(defect, says, refused):
    line = refused("fit", "scores.TrainedScores", "basis.Forecasts", "--model.defect", defect)
    assert re.match(says, line), line


def test_training_that_has_diverged(refused):
    line = refused("fit", "scores.Diverged", "basis.Forecasts", "--trainer.max_epochs", "2")
    assert re.match(r"Diverged\.log_scores gave .*NaN.*training has diverged", line), line


@pytest.mark.parametrize("method", HALF)
def test_half_precision(method, refused):
    line = refused("fit", f"scores.{method}", "basis.Forecasts", "--trainer.precision", "bf16-mixed")
    assert re.match(HALF[method], line), line


def test_scores_are_computed_outside_autocast(run):
    code, _, errors = run("fit", "basis.Letters", "basis.Forecasts", "--trainer.precision", "bf16-mixed")
    assert code == 0, errors


@pytest.mark.parametrize("defect", ["logits", "squeezed", "numpy", "half_nan"])
def test_in_python(defect):
    with pytest.raises(UserError, match=r"Scores\.log_scores gave"):
        Scores(2, SKIES, defect).classify(["drizzle"])
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False)
    with pytest.raises(UserError, match=r"Scores\.log_scores gave"):
        trainer.test(Scores(2, SKIES, defect), datamodule=Forecasts(eval_batch_size=8), verbose=False)


def test_no_output_of_predictions_without_answers(refused):
    refused("predict", "scores.Scores", "basis.Forecasts", "--model.defect", "all_nan", "--output", "labels.jsonl")
    assert not list(Path().glob("labels*"))


@pytest.mark.parametrize("name", ["scores.MissingAnswers", "scores.Words"])
def test_predictions_without_some_answers(name, run):
    code, out, errors = run("predict", name, "basis.Forecasts", "--texts", '["on day 7, rain", "sun"]')
    assert code == 0, errors
    assert [json.loads(line)["label"] is None for line in out.splitlines()] == [name == "scores.MissingAnswers", False]


@pytest.mark.parametrize("method", KEPT)
def test_scores_that_are_right(method, run):
    code, _, errors = run("test", method)
    assert code == 0, errors
    metrics = json.loads(Path("run/report/metrics.json").read_text())
    for name, value in KEPT[method].items():
        assert metrics[name] == (value if value is None else pytest.approx(value, abs=1e-4)), name
