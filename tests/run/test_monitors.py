"""The speed of training, and the heap that is trimmed as batches go by."""

from types import SimpleNamespace

import pytest
import torch

from textclf.run import monitors
from textclf.run.monitors import HeapTrimmer, TrainingSpeed


def test_trims_every_so_many_batches(monkeypatch):
    calls = []
    monkeypatch.setattr(monitors, "trim_heap", lambda: calls.append(1))
    trimmer = HeapTrimmer(every_n_batches=3)
    for hook in ("on_train_batch_end", "on_validation_batch_end", "on_test_batch_end", "on_predict_batch_end") * 2:
        getattr(trimmer, hook)(None, None)
    assert len(calls) == 8 // 3


class Steps:
    """Calls the callback as a trainer does, by a clock of its own."""

    def __init__(self, monkeypatch, lr=0.1, world_size=1):
        self.logged, self.now, self.speed = [], 0.0, TrainingSpeed()
        optimizers = [SimpleNamespace(param_groups=[{"lr": lr}, {"lr": lr / 2}] if lr else [{}])]
        self.trainer = SimpleNamespace(optimizers=optimizers, world_size=world_size, global_step=0, should_stop=False)
        self.model = SimpleNamespace(log_dict=self.logged.append)
        monkeypatch.setattr("textclf.run.monitors.time.perf_counter", lambda: self.now)
        self.speed.on_train_start(self.trainer, self.model)

    def step(self, wait, seconds, batch, log=False):
        self.trainer.global_step += 1
        self.trainer.log_every_n_steps = 1 if log else 1000
        self.now += wait
        self.speed.on_train_batch_start(self.trainer, self.model, batch, 0)
        self.now += seconds
        self.speed.on_train_batch_end(self.trainer, self.model, None, batch, 0)


def batch(device="cpu"):
    return {"labels": torch.zeros(2), "attention_mask": torch.ones(2, 5, dtype=torch.long, device=device)}


def test_waiting_counts_and_validation_and_saving_do_not(monkeypatch):
    steps = Steps(monkeypatch, world_size=3)
    steps.step(100, 1, batch())
    steps.step(2, 1, batch())
    steps.speed.on_save_checkpoint(steps.trainer, steps.model, {})
    steps.step(100, 2, batch())
    steps.speed.on_validation_start(steps.trainer, steps.model)
    steps.step(100, 4, batch(), log=True)
    speed = {"train/examples_per_second": 3 * 8 / 10, "train/tokens_per_second": 3 * 40 / 10, "train/padding": 0}
    assert steps.logged == [{"train/learning_rate": 0.1, **speed}]
    steps.step(1, 1, batch(), log=True)
    assert steps.logged[1]["train/examples_per_second"] == 3 * 2 / 2


def test_nothing_is_read_from_the_device_where_nothing_is_logged(monkeypatch):
    steps = Steps(monkeypatch)
    steps.step(0, 1, batch("meta"))  # whose values cannot be read
    with pytest.raises(RuntimeError, match="meta"):
        steps.step(0, 1, batch("meta"), log=True)


def test_batches_without_tokens_and_methods_without_steps(monkeypatch):
    steps = Steps(monkeypatch)
    steps.step(0, 1, {"labels": torch.zeros(4)}, log=True)
    assert steps.logged == [{"train/learning_rate": 0.1, "train/examples_per_second": 4}]
    fitted_whole = Steps(monkeypatch, lr=None)
    fitted_whole.step(0, 1, {"labels": torch.zeros(4)}, log=True)
    assert fitted_whole.logged == []


def test_batches_of_one_step_are_logged_once(monkeypatch):
    steps = Steps(monkeypatch)
    for _ in range(2):
        steps.step(0, 1, batch(), log=True)
        steps.trainer.global_step -= 1  # the next batch is accumulated
        steps.step(0, 1, batch(), log=True)
    assert [values["train/examples_per_second"] for values in steps.logged] == [2, 2]
