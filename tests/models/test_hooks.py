"""Hooks of the base classes do their work whatever a subclass overrides, with `super()` or without it."""

import json

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from tests.scoring.tiny import save_tiny_lm
from tests.several_processes import run_on_processes
from textclf.cli import main
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.evaluation.prediction_table import read_predictions
from textclf.models import CausalLMClassifier, FineTunedClassifier, LinearProbe, PreparedClassifier, TextClassifier
from textclf.models.hooks import keep_required_hooks, merged_outputs, required_hook
from textclf.models.state import MethodState
from textclf.run.checkpoints import BestCheckpoint
from textclf.run.report import ReportWriter

NAMES = ("negative", "positive")


class Learner(TextClassifier):
    """Logistic regression on hashed words."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.layer = nn.Linear(64, num_classes)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def collate(self, rows):
        counts = torch.zeros(len(rows["text"]), 64)
        for row, text in zip(counts, rows["text"], strict=True):
            for word in text.split():
                row[sum(word.encode()) % 64] += 1
        return {"counts": counts}

    def log_scores(self, batch):
        return self.layer(batch["counts"]).log_softmax(-1)

    def training_step(self, batch, batch_idx):
        return nn.functional.nll_loss(self.log_scores(batch), batch["labels"])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


def run(model, rows_folder, folder):
    """Fits three epochs, tests the best; gives the metrics, the best checkpoint and the table of predictions."""
    best = BestCheckpoint()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=folder, max_epochs=3, callbacks=[best, ReportWriter()], **quiet)
    data = FilesDataModule(str(rows_folder), batch_size=8)
    trainer.fit(model, datamodule=data)
    fitted = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    trainer.test(model, datamodule=data, ckpt_path=best.best_model_path, verbose=False)
    tested = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
    table = read_predictions(folder / "report" / "predictions.parquet")
    return fitted | tested | {"best": float(best.best_model_score)}, best.best_model_path, table


@pytest.fixture(scope="module")
def plain(rows_folder, tmp_path_factory):
    return run(Learner(2, NAMES), rows_folder, tmp_path_factory.mktemp("plain"))


def loss_of(self, batch):
    return nn.functional.nll_loss(self.log_scores(batch), batch["labels"])


class LogsLoss(Learner):
    def validation_step(self, batch, batch_idx):
        self.log("own", loss_of(self, batch))


class ReturnsLoss(Learner):
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        return loss_of(self, batch)

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        return loss_of(self, batch)


class ReturnsDictionary(Learner):
    def validation_step(self, batch):
        return {"loss": loss_of(self, batch), "more": 1}

    def test_step(self, batch):
        return {"loss": loss_of(self, batch), "more": 1}


class TakesLabelsOut(Learner):
    @torch.no_grad()
    def validation_step(self, batch, *rest):
        labels = batch.pop("labels")
        assert len(labels) == len(batch.pop("row"))

    test_step = validation_step


class ChangesTensors(Learner):
    """Masks inputs and labels in place, as for another loss."""

    def validation_step(self, batch, batch_idx):
        for name in ("counts", "labels", "row"):
            batch[name].zero_()

    test_step = validation_step


class TakesAllOut(Learner):
    """Leaves only the inputs of its network in the batch."""

    def log_scores(self, batch):
        for name in set(batch) - {"counts"}:
            batch.pop(name)
        return super().log_scores(batch)

    def training_step(self, batch, batch_idx):
        return nn.functional.nll_loss(super().log_scores(batch), batch["labels"])


class CallsSuper(Learner):
    def validation_step(self, batch, batch_idx):
        result = super().validation_step(batch, batch_idx)
        return {**result, "loss": loss_of(self, batch)}

    def test_step(self, batch, batch_idx):
        super().test_step(batch, batch_idx)

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()

    def on_save_checkpoint(self, checkpoint):
        super().on_save_checkpoint(checkpoint)
        checkpoint["own"] = checkpoint["textclf"]["train_rows"]

    def on_load_checkpoint(self, checkpoint):
        super().on_load_checkpoint(checkpoint)
        self.own = checkpoint["own"]


class OverridesAll(Learner):
    """Every hook that is listed, and none calls `super()`."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.seen = set()

    def validation_step(self, batch, batch_idx):
        self.seen.add("validation_step")

    def test_step(self, batch, batch_idx):
        self.seen.add("test_step")

    def on_validation_epoch_end(self):
        self.seen.add("on_validation_epoch_end")

    def on_test_epoch_end(self):
        self.seen.add("on_test_epoch_end")

    def on_validation_start(self):
        self.seen.add("on_validation_start")

    def on_test_start(self):
        self.seen.add("on_test_start")

    def on_train_start(self):
        self.seen.add("on_train_start")

    def on_fit_start(self):
        self.seen.add("on_fit_start")

    def on_save_checkpoint(self, checkpoint):
        checkpoint["own"] = 60

    def on_load_checkpoint(self, checkpoint):
        self.own = checkpoint["own"]

    def configure_callbacks(self):
        return Callback()


