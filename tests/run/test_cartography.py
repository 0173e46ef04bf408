"""The map of the train rows: how probable the label of each was after each epoch."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from lightning.pytorch import Callback

from tests.several_processes import run_on_processes
from textclf import run_experiment
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import FineTunedClassifier, LinearProbe, TfidfClassifier
from textclf.run import DatasetCartography


class Asked(Callback):
    """Asks the model for each train text after each epoch, one text at a time."""

    def __init__(self):
        self.epochs = []

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.eval()
        with torch.random.fork_rng(devices=[]):
            self.epochs.append([pl_module.classify([text])[0] for text in trainer.datamodule.rows("train")["text"]])
        pl_module.train()


def fitted(rows_folder, tiny_encoder, run_dir, callbacks, epochs=3, **options):
    data = FilesDataModule(str(rows_folder), batch_size=7)
    model = FineTunedClassifier(
        2, data.label_names, str(tiny_encoder), learning_rate=0.01, warmup=0, schedule="constant"
    )
    run_experiment(
        model, data, command="fit", run_dir=run_dir, callbacks=callbacks, seed=3, max_epochs=epochs, logger=False,
        enable_progress_bar=False, precision="32-true", **options,
    )  # fmt: skip
    return model


def map_of(run_dir):
    return pq.read_table(run_dir / "report/cartography.parquet")


@pytest.mark.slow
def test_the_map_has_mean_spread_and_correctness_of_each_train_row(rows_folder, tiny_encoder, tmp_path, capsys):
    asked = Asked()
    fitted(rows_folder, tiny_encoder, tmp_path / "run", [DatasetCartography(), asked])
    table = map_of(tmp_path / "run")
    rows = FilesDataModule(str(rows_folder)).rows("train")
    assert table.column_names == ["id", "text", "label_name", "mean", "spread", "correctness"]
    assert table.schema.metadata[b"epochs"] == b"3"
    assert table["id"].to_pylist() == rows["id"][:]
    assert table["text"].to_pylist() == rows["text"][:]
    labels = table["label_name"].to_pylist()
    probabilities, correct = [], []
    for answers in asked.epochs:
        right = [answer["label"] == label for answer, label in zip(answers, labels, strict=True)]
        of_label = [answer["score"] if ok else 1 - answer["score"] for answer, ok in zip(answers, right, strict=True)]
        probabilities.append(of_label)
        correct.append(right)
    np.testing.assert_allclose(table["mean"].to_numpy(), np.mean(probabilities, axis=0), atol=1e-4)
    np.testing.assert_allclose(table["spread"].to_numpy(), np.std(probabilities, axis=0), atol=1e-4)
    np.testing.assert_allclose(table["correctness"].to_numpy(), np.mean(correct, axis=0))
    assert "the map of the train rows over 3 epochs is in" in capsys.readouterr().err


@pytest.mark.slow
def test_training_does_not_change(rows_folder, tiny_encoder, tmp_path):
    plain = fitted(rows_folder, tiny_encoder, tmp_path / "plain", [], epochs=2)
    mapped = fitted(rows_folder, tiny_encoder, tmp_path / "mapped", [DatasetCartography()], epochs=2)
    for (name, weight), other in zip(plain.state_dict().items(), mapped.state_dict().values(), strict=True):
        assert torch.equal(weight, other), name


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_the_epochs_before(rows_folder, tiny_encoder, tmp_path):
    fitted(rows_folder, tiny_encoder, tmp_path / "whole", [DatasetCartography()])
    fitted(rows_folder, tiny_encoder, tmp_path / "parts", [DatasetCartography()], epochs=2)
    fitted(rows_folder, tiny_encoder, tmp_path / "parts", [DatasetCartography()], ckpt_path="last")
    whole, parts = map_of(tmp_path / "whole"), map_of(tmp_path / "parts")
    assert parts.schema.metadata[b"epochs"] == b"3"
    for name in ("mean", "spread", "correctness"):
        np.testing.assert_allclose(parts[name].to_numpy(), whole[name].to_numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options", "epochs", "message"),
    [
        (
            TfidfClassifier,
            {},
            3,
            "DatasetCartography compares epochs of training, and TfidfClassifier is fitted at once",
        ),
        (LinearProbe, {}, 3, "LinearProbe is fitted at once"),
        (FineTunedClassifier, {}, 1, "DatasetCartography compares epochs, and max_epochs is 1"),
    ],
)
def test_what_has_no_epochs_to_compare_is_refused(
    kind, options, epochs, message, rows_folder, tiny_encoder, tmp_path
):  # fmt: skip
    data = FilesDataModule(str(rows_folder))
    encoder = {} if kind is TfidfClassifier else {"pretrained": str(tiny_encoder)}
    with pytest.raises(UserError, match=message):
        run_experiment(
            kind(2, data.label_names, **encoder), data, run_dir=tmp_path / "run",
            max_epochs=epochs, callbacks=[DatasetCartography()],
        )  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.slow
def test_each_row_counts_once_on_several_processes(rows_folder, tiny_encoder, tmp_path):
    """At a tiny learning rate, the weights are the same for any number of processes."""
    rows = [json.dumps({"text": text, "label": label}) for text, label in unequal_rows(rows_folder)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("\n".join(rows))

    def command(name):
        return [
            "fit", "--data", "FilesDataModule", "--data.data_dir", str(tmp_path / "data"), "--data.val_size", "0",
            "--model", "FineTunedClassifier", "--model.pretrained", str(tiny_encoder), "--model.learning_rate", "1e-9",
            "--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true",
            "--trainer.callbacks+=DatasetCartography", "--trainer.logger", "false", "--run_dir", str(tmp_path / name),
        ]  # fmt: skip

    main(command("one"))
    run_on_processes(3, command("three"))
    one, three = map_of(tmp_path / "one"), map_of(tmp_path / "three")
    assert len(three) == len(rows)
    assert three["id"].to_pylist() == one["id"].to_pylist()
    np.testing.assert_allclose(three["mean"].to_numpy(), one["mean"].to_numpy(), atol=1e-5)


def unequal_rows(folder):
    """19 rows: no multiple of 3."""
    rows = FilesDataModule(str(folder), val_size=0)
    return [(row["text"], rows.label_names[row["label"]]) for row in rows.rows("train").select(range(19))]
