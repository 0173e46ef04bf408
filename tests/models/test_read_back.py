"""At the end of `fit` the checkpoint is loaded once: what it lacks of a method is found."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from tests.contract.basis import SKIES, Forecasts, Letters, Means, means_of, nearest
from tests.contract.state import (
    AttributeNotKept,
    AttributeWithDefault,
    BufferInPrepare,
    BufferNotKept,
    LayerFromFitted,
    LayerInPrepare,
    LayersInList,
    LearntInAttribute,
    RandomProjection,
    Vocabulary,
)
from textclf.errors import UserError
from textclf.evaluation.calibration import Calibrator, Temperature, Thresholds
from textclf.models import (
    FineTunedClassifier,
    LinearProbe,
    TfidfClassifier,
    read_back,
)
from textclf.run.calibration import Calibration
from textclf.run.checkpoints import BestCheckpoint, LastCheckpoint

QUIET = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


class OtherFile(Means):
    """Keeps the means in something else than the checkpoint, which is gone when the checkpoint is loaded."""

    store = None

    def prepare(self, train_rows):
        self.scale = 1
        OtherFile.store = means_of(train_rows, self.num_classes)

    def log_scores(self, batch):
        return nearest(batch["counts"], OtherFile.store * self.scale)


class LayerInSetup(Letters):
    def setup(self, stage):
        self.extra = nn.Linear(8, 8)


class LayerInTraining(Letters):
    def on_train_start(self):
        self.extra = nn.Linear(8, 8)


class LayerReplaced(Letters):
    def prepare(self, train_rows):
        self.layer = nn.Linear(64, 2, bias=False)


class LayerOfOtherSize(Letters):
    def prepare(self, train_rows):
        self.layer = nn.Sequential(self.layer, nn.Linear(2, 2))


class BufferReadInEncode(Letters):
    """Rows are encoded before weights and buffers are loaded."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.register_buffer("mean", torch.zeros(1))

    def prepare(self, train_rows):
        self.mean.fill_(10.0)

    def encode(self, rows):
        return {**super().encode(rows), "shift": [self.mean.item() for _ in rows["text"]]}

    def collate(self, rows):
        return {**super().collate(rows), "shift": torch.tensor(rows["shift"])}

    def log_scores(self, batch):
        scores = super().log_scores(batch).clone()
        scores[:, 0] += batch["shift"]
        return scores.log_softmax(-1)


class Changed(Letters):
    """An attribute that was an argument, and is changed afterwards."""

    def __init__(self, num_classes, label_names, power: float = 1.0):
        super().__init__(num_classes, label_names)
        self.power = power

    def on_train_end(self):
        self.power = 3.0

    def log_scores(self, batch):
        return (super().log_scores(batch) * self.power).log_softmax(-1)


class LostOnSaving(Means):
    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        checkpoint["textclf"]["fitted"] = {}