class Grandchild(OverridesAll):
    """Calls a parent that does not call its own."""

    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()

    def on_test_epoch_end(self):
        self.seen.add("own")


class Logging:
    """No classifier: a part of one."""

    def validation_step(self, batch, batch_idx):
        self.log("own", loss_of(self, batch))

    def on_validation_epoch_end(self):
        self.log("own_at_end", 1.0)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["own"] = 60


class Passing(Logging):
    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        return None

    def test_step(self, batch, batch_idx):
        return super().test_step(batch, batch_idx)


class WithMixin(Logging, Learner):
    pass


class WithMixins(Passing, WithMixin):
    pass


class Manual(Learner):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss_of(self, batch))
        optimizer.step()

    def validation_step(self, batch, batch_idx):
        self.log("own", loss_of(self, batch))


class OnTheObject(Learner):
    """Neither wrapped nor seen: the evaluation has to stop."""

    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.validation_step = lambda batch, batch_idx: None


KINDS = [
    LogsLoss,
    ReturnsLoss,
    ReturnsDictionary,
    TakesLabelsOut,
    ChangesTensors,
    TakesAllOut,
    CallsSuper,
    OverridesAll,
    Grandchild,
    WithMixin,
    WithMixins,
    Manual,
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_override_changes_no_figure(kind, plain, rows_folder, tmp_path):
    figures, _, table = plain
    model = kind(2, NAMES)
    found, checkpoint, own_table = run(model, rows_folder, tmp_path)
    assert {name: found[name] for name in figures} == pytest.approx(figures)
    assert figures["val/macro_f1"] > 0.7
    assert own_table.ids == table.ids
    assert own_table.predictions.tolist() == table.predictions.tolist()
    again = TextClassifier.load_from_checkpoint(checkpoint)
    assert type(again) is kind
    assert again.textclf.train_rows == 60
    assert getattr(again, "own", 60) == 60
    assert getattr(model, "seen", {"on_fit_start"}) >= {"on_fit_start"}


class Interrupted(Callback):
    """Stops the first evaluation after a batch."""

    def on_validation_batch_end(self, *args):
        raise InterruptedError

    on_test_batch_end = on_validation_batch_end


class WholeSplit(Learner):
    needs_whole_split = True


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Learner, WholeSplit])
@pytest.mark.parametrize("command", ["validate", "test"])
def test_nothing_is_left_of_an_evaluation_that_was_interrupted(kind, command, rows_folder, tmp_path):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    data = FilesDataModule(str(rows_folder), eval_batch_size=8)
    model, found = kind(2, NAMES), []
    with pytest.raises(InterruptedError):
        evaluate = getattr(Trainer(default_root_dir=tmp_path, callbacks=[Interrupted()], **quiet), command)
        evaluate(model, datamodule=data, verbose=False)
    for each in (model, kind(2, NAMES)):
        found += getattr(Trainer(default_root_dir=tmp_path, **quiet), command)(each, datamodule=data, verbose=False)
    assert found[0] == found[1]


