"""`report/run.json`: what a run cost, and how it was made."""

import json
import subprocess
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from textclf import run_experiment
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.evaluation.prediction_table import read_predictions
from textclf.hardware.memory import PeakMemory
from textclf.hashing import rows_hash
from textclf.models import EmbeddingZeroShot, TextClassifier, TfidfClassifier
from textclf.run.costs import (
    counted_parameters,
    counted_tokens,
    found_cost,
    joint_memory,
    stored_fit_seconds,
    typed_command,
)

ROOT = Path(__file__).parents[2]
QUIET = {"logger": False, "accelerator": "cpu"}


def record(folder):
    return json.loads((Path(folder) / "run.json").read_text())


@pytest.fixture(scope="module")
def run(rows_folder, tmp_path_factory):
    """The folder of a run of the command line."""
    folder = tmp_path_factory.mktemp("costs") / "run"
    config = str(ROOT / "configs" / "files.yaml")
    main(
        [
            *("fit", "--config", config, "--config", str(ROOT / "configs" / "model" / "tfidf.yaml")),
            *("--data.data_dir", str(rows_folder), "--run_dir", str(folder), "--model.min_df=1"),
            *("--trainer.logger", "false", "--seed_everything", "7"),
        ]
    )
    return folder


def test_a_run_is_recorded(run, rows_folder):
    found = record(run / "report")
    metrics = json.loads((run / "report" / "metrics.json").read_text())
    table = read_predictions(run / "report" / "predictions.parquet")
    assert found["fit_seconds"] > 0
    assert found["test_seconds"] > len(table.ids) / found["examples_per_second"]
    assert found["examples_per_second"] == metrics["examples_per_second"]
    assert 50 < found["peak_memory_mib"] < 100_000
    assert found["peak_gpu_memory_mib"] is found["tokens"] is found["cost"] is None
    assert (found["seed"], metrics["seed"]) == (7, 7)
    assert found["data_fingerprint"] == rows_hash(FilesDataModule(str(rows_folder)).rows("test"))
    assert "cores" in found["device"]
    assert {"python", "textclf", "torch", "lightning", "scikit-learn"} <= found["versions"].keys()
    started, ended = (datetime.fromisoformat(found[name]) for name in ("started", "ended"))
    assert started < ended
    assert started.utcoffset().total_seconds() == 0
    assert len(found["machine"]) == 16
    assert found["command"].startswith("fit --config ")
    assert found["command"].endswith("--model.min_df=1 --trainer.logger false --seed_everything 7")
    assert "--run_dir" not in found["command"]
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert found["commit"] == (head.stdout.strip() or None)


def test_the_head_of_tfidf_counts_as_trained(run):
    found = record(run / "report")
    fitted = TextClassifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt").fitted
    expected = sum(len(block["idf"]) for block in fitted["blocks"])
    expected += fitted["coefficients"].numel() + fitted["intercepts"].numel()
    assert found["parameters"] == found["trained_parameters"] == expected > 100


def test_a_later_test_has_the_seconds_of_its_training(run, rows_folder, tmp_path):
    checkpoint = run / "checkpoints" / "best.ckpt"
    model = TextClassifier.load_from_checkpoint(checkpoint)
    result = run_experiment(
        model, FilesDataModule(str(rows_folder)), ckpt_path=checkpoint, run_dir=tmp_path / "run", **QUIET
    )
    found, before = record(result.run_dir / "report"), record(run / "report")
    assert found["fit_seconds"] == before["fit_seconds"]
    assert found["data_fingerprint"] == before["data_fingerprint"]
    assert found["command"] is None