def fit(kind, folder, *callbacks, **options):
    model = kind(2, SKIES) if isinstance(kind, type) else kind
    options = {"max_epochs": 1, **QUIET, **options}
    trainer = Trainer(default_root_dir=folder, callbacks=[*callbacks, LastCheckpoint()], **options)
    trainer.fit(model, datamodule=Forecasts(batch_size=11))
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            AttributeNotKept,
            r"cannot be used once its checkpoint is loaded \(AttributeError: .*'means'\): keep .* in self.fitted",
        ),
        (
            AttributeWithDefault,
            r"scores rows in another way once its checkpoint is loaded \(a log-probability differs by",
        ),
        (OtherFile, r"cannot be used once its checkpoint is loaded \(AttributeError: .*'scale'"),
        (
            BufferInPrepare,
            ": the checkpoint has mean, which are not there when it is loaded: make layers and buffers in",
        ),
        (LayerInPrepare, ": the checkpoint has layer.weight, layer.bias, which .* __init__ or configure_model"),
        (LayerInSetup, ": the checkpoint has extra.weight, extra.bias"),
        (LayerInTraining, ": the checkpoint has extra.weight, extra.bias"),
        (LayerReplaced, r"cannot be used once its checkpoint is loaded \(RuntimeError"),
        (LayerOfOtherSize, ": the checkpoint has layer.0.weight"),
        (BufferNotKept, "scores rows in another way"),
        (RandomProjection, "scores rows in another way"),
        (LayersInList, "scores rows in another way"),
        (LearntInAttribute, "scores rows in another way"),
        (Vocabulary, r"cannot be used once its checkpoint is loaded \(AttributeError: .*'words'"),
        (Changed, "scores rows in another way"),
        (BufferReadInEncode, r"scores rows in another way .*\(what encode reads, in self.fitted\)"),
        (LostOnSaving, r"cannot be used once its checkpoint is loaded \(KeyError: 'means'"),
    ],
)
def test_what_a_checkpoint_lacks(kind, message, tmp_path):
    name = kind.__name__
    with pytest.raises(UserError, match=f"^{name}{'' if message.startswith(':') else ' '}{message}") as caught:
        fit(kind, tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("kind", [RandomProjection, LayersInList])
def test_the_last_checkpoint_is_compared_whatever_the_best_epoch(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(BestCheckpoint, "on_validation_end", best_is_the_first)
    with pytest.raises(UserError, match=f"^{kind.__name__} scores rows in another way"):
        fit(kind, tmp_path, BestCheckpoint(), max_epochs=3)


def best_is_the_first(self, trainer, pl_module):
    """Saves the first checkpoint, and no other."""
    if trainer.current_epoch == 0:
        ModelCheckpoint.on_validation_end(self, trainer, pl_module)


class UpdatedInTraining(Letters):
    """A prior that is updated in each epoch, and kept."""

    def on_train_epoch_end(self):
        self.fitted = {"prior": [float(self.current_epoch), 0.0]}

    def log_scores(self, batch):
        prior = torch.tensor(self.fitted.get("prior", [0.0, 0.0]))
        return (super().log_scores(batch) + prior).log_softmax(-1)


def test_state_that_changes_after_the_best_epoch_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(BestCheckpoint, "on_validation_end", best_is_the_first)
    assert fit(UpdatedInTraining, tmp_path, BestCheckpoint(), max_epochs=3).state.finished


def test_a_checkpoint_of_an_earlier_step_is_said(tmp_path, capsys):
    class First(ModelCheckpoint):
        on_validation_end = best_is_the_first

    Trainer(default_root_dir=tmp_path, max_epochs=3, callbacks=[First(save_on_train_epoch_end=False)], **QUIET).fit(
        Letters(2, SKIES), datamodule=Forecasts(batch_size=11)
    )
    assert "not compared with those of the trained method: it was saved at step 3, and" in capsys.readouterr().err


class Dropped(Letters):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.drop = nn.Dropout(0.9)

    def log_scores(self, batch):
        return self.layer(self.drop(batch["counts"])).log_softmax(-1)


class Sampled(Letters):
    """Draws random numbers in evaluation, too."""

    def log_scores(self, batch):
        noise = torch.rand(len(batch["counts"]), 64)
        return self.layer(batch["counts"] + noise).log_softmax(-1)


class Undecided(Letters):
    """Gives other scores at each call."""

    calls = 0

    def log_scores(self, batch):
        Undecided.calls += 1
        return (super().log_scores(batch) * Undecided.calls).log_softmax(-1)


class Normed(Letters):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.norm = nn.BatchNorm1d(64)

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


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [Letters, Means, Dropped, Sampled, Undecided, LayerFromFitted, Normed, Unanswered, ReadsLabel],
)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_false_alarm(kind, precision, tmp_path):
    trainer = fit(kind, tmp_path, precision=precision)
    assert trainer.state.finished
    assert trainer.lightning_module.training
    assert any(isinstance(callback, read_back.CheckpointReadBack) for callback in trainer.callbacks)


@pytest.mark.slow
def test_methods_of_ours(tiny_encoder, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(read_back, "compare_scores", lambda model, copy, *_: loaded.append((model, copy)))
    source = str(tiny_encoder)
    methods = [
        TfidfClassifier(2, SKIES, min_df=1),
        FineTunedClassifier(2, SKIES, source, max_length=16),
        FineTunedClassifier(2, SKIES, source, max_length=16, freeze_layers=1),
        LinearProbe(2, SKIES, source),
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
    assert fit(Letters, tmp_path, *(Calibration(kind()) for kind in kinds)).state.finished


def test_random_numbers_go_on_as_without_the_check(tmp_path, monkeypatch):
    drawn = []
    for place in range(2):
        torch.manual_seed(1)
        fit(Letters, tmp_path / str(place))
        drawn.append(torch.rand(1).item())
        monkeypatch.setattr(read_back.CheckpointReadBack, "_compare", lambda *_: None)
    assert drawn[0] == drawn[1]


def test_large_networks_are_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(read_back, "LARGEST", 10)
    fit(RandomProjection, tmp_path)
    assert "the checkpoint is not read back to check it: the network has 130 parameters" in capsys.readouterr().err


def test_without_a_checkpoint_there_is_nothing_to_check(tmp_path):
    Trainer(default_root_dir=tmp_path, max_epochs=1, enable_checkpointing=False, **QUIET).fit(
        RandomProjection(2, SKIES), datamodule=Forecasts(batch_size=11)
    )


def test_a_checkpoint_of_lightning_is_checked_as_well(tmp_path):
    with pytest.raises(UserError, match=r"^RandomProjection scores rows in another way"):
        Trainer(default_root_dir=tmp_path, max_epochs=1, **QUIET).fit(
            RandomProjection(2, SKIES), datamodule=Forecasts(batch_size=11)
        )


@pytest.mark.slow
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("where", ["built_from", "_scores"])
def test_without_memory_for_a_second_network_the_run_goes_on(where, error, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise error

    monkeypatch.setattr({"built_from": Letters, "_scores": read_back}[where], where, fail)
    assert fit(Letters, tmp_path).state.finished
    assert "not read back to check it: there is no memory for a second network" in capsys.readouterr().err