def test_an_evaluation_that_counts_nothing_stops(rows_folder, tmp_path):
    with pytest.raises(UserError, match=r"^OnTheObject counted no batch of this evaluation: define validation_step"):
        run(OnTheObject(2, NAMES), rows_folder, tmp_path)


@pytest.mark.parametrize(
    ("returned", "merged"),
    [
        (None, {"row": 1}),
        (2.5, {"output": 2.5, "row": 1}),
        ([3], {"output": [3], "row": 1}),
        ({}, {"row": 1}),
        ({"more": 2}, {"more": 2, "row": 1}),
        ({"more": 2, "row": 1}, {"more": 2, "row": 1}),
    ],
)
def test_what_a_step_returns_is_added(returned, merged):
    row = torch.tensor([1])
    given = {**returned, "row": row.clone()} if isinstance(returned, dict) and "row" in returned else returned
    found = merged_outputs("Own.test_step", {"row": row}, given)
    assert found["row"] is row
    assert {**found, "row": 1} == merged


def test_a_loss_is_added_by_its_name():
    assert merged_outputs("Own.test_step", {"row": torch.zeros(1)}, torch.tensor(2.0))["loss"] == 2


@pytest.mark.parametrize("value", [torch.tensor([2]), torch.tensor([1, 1]), [1], None])
def test_counted_results_cannot_be_replaced(value):
    with pytest.raises(UserError, match=r"^Own\.test_step returned other values as 'row' than those that were counted"):
        merged_outputs("Own.test_step", {"row": torch.tensor([1])}, {"row": value})


# The mechanism alone


class Base:
    def __init_subclass__(cls):
        keep_required_hooks(cls)

    def __init__(self):
        self.textclf, self.calls = MethodState(), []

    @required_hook
    def on_end(self):
        self.calls.append("base")


class Middle(Base):
    @required_hook
    def on_end(self):
        super().on_end()
        self.calls.append("middle")


class Child(Middle):
    def on_end(self):
        self.calls.append("child")


class Polite(Child):
    def on_end(self):
        super().on_end()
        self.calls.append("polite")


class Aside:
    def on_end(self):
        self.calls.append("aside")


class AsidePolite:
    def on_end(self):
        super().on_end()
        self.calls.append("aside polite")


class Failing(Middle):
    def on_end(self):
        raise KeyError


class Mixed(Aside, Polite):
    pass


class MixedPolite(AsidePolite, Child):
    pass


class BaseMixin(Base):
    def on_end(self):
        self.calls.append("mixin")


class Diamond(BaseMixin, Middle):
    pass


@pytest.mark.parametrize(
    ("kind", "calls"),
    [
        (Base, "base"),
        (Middle, "base, middle"),
        (Child, "child, base, middle"),
        (Polite, "child, base, middle, polite"),
        (Mixed, "aside, base, middle"),
        (MixedPolite, "child, base, middle, aside polite"),
        (Diamond, "mixin, base, middle"),
    ],
)
def test_the_nearest_required_hook_runs_once(kind, calls):
    found = kind()
    found.on_end()
    assert ", ".join(found.calls) == calls
    assert not found.textclf.hook_calls


def test_an_error_in_an_override_is_its_own():
    found = Failing()
    with pytest.raises(KeyError):
        found.on_end()
    assert not found.calls
    assert not found.textclf.hook_calls


# Hooks of the built-in methods


class Tuned(FineTunedClassifier):
    def on_fit_start(self):
        pass

    def on_save_checkpoint(self, checkpoint):
        checkpoint["own"] = 1


