"""What W&B and TensorBoard are told of a run, read back from the files that they write."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wandb
import yaml

from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.data.batching import LengthBatchSampler
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import FineTunedClassifier

CONFIG = Path(__file__).parents[2] / "configs" / "files.yaml"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("all_drawn")]


def fit(encoder, rows, run_dir, *more):
    """One epoch of eight steps, logged every other step."""
    main(
        [
            *("fit", "--config", str(CONFIG), "--data.data_dir", str(rows), "--run_dir", str(run_dir)),
            *("--model.pretrained", str(encoder), "--model.max_length", "32", "--data.batch_size", "8"),
            *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "2", *more),
        ]
    )
    return run_dir


class Record:
    """An offline record of W&B, as its own reader gives it."""

    def __init__(self, folder):
        (path,) = folder.glob("*.wandb")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        entries = [json.loads(line) for line in lines]
        self.folder = folder
        self.run, self.exit = (next(e[kind] for e in entries if e["type"] == kind) for kind in ("run", "exit"))
        self.config = next(e["config"]["update"] for e in entries if e["type"] == "config" and "model" in str(e))
        self.artifacts = [e["artifact"]["manifest"]["contents"] for e in entries if e["type"] == "artifact"]
        self.history = [e["history"]["item"] for e in entries if e["type"] == "history"]

    def logged(self, name):
        return [row[name] for row in self.history if name in row]

    def table(self, name):
        (path,) = self.logged(f"{name}.path")
        table = json.loads((self.folder / "files" / path).read_text())
        return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def records(run_dir):
    return [Record(folder) for folder in sorted((run_dir / "wandb").glob("offline-run-*"))]


@pytest.fixture(scope="module")
def resumed(all_drawn, tiny_encoder, rows_folder, tmp_path_factory):
    """The folder of a run that was trained for an epoch, then for another."""
    run_dir = fit(tiny_encoder, rows_folder, tmp_path_factory.mktemp("tracking") / "run")
    resume = ("--config", str(run_dir / "config.yaml"), "--run_dir", str(run_dir), "--ckpt_path", "last")
    main(["fit", *resume, "--trainer.max_epochs", "2"])
    return run_dir


@pytest.fixture(scope="module")
def record(resumed):
    return records(resumed)[0]


def test_the_record_has_the_whole_configuration_and_the_size_of_the_model(record, resumed):
    saved = yaml.safe_load((resumed / "config.yaml").read_text())
    assert record.config["model"] == saved["model"]
    assert record.config["data"] == saved["data"]
    assert record.config["data"]["init_args"]["label_names"] == ["negative", "positive"]
    assert record.config["trainer"]["max_epochs"] == 1
    model = FineTunedClassifier(2, ("negative", "positive"), saved["model"]["init_args"]["pretrained"])
    model.configure_model()
    parameters = sum(p.numel() for p in model.parameters())
    assert record.config["parameters"] == {"total": parameters, "trainable": parameters}


def test_the_record_has_the_metrics(record):
    assert record.logged("trainer/global_step")[:5] == [0, 1, 3, 5, 7]  # the first is the table of cleaning
    for name in ("loss", "learning_rate", "examples_per_second", "tokens_per_second", "padding"):
        assert len(record.logged(f"train/{name}")) == 4, name
    assert min(record.logged("train/examples_per_second")) > 0
    assert len(record.logged("val/macro_f1")) == len(record.logged("test/macro_f1")) == 1
    assert record.logged("train/learning_rate") == pytest.approx([5e-5 * (8 - step) / 7 for step in (1, 3, 5, 7)])


@pytest.mark.parametrize("name", ["confusion_matrix", "roc"])
def test_the_record_has_the_pictures(name, record):
    (names,) = record.logged(f"test/{name}.filenames")
    assert (record.folder / "files" / names[0]).read_bytes().startswith(b"\x89PNG")


def test_the_record_has_the_cleaning(record):
    rows = record.table("cleaning")
    assert [row["step"] for row in rows if row["split"] == "train"][:2] == ["rows read", "NormalizeUnicode"]
    assert {row["split"]: row["rows"] for row in rows} == {"train": 60, "validation": 20, "test": 21}


@pytest.mark.slow
def test_the_record_has_the_predictions(resumed):
    record = records(resumed)[1]  # what report/ holds now
    table = read_predictions(resumed / "report" / "predictions.parquet")
    sample = record.table("test/sample")
    assert [row["id"] for row in sample] == table.ids
    assert [row["text"] for row in sample] == table.texts
    assert [row["label"] for row in sample] == [table.label_names[i] for i in table.labels]
    assert [row["prediction"] for row in sample] == [table.label_names[i] for i in table.predictions]
    mistakes = record.table("test/worst_mistakes")
    assert len(mistakes) == (table.labels != table.predictions).sum() > 0
    assert all(row["label"] != row["prediction"] for row in mistakes)
    assert [row["confidence"] for row in mistakes] == sorted((row["confidence"] for row in mistakes), reverse=True)


@pytest.mark.slow
def test_one_copy_of_each_table_waits_to_be_sent(resumed):
    sent = {file["local_path"] for record in records(resumed) for files in record.artifacts for file in files}
    assert len(sent) == 6
    assert {str(path) for path in resumed.rglob("staging/*")} == sent  # nothing of the run is elsewhere


@pytest.mark.slow
def test_a_resumed_run_keeps_its_id_and_another_run_has_its_own(resumed, tiny_encoder, rows_folder, tmp_path):
    first, second = records(resumed)
    (other,) = records(fit(tiny_encoder, rows_folder, tmp_path / "other", "--test_after_fit", "false"))
    assert first.run["run_id"] == second.run["run_id"] != other.run["run_id"]
    assert second.logged("trainer/global_step")[:5] == [0, 9, 11, 13, 15]
    assert len(other.logged("val/macro_f1")) == 1
    group = f"{rows_folder.name} FineTunedClassifier"
    assert all((r.run["run_group"], r.run["job_type"]) == (group, "fit") for r in (first, second, other))
    assert wandb.run is None


@pytest.mark.slow
def test_the_record_of_a_run_that_failed_says_so(tiny_encoder, rows_folder, tmp_path, monkeypatch):
    def fail(*args):
        raise KeyError("a bug")

    monkeypatch.setattr(FineTunedClassifier, "on_fit_start", fail)
    with pytest.raises(KeyError):
        fit(tiny_encoder, rows_folder, tmp_path / "run")
    assert records(tmp_path / "run")[0].exit["exit_code"] == 1
    assert wandb.run is None


# TensorBoard


@pytest.mark.slow
def test_tensorboard_has_all_of_it_too(tiny_encoder, rows_folder, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = fit(tiny_encoder, rows_folder, tmp_path / "run", "--trainer.logger", "TensorBoardLogger")
    assert sorted(path.name for path in run_dir.iterdir()) == [
        *("checkpoints", "cleaning.csv", "config.yaml", "metrics.csv", "report", "tensorboard")
    ]
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()

    def text(name):
        return events.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0].decode()

    assert [e.step for e in events.Scalars("train/padding")] == [1, 3, 5, 7]
    assert len(events.Scalars("test/macro_f1")) == 1
    assert events.Images("test/confusion_matrix")[0].encoded_image_string.startswith(b"\x89PNG")
    config = yaml.safe_load(text("config"))
    assert config["model"] == yaml.safe_load((run_dir / "config.yaml").read_text())["model"]
    assert config["parameters"]["total"] > 0
    table = read_predictions(run_dir / "report" / "predictions.parquet")
    lines = text("test/sample").splitlines()
    assert lines[0] == "id | text | label | prediction | confidence"
    assert len(lines) == 2 + len(table.ids)
    assert len(text("test/worst_mistakes").splitlines()) == 2 + (table.labels != table.predictions).sum()


# Speed


def test_tokens_and_padding_are_those_of_the_batches(record, resumed, tiny_encoder, rows_folder):
    model = FineTunedClassifier(2, ("negative", "positive"), str(tiny_encoder), 32)
    lengths = np.array(model.encode({"text": FilesDataModule(str(rows_folder)).rows("train")["text"][:]})["length"])
    batches = [lengths[rows] for rows in LengthBatchSampler(lengths, batch_size=8, shuffle=True, seed=42)]
    windows = [batches[i : i + 2] for i in range(0, 8, 2)]
    tokens = [sum(b.sum() for b in window) for window in windows]
    places = [sum(b.max() * len(b) for b in window) for window in windows]
    examples = [sum(len(b) for b in window) for window in windows]
    assert record.logged("train/padding") == pytest.approx([1 - t / p for t, p in zip(tokens, places, strict=True)])
    rates = [record.logged(f"train/{name}_per_second") for name in ("tokens", "examples")]
    assert [a / b for a, b in zip(*rates, strict=True)] == pytest.approx([
        t / e for t, e in zip(tokens, examples, strict=True)
    ])  # fmt: skip
