"""What the report says of predictions in 16-bit precision that depend on the batch size."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset

import textclf.run.batch_effect
from tests.models.contract import tiny_model
from textclf.conformance.subject import InventedRows
from textclf.models import CausalLMClassifier, EmbeddingZeroShot, PretrainedClassifier, Seq2SeqClassifier
from textclf.run import run_experiment
from textclf.run.batch_effect import ScoredAlone, batch_effect

NAMES = ("negative", "positive")
QUIET = {"logger": False, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False}


class ManyRows(InventedRows):
    """Forty test rows of different lengths."""

    def load_split(self, split):
        texts = [f"{'a dull film ' * (row % 7)}{row}" for row in range(40)]
        return Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(40)]})


def report_of(model, folder, precision="bf16-true"):
    run_experiment(model, ManyRows(NAMES), run_dir=folder, precision=precision, command="test", **QUIET)
    return json.loads((folder / "report" / "metrics.json").read_text()), (folder / "report" / "report.txt").read_text()


def test_rows_are_compared_by_their_places():
    alone = ScoredAlone(np.array([1, 4, 7]), np.array([0, 1, -1]), np.log([[0.6, 0.4], [0.4, 0.6], [np.nan, np.nan]]))
    rows = np.arange(6)  # the last row of the sample was not evaluated
    scores = np.log(np.full((6, 2), 0.5))
    assert batch_effect(alone, rows, np.array([1, 1, 1, 0, 0, 0]), scores) == {
        "batch_effect/rows": 2,
        "batch_effect/changed_predictions": 2,
        "batch_effect/largest_difference_nats": pytest.approx(np.log(0.5 / 0.4)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", [PretrainedClassifier, EmbeddingZeroShot, CausalLMClassifier, Seq2SeqClassifier])
def test_a_report_in_16_bit_precision_counts_predictions_that_the_batch_size_changes(method, tmp_path, monkeypatch):
    monkeypatch.setattr(textclf.run.batch_effect, "MOST_ROWS", 30)
    options = {"embedding": {"dtype": "bfloat16"}} if method is EmbeddingZeroShot else {}
    model = method(2, NAMES, pretrained=tiny_model(method, tmp_path / "model"), **options)
    metrics, text = report_of(model, tmp_path / "run")
    assert metrics["batch_effect/rows"] == 30
    assert 0 < metrics["batch_effect/largest_difference_nats"] < 2
    changed = metrics["batch_effect/changed_predictions"]
    assert 0 <= changed < 30
    line = (
        rf"batch size: +in this 16-bit precision, {changed} of 30 sampled rows are predicted otherwise if scored alone"
    )
    assert re.search(line, text)


@pytest.mark.slow
def test_scoring_alone_counts_no_work_and_uses_no_cached_vector(tmp_path, monkeypatch):
    folder = tiny_model(CausalLMClassifier, tmp_path / "model")
    counted = []
    for rows in (1, 40):
        monkeypatch.setattr(textclf.run.batch_effect, "MOST_ROWS", rows)
        metrics, text = report_of(CausalLMClassifier(2, NAMES, pretrained=folder), tmp_path / f"run{rows}")
        counted.append({name: value for name, value in metrics.items() if name.startswith("scoring/")})
        assert f"of {rows} sampled rows" in text
    assert counted[0] == counted[1]


@pytest.mark.slow
def test_a_report_in_fp32_says_nothing_of_batches(tmp_path):
    folder = tiny_model(PretrainedClassifier, tmp_path / "model")
    metrics, text = report_of(PretrainedClassifier(2, NAMES, pretrained=folder), tmp_path / "run", "32-true")
    assert not any(name.startswith("batch_effect") for name in metrics)
    assert "batch size" not in text


@pytest.mark.parametrize(
    ("autocast", "precision", "weights", "expected"),
    [
        (True, "bf16-mixed", torch.float32, torch.bfloat16),
        (True, "16-mixed", torch.float32, torch.float16),
        (True, "32-true", torch.float32, torch.float32),
        (False, "bf16-mixed", torch.float32, torch.float32),
        (False, "bf16-true", torch.bfloat16, torch.bfloat16),
    ],
)
def test_the_precision_of_scoring(autocast, precision, weights, expected, monkeypatch):
    from textclf.models import TextClassifier, base

    class Method(TextClassifier):
        pass

    Method.autocast = autocast
    model = Method(2, NAMES)
    model.layer = torch.nn.Linear(2, 2, dtype=weights)
    monkeypatch.setattr(base, "attached_trainer", lambda _: SimpleNamespace(precision=precision))
    assert model.scoring_dtype() == expected
