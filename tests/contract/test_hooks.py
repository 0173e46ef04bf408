"""One line a violation: a hook is overridden without a call of the base's. All figures stay as if it were not."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.contract.hooks import OBJECTS

HOOKS = {  # class: a column that it adds to the record of the run
    "LogsValidationLoss": "val/loss",
    "ReturnsValidationLoss": None,
    "ReturnsDictionary": None,
    "CallsSuper": "val/loss",
    "LogsTestLoss": "test/loss",
    "ReturnsTestLoss": None,
    "BothSteps": "test/loss",
    "Mixed": "val/loss",
    "MixedModule": None,
    "Aliased": None,
    "TestCallsValidation": None,
    "TwoLevels": "val/loss",
    "WithoutGradient": None,
    "OneArgument": "val/loss",
    "EpochEnds": None,
    "LogsAtEpochEnd": "val/loss",
    "Starts": None,
    "EpochStarts": None,
    "SavesMore": None,
    "LoadsMore": None,
    "OwnCallbacks": None,
    "Setups": None,
}
FIGURES = {}
"""What training gives where nothing is overridden: measured once."""


def fit(run, name):
    """Trains two epochs; gives the figures of each validation and of the test, and the step of the best checkpoint."""
    logger = ("--trainer.logger", "CSVLogger")
    code, _, errors = run("fit", name, "basis.Forecasts", "--trainer.max_epochs", "2", *logger)
    assert code == 0, errors
    said = [line for line in errors.splitlines() if "validation at epoch" in line]
    values = json.loads(Path("run/report/metrics.json").read_text())
    best = torch.load("run/checkpoints/best.ckpt", weights_only=True)
    return said, {key: value for key, value in values.items() if key.startswith("test/")}, best["global_step"]


@pytest.mark.parametrize("name", HOOKS)
def test_figures_and_checkpoints_stay_the_same(name, run):
    if not FIGURES:
        FIGURES["of the base"] = fit(run, "basis.Letters")
        assert len(FIGURES["of the base"][0]) == 2
        shutil.rmtree("run")
    assert fit(run, f"hooks.{name}") == FIGURES["of the base"]
    if HOOKS[name]:
        with next(Path("run").rglob("metrics.csv")).open() as file:
            assert any(row.get(HOOKS[name]) for row in csv.DictReader(file))


def test_what_is_saved_in_addition(run):
    fit(run, "hooks.SavesMore")
    assert torch.load("run/checkpoints/best.ckpt", weights_only=True)["mine"] == 7


@pytest.mark.parametrize("name", ["SavesObject", "SavesObjectBySuper"])
@pytest.mark.parametrize("kind", OBJECTS)
def test_what_cannot_be_read_again(name, kind, refused):
    line = refused("fit", f"hooks.{name}", "basis.Forecasts", "--model.kind", kind)
    assert re.match(r"SavesObject(BySuper)?\.on_save_checkpoint stores under 'mine' what cannot be read", line), line


def test_a_state_of_a_callback_that_cannot_be_read_again(refused):
    line = refused("fit", "hooks.WithCallbackOfObject")
    assert re.match(r"the state_dict of a callback stores under 'StoresObject' what cannot be read", line), line


def test_training_without_an_optimizer(refused):
    assert re.search("configure_optimizers", refused("fit", "hooks.NoOptimizer"))


@pytest.mark.parametrize(("command", "name"), [("test", "NothingCounted"), ("fit", "OwnTransfer")])
def test_batches_that_lose_what_tells_rows_apart(command, name, refused):
    line = refused(command, f"hooks.{name}")
    assert re.search(r"batch .* has no 'row'", line), line


@pytest.mark.parametrize("name", ["OwnPredictStep", "OwnPredictions"])
def test_predictions_of_another_form(name, run, refused):
    fit(run, f"hooks.{name}")
    line = refused("predict", f"hooks.{name}", "basis.Forecasts", "--ckpt_path", "run/checkpoints/best.ckpt")
    assert re.match(rf"{name}\.predict_step gave", line), line
