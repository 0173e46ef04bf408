"""Hooks that researchers override without calling the base's; training and evaluation must go on as they did."""

import collections

import lightning
import numpy as np
import torch

from tests.contract.basis import Letters, Uniform


class LogsValidationLoss(Letters):
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.training_step(batch, batch_idx), batch_size=8)


class ReturnsValidationLoss(Letters):
    def validation_step(self, batch, batch_idx):
        return self.training_step(batch, batch_idx)


class ReturnsDictionary(Letters):
    def validation_step(self, batch, batch_idx):
        return {"loss": self.training_step(batch, batch_idx), "texts": len(batch["counts"])}


class CallsSuper(Letters):
    def validation_step(self, batch, batch_idx):
        outputs = super().validation_step(batch, batch_idx)
        self.log("val/loss", self.training_step(batch, batch_idx), batch_size=8)
        return outputs

    def test_step(self, batch, batch_idx):
        return super().test_step(batch, batch_idx)


class LogsTestLoss(Letters):
    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.training_step(batch, batch_idx), batch_size=8)


class ReturnsTestLoss(Letters):
    def test_step(self, batch, batch_idx):
        return self.training_step(batch, batch_idx)


class BothSteps(Letters):
    def step(self, batch, split):
        loss = self.training_step(batch, 0)
        self.log(f"{split}/loss", loss, batch_size=8)
        return loss

    def validation_step(self, batch, batch_idx):
        return self.step(batch, "val")

    def test_step(self, batch, batch_idx):
        return self.step(batch, "test")


class Mixin:
    """Logs a loss for whatever class it is mixed into."""

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.training_step(batch, batch_idx), batch_size=8)

    def on_validation_epoch_end(self):
        pass


class Mixed(Mixin, Letters):
    pass


class ModuleMixin(lightning.LightningModule):
    def validation_step(self, batch, batch_idx):
        return self.training_step(batch, batch_idx)


class MixedModule(ModuleMixin, Letters):
    pass


class Aliased(Letters):
    def evaluation_step(self, batch, batch_idx):
        return self.training_step(batch, batch_idx)

    validation_step = evaluation_step
    test_step = evaluation_step


class TestCallsValidation(Letters):
    __test__ = False  # this is no test

    def validation_step(self, batch, batch_idx):
        self.log("loss", self.training_step(batch, batch_idx), batch_size=8)

    def test_step(self, batch, batch_idx):
        return self.validation_step(batch, batch_idx)


class TwoLevels(LogsValidationLoss):
    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        return torch.tensor(1.0)


class WithoutGradient(Letters):
    @torch.no_grad()
    def validation_step(self, batch, batch_idx):
        return self.training_step(batch, batch_idx)


class OneArgument(Letters):
    def validation_step(self, batch):
        self.log("val/loss", self.training_step(batch, 0), batch_size=8)


class EpochEnds(Letters):
    def on_validation_epoch_end(self):
        pass

    def on_test_epoch_end(self):
        pass


class LogsAtEpochEnd(Letters):
    def validation_step(self, batch, batch_idx):
        self.losses = [*getattr(self, "losses", []), self.training_step(batch, batch_idx)]

    def on_validation_epoch_end(self):
        self.log("val/loss", torch.stack(self.losses).mean())
        self.losses.clear()


class Starts(Letters):
    def on_fit_start(self):
        pass

    def on_train_start(self):
        pass

    def on_validation_start(self):
        pass

    def on_test_start(self):
        pass


class EpochStarts(Letters):
    def on_validation_epoch_start(self):
        pass

    def on_test_epoch_start(self):
        pass

    def on_validation_batch_end(self, *arguments):
        pass

    def on_test_batch_end(self, *arguments):
        pass


class SavesMore(Letters):
    def on_save_checkpoint(self, checkpoint):
        checkpoint["mine"] = 7


class LoadsMore(SavesMore):
    def on_load_checkpoint(self, checkpoint):
        assert checkpoint["mine"] == 7


class SavesObject(Letters):
    def __init__(self, num_classes, label_names, kind: str):
        super().__init__(num_classes, label_names)
        self.kind = kind

    def on_save_checkpoint(self, checkpoint):
        checkpoint["mine"] = OBJECTS[self.kind]


OBJECTS = {
    "object": Letters,
    "nested": {"a": [1, (2, collections.deque([3]))]},
    "array": np.ones(2),
    "function": lambda: 1,
    "generator": (each for each in "ab"),
}


class SavesObjectBySuper(SavesObject):
    def on_save_checkpoint(self, checkpoint):
        Letters.on_save_checkpoint(self, checkpoint)
        super().on_save_checkpoint(checkpoint)


class WithCallbackOfObject(Letters):
    def configure_callbacks(self):
        return [StoresObject()]


class StoresObject(lightning.Callback):
    def state_dict(self):
        return {"object": Letters}


class OwnCallbacks(Letters):
    def configure_callbacks(self):
        return [lightning.pytorch.callbacks.Timer()]


class Setups(Letters):
    def setup(self, stage):
        pass

    def prepare_data(self):
        pass

    def configure_model(self):
        pass

    def teardown(self, stage):
        pass


class OwnCheckpointInLightning(Letters):
    """Saves its weights under names of its own."""

    def state_dict(self, *arguments, **options):
        return {name.removeprefix("layer."): value for name, value in super().state_dict(*arguments, **options).items()}


class NoOptimizer(Letters):
    configure_optimizers = lightning.LightningModule.configure_optimizers


class OwnPredictStep(Letters):
    def predict_step(self, batch, batch_idx):
        return self.log_scores(batch).argmax(-1)


class OwnPredictions(Letters):
    def predict_step(self, batch, batch_idx):
        return [self.label_names[label] for label in self.log_scores(batch).argmax(-1)]


class OwnTransfer(Letters):
    """Moves only what it knows to the device."""

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        return {name: batch[name].to(device) for name in ("counts", "labels") if name in batch}


class NothingCounted(Uniform):
    """Removes what tells one row from another before the base counts it."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        return {"text": batch["text"]}