@pytest.mark.slow
def test_class_weights_and_frozen_weights_of_fine_tuning(tiny_encoder, rows_folder, tmp_path):
    weights, sizes = [], []
    for kind in (FineTunedClassifier, Tuned):
        torch.manual_seed(0)
        recipe = {"class_weights": {"positive": 3.0}, "freeze_layers": 1}
        model = kind(2, NAMES, pretrained=str(tiny_encoder), max_length=16, **recipe)
        _, checkpoint, _ = run(model, rows_folder, tmp_path / kind.__name__)
        weights.append(model.loss_weights.tolist())
        sizes.append(torch.load(checkpoint, weights_only=True)["state_dict"].keys())
        kind.load_from_checkpoint(checkpoint)
    assert weights == [[1.0, 3.0], [1.0, 3.0]]
    assert sizes[0] == sizes[1]


class Probe(LinearProbe):
    def on_fit_start(self):
        pass

    def on_train_epoch_start(self):
        pass


def test_the_grid_of_a_linear_probe(tiny_encoder, rows_folder, tmp_path):
    model = Probe(2, NAMES, pretrained=str(tiny_encoder), C=[0.01, 1.0])
    run(model, rows_folder, tmp_path)
    assert list(model.fitted["grid"]) == ["0.01", "1.0"]
    assert model.trainer.current_epoch == 1


class Prepared(PreparedClassifier):
    def prepare(self, train_rows):
        self.fitted = {"rows": len(train_rows)}

    def log_scores(self, batch):
        return torch.full((len(batch["text"]), 2), 0.5).log()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        pass


def test_a_prepared_method_ends_after_a_step(rows_folder, tmp_path):
    model = Prepared(2, NAMES)
    run(model, rows_folder, tmp_path)
    assert model.trainer.fit_loop.total_batch_idx == 0


class Asks(CausalLMClassifier):
    def configure_callbacks(self):
        return [Callback()]

    def test_step(self, batch, batch_idx):
        self.seen = True


def test_likelihoods_of_a_causal_language_model_are_kept(rows_folder, tmp_path):
    model = Asks(2, NAMES, pretrained=str(save_tiny_lm(tmp_path / "lm")), prompt="Film: {text}\nIt is")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(default_root_dir=tmp_path, callbacks=[ReportWriter()], **quiet)
    trainer.test(model, datamodule=FilesDataModule(str(rows_folder)), verbose=False)
    assert model.seen
    assert (tmp_path / "report" / "scores.parquet").is_file()


class Trained(CausalLMClassifier):
    def configure_callbacks(self):
        return Callback()

    def training_step(self, batch, batch_idx):
        return None


def test_callbacks_of_all_base_classes_are_kept(tmp_path):
    model = Trained(2, NAMES, pretrained="nowhere", prompt="Film: {text}\nIt is")
    model.trainer = Trainer(default_root_dir=tmp_path, logger=False, accelerator="cpu")
    names = [type(callback).__name__ for callback in model.configure_callbacks()]
    assert names == ["Callback", "CheckpointReadBack", "ScoreRecord"]


@pytest.mark.exhaustive
def test_two_processes_count_the_rows_of_an_override(rows_folder, tmp_path):
    options = [
        *("fit", "--model", f"{__name__}.LogsLoss", "--seed_everything", "1"),
        *("--data", "FilesDataModule", "--data.data_dir", str(rows_folder), "--trainer.logger", "false"),
        *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--trainer.max_epochs", "3"),
    ]
    main([*options, "--data.batch_size", "16", "--run_dir", str(tmp_path / "1")])
    run_on_processes(2, [*options, "--data.batch_size", "8", "--run_dir", str(tmp_path / "2")])
    figures = [json.loads((tmp_path / name / "report" / "metrics.json").read_text()) for name in ("1", "2")]
    assert figures[0]["examples"] == figures[1]["examples"] == 21
    assert figures[1]["test/macro_f1"] > 0.7
    best = torch.load(tmp_path / "2" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] > 4, "later than the first epoch"
