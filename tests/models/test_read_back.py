"""At the end of `fit` the checkpoint is loaded once: what it lacks of a method is found."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from lightning.pytorch import Trainer
from torch import nn

from textclf.data import TextDataModule
from textclf.errors import UserError
from textclf.evaluation.calibration import Calibrator, Temperature, Thresholds
from textclf.models import (
    FineTunedClassifier,
    LinearProbe,
    PreparedClassifier,
    TextClassifier,
    TfidfClassifier,
    read_back,
)
from textclf.run.calibration import Calibration
from textclf.run.checkpoints import LastCheckpoint

NAMES = ("dry", "wet")
QUIET = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


class Weather(TextDataModule):
    label_names = NAMES

    def source_splits(self):
        return ("train", "validation", "test")

    def load_split(self, split):
        texts = [f"{split} {('sun', 'rain')[i % 2]} {i}" for i in range(16)]
        return Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(16)]})


def counts_of(texts):
    return torch.tensor([[float(text.count(letter)) for letter in "sunrain "] for text in texts])


class Letters(TextClassifier):
    """A linear layer on counts of letters."""

    def __init__(self, num_classes=2, label_names=NAMES):
        super().__init__(num_classes, label_names)
        self.layer = nn.Linear(8, num_classes)

    def collate(self, rows):
        return {"counts": counts_of(rows["text"])}

    def log_scores(self, batch):
        return self.layer(batch["counts"]).log_softmax(-1)

    def training_step(self, batch, batch_idx):
        return nn.functional.nll_loss(self.log_scores(batch), batch["labels"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Means(PreparedClassifier):
    """The nearest mean; a subclass keeps the means in `keep`, and finds them in `kept`."""

    def __init__(self, num_classes=2, label_names=NAMES):
        super().__init__(num_classes, label_names)

    def prepare(self, train_rows):
        counts, labels = counts_of(train_rows["text"]), torch.tensor(train_rows["label"])
        self.keep(torch.stack([counts[labels == label].mean(0) for label in range(2)]))

    def keep(self, means):
        self.fitted = {"means": means}

    def kept(self):
        return self.fitted["means"]

    def log_scores(self, batch):
        return (-torch.cdist(counts_of(batch["text"]), self.kept())).log_softmax(-1)


class Attribute(Means):
    def keep(self, means):
        self.means = means

    def kept(self):
        return self.means


class AttributeWithDefault(Attribute):
    means = torch.zeros(2, 8)


class OtherFile(Means):
    """Something else than the checkpoint, which is there no more when it is loaded."""

    store = None

    def keep(self, means):
        self.where = 1
        OtherFile.store = means

    def kept(self):
        return OtherFile.store * self.where


class BufferInPrepare(Letters):
    def prepare(self, train_rows):
        self.register_buffer("mean", torch.ones(8))


class LayerInPrepare(Letters):
    def prepare(self, train_rows):
        self.extra = nn.Linear(8, 8)


class LayerInSetup(Letters):
    def setup(self, stage):
        self.extra = nn.Linear(8, 8)


class LayerInTraining(Letters):
    def on_train_start(self):
        self.extra = nn.Linear(8, 8)


class LayerReplaced(Letters):
    def prepare(self, train_rows):
        self.layer = nn.Linear(8, 2, bias=False)


class LayerOfOtherSize(Letters):
    def prepare(self, train_rows):
        self.layer = nn.Sequential(self.layer, nn.Linear(2, 2))


class HiddenBuffer(Means):
    def __init__(self):
        super().__init__()
        self.register_buffer("means", torch.zeros(2, 8), persistent=False)

    def keep(self, means):
        self.means = means

    def kept(self):
        return self.means


class RandomProjection(Letters):
    def __init__(self):
        super().__init__()
        self.projection = torch.randn(8, 8)

    def log_scores(self, batch):
        return self.layer(batch["counts"] @ self.projection).log_softmax(-1)


class LayersInList(Letters):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8)]

    def log_scores(self, batch):
        return self.layer(self.layers[0](batch["counts"])).log_softmax(-1)


class CountsInTraining(Letters):
    prior = None

    def training_step(self, batch, batch_idx):
        self.prior = torch.tensor([1.0, 3.0])
        return super().training_step(batch, batch_idx)

    def log_scores(self, batch):
        scores = super().log_scores(batch)
        return scores if self.prior is None else (scores + self.prior).log_softmax(-1)


class Vocabulary(Letters):
    def prepare(self, train_rows):
        self.words = {"sun": 1, "rain": 2}

    def encode(self, rows):
        ids = [[self.words.get(word, 0) for word in text.split()] for text in rows["text"]]
        return {"length": [len(row) for row in ids], "ids": ids}


class Changed(Letters):
    """An attribute that was an argument, and is changed afterwards."""

    def __init__(self, power: float = 1.0):
        super().__init__()
        self.power = power

    def on_train_end(self):
        self.power = 3.0

    def log_scores(self, batch):
        return (super().log_scores(batch) * self.power).log_softmax(-1)


class LostOnSaving(Means):
    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        checkpoint["textclf"]["fitted"] = {}


def fit(model, folder, *callbacks, **options):
    options = {"max_epochs": 1, **QUIET, **options}
    trainer = Trainer(default_root_dir=folder, callbacks=[LastCheckpoint(), *callbacks], **options)
    trainer.fit(model, datamodule=Weather(batch_size=8))
    return trainer


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Attribute,
            r"cannot be used once its checkpoint is loaded \(AttributeError: .*'means'\): keep .* in self.fitted",
        ),
        (
            AttributeWithDefault,
            r"scores rows in another way once its checkpoint is loaded \(a log-probability differs by",
        ),
        (OtherFile, r"cannot be used once its checkpoint is loaded \(AttributeError: .*'where'"),
        (
            BufferInPrepare,
            ": the checkpoint has mean, which are not there when it is loaded: make layers and buffers in",
        ),
        (LayerInPrepare, ": the checkpoint has extra.weight, extra.bias, which .* __init__ or configure_model"),
        (LayerInSetup, ": the checkpoint has extra.weight, extra.bias"),
        (LayerInTraining, ": the checkpoint has extra.weight, extra.bias"),
        (LayerReplaced, r"cannot be used once its checkpoint is loaded \(RuntimeError"),
        (LayerOfOtherSize, ": the checkpoint has layer.0.weight"),
        (HiddenBuffer, "scores rows in another way"),
        (RandomProjection, "scores rows in another way"),
        (LayersInList, "scores rows in another way"),
        (CountsInTraining, "scores rows in another way"),
        (Vocabulary, r"cannot be used once its checkpoint is loaded \(AttributeError: .*'words'"),
        (Changed, "scores rows in another way"),
        (LostOnSaving, r"cannot be used once its checkpoint is loaded \(KeyError: 'means'"),
    ],
)
def test_what_a_checkpoint_lacks(kind, message, tmp_path):
    name = kind.__name__
    with pytest.raises(UserError, match=f"^{name}{'' if message.startswith(':') else ' '}{message}") as caught:
        fit(kind(), tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


class Dropped(Letters):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.9)

    def log_scores(self, batch):
        return self.layer(self.drop(batch["counts"])).log_softmax(-1)


class Sampled(Letters):
    """Draws random numbers in evaluation, too."""

    def log_scores(self, batch):
        noise = torch.rand(len(batch["counts"]), 8)
        return self.layer(batch["counts"] + noise).log_softmax(-1)


class Undecided(Letters):
    """Gives other scores at each call."""

    calls = 0

    def log_scores(self, batch):
        Undecided.calls += 1
        return (super().log_scores(batch) * Undecided.calls).log_softmax(-1)


class LayerFromFitted(Letters):
    def __init__(self):
        super().__init__()
        del self.layer

    def prepare(self, train_rows):
        self.fitted = {"size": 8}

    def configure_model(self):
        if not hasattr(self, "layer"):
            self.layer = nn.Linear(self.fitted["size"], self.num_classes)


class Normed(Letters):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def log_scores(self, batch):
        return self.layer(self.norm(batch["counts"])).log_softmax(-1)


class Unanswered(Letters):
    """NaN and -inf are scores, too."""

    def log_scores(self, batch):
        scores = super().log_scores(batch) * 0 + torch.tensor([0.0, -torch.inf])
        scores[::2] = torch.nan
        return scores


class ReadsLabel(Letters):
    def collate(self, rows):
        return {**super().collate(rows), "weights": torch.ones(len(rows["label"]))}


@pytest.mark.parametrize(
    "kind",
    [Letters, Means, Dropped, Sampled, Undecided, LayerFromFitted, Normed, Unanswered, ReadsLabel],
)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_false_alarm(kind, precision, tmp_path):
    model = kind()
    trainer = fit(model, tmp_path, precision=precision)
    assert trainer.state.finished and model.training
    assert any(isinstance(callback, read_back.CheckpointReadBack) for callback in trainer.callbacks)


@pytest.mark.slow
def test_methods_of_ours(tiny_encoder, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(read_back, "compare_scores", lambda model, copy, *_: loaded.append((model, copy)))
    source = str(tiny_encoder)
    methods = [
        TfidfClassifier(2, NAMES, min_df=1),
        FineTunedClassifier(2, NAMES, source, max_length=16),
        FineTunedClassifier(2, NAMES, source, max_length=16, freeze_layers=1),
        LinearProbe(2, NAMES, source),
    ]
    for place, method in enumerate(methods):
        fit(method, tmp_path / str(place))
    assert [model for model, _ in loaded] == methods
    assert loaded[-1][0].embedder is loaded[-1][1].embedder
    monkeypatch.undo()
    for place, method in enumerate(methods):
        fit(method, tmp_path / f"again-{place}")


class Wet(Calibrator):
    decides = True

    def fit(self, scores, labels):
        return self

    def apply(self, scores):
        return scores + np.array([0.0, 9.0])


@pytest.mark.parametrize("kinds", [[Temperature], [Thresholds, Temperature], [Wet, Temperature], [Wet]])
def test_calibrators_are_compared_alike(kinds, tmp_path, monkeypatch):
    monkeypatch.setattr(Temperature, "fit", lambda self, scores, labels: self)  # it stays 1
    assert fit(Letters(), tmp_path, *(Calibration(kind()) for kind in kinds)).state.finished


def test_random_numbers_go_on_as_without_the_check(tmp_path, monkeypatch):
    drawn = []
    for place in range(2):
        torch.manual_seed(1)
        fit(Letters(), tmp_path / str(place))
        drawn.append(torch.rand(1).item())
        monkeypatch.setattr(read_back.CheckpointReadBack, "_compare", lambda *_: None)
    assert drawn[0] == drawn[1]


def test_large_networks_are_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(read_back, "LARGEST", 10)
    fit(RandomProjection(), tmp_path)
    assert "the checkpoint is not read back to check it: the network has 18 parameters" in capsys.readouterr().err


def test_without_a_checkpoint_there_is_nothing_to_check(tmp_path):
    Trainer(default_root_dir=tmp_path, max_epochs=1, enable_checkpointing=False, **QUIET).fit(
        RandomProjection(), datamodule=Weather(batch_size=8)
    )


def test_a_checkpoint_of_lightning_is_checked_as_well(tmp_path):
    with pytest.raises(UserError, match=r"^RandomProjection scores rows in another way"):
        Trainer(default_root_dir=tmp_path, max_epochs=1, **QUIET).fit(
            RandomProjection(), datamodule=Weather(batch_size=8)
        )