def test_fit_without_a_test_records_the_training(rows_folder, tmp_path):
    model = TfidfClassifier(2, ("negative", "positive"), min_df=1)
    result = run_experiment(model, FilesDataModule(str(rows_folder)), run_dir=tmp_path, test_after_fit=False, **QUIET)
    found = record(result.run_dir / "report")
    assert found["fit_seconds"] > 0
    assert found["trained_parameters"] > 0
    assert found["test_seconds"] is found["examples_per_second"] is found["started"] is None


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_the_seconds_of_a_run_without_a_record_are_unknown(content, tmp_path):
    (tmp_path / "report").mkdir()
    if content is not None:
        (tmp_path / "report" / "run.json").write_text(content)
    assert stored_fit_seconds(Path("elsewhere"), str(tmp_path / "checkpoints" / "best.ckpt")) is None


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["fit", "--run_dir", "x", "--model", "A"], "fit --model A"),
        (["fit", "--model", "A", "--run_dir=x"], "fit --model A"),
        (["fit", "--run_dir", "--run_dir", "--model", "A"], "fit --model A"),
        (["fit", "--model", "A", "--run_dir", "x", "--ckpt_path", "last"], "fit --model A"),
        (["test", "--ckpt_path", "best", "--run_dir", "x"], "test --ckpt_path best"),
        (["fit", "--run_name", "x y", "--data.limit", "{test: 5}"], "fit --run_name 'x y' --data.limit '{test: 5}'"),
    ],
)
def test_the_command_is_as_it_was_typed(words, command):
    assert typed_command(words) == command


@pytest.mark.parametrize(
    ("metrics", "tokens", "cost"),
    [
        ({"test/accuracy": 0.5}, None, None),
        ({"chat/prompt_tokens": 10, "chat/completion_tokens": 2, "chat/cost": 0.5, "chat/cost_of_run": 0.1}, 12, 0.5),
        ({"chat/prompt_tokens": 10, "chat/completion_tokens": 2, "chat/cost": None}, 12, None),
        ({"scoring/tokens": 7, "scoring/tokens_beside": 3, "tokens_cut": 1}, 10, None),
    ],
)
def test_tokens_and_cost_are_those_of_the_figures(metrics, tokens, cost):
    assert counted_tokens(metrics) == tokens
    assert found_cost(metrics) == cost


def test_memory_is_that_of_all_processes_and_of_the_largest_gpu():
    processes = [PeakMemory(100.0, 20.0), PeakMemory(50.0, 30.0)]
    assert joint_memory(processes) == {"peak_memory_mib": 150.0, "peak_gpu_memory_mib": 30.0}
    assert joint_memory([PeakMemory(None, None)]) == {"peak_memory_mib": None, "peak_gpu_memory_mib": None}


class Rule(TextClassifier):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.layer = nn.Linear(3, 2)
        self.layer.bias.requires_grad = False

    def frozen_parameters(self):
        return 1000


class Trained(Rule):
    def training_step(self, batch, batch_idx):
        pass


@pytest.mark.parametrize(
    ("kind", "fitted", "counts"),
    [
        (Rule, {}, {"total": 1008, "trained": 0}),
        (Trained, {}, {"total": 1008, "trained": 6}),
        (Trained, {"a": [torch.zeros(4)], "counts": torch.tensor([1, 2])}, {"total": 1012, "trained": 10}),
        (Trained, True, {"total": 1008, "trained": 6}),
    ],
)
def test_parameters(kind, fitted, counts):
    model = kind(2, ("a", "b"))
    model.fitted = fitted
    assert counted_parameters(model) == counts


def test_seconds_of_a_resumed_run_go_on():
    from textclf.run.costs import CostRecord

    callback = CostRecord()
    callback.load_state_dict({"fit_seconds": 1000.0})
    assert callback.state_dict() == {"fit_seconds": 1000.0}
    callback._module = SimpleNamespace(textclf=SimpleNamespace(started=0.0))
    assert callback.state_dict()["fit_seconds"] > 1000


def test_the_time_of_embedding_is_recorded_where_vectors_are_new(tiny_encoder, tmp_path):
    lines = [f"a text that no other test embeds {number},{'ab'[number % 2]}" for number in range(8)]
    (tmp_path / "test.csv").write_text("\n".join(["text,label", *lines]))
    data = FilesDataModule(str(tmp_path))
    found = []
    for number in range(2):
        model = EmbeddingZeroShot(2, data.label_names, str(tiny_encoder))
        result = run_experiment(model, data, run_dir=tmp_path / str(number), **QUIET)
        found.append(record(result.run_dir / "report")["encoding_seconds"])
    assert found[0] > 0
    assert found[1] is None
