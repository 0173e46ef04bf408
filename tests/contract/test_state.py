"""One line a violation: what a method calls its attributes or forgets to keep, and what comes of it."""

import json
import re
import traceback
from pathlib import Path

import pytest

from tests.contract.state import FITTED, KEPT

NLL = (17 * 0.126928 + 16 * 2.126928) / 33
OWN_NAMES = [
    "OwnTemperature",
    "OwnTemperatureParameter",
    "OwnTemperatureMethod",
    "OwnThresholds",
    "OwnThresholdNumber",
    "OwnFitted",
    "OwnRestored",
    "OwnMetrics",
    "OwnTrainRows",
    "OwnTextSteps",
    "OwnCalibrator",
    "OwnState",
]
TAKEN_NAMES = {  # refused, or without any effect on the figures
    "OwnLog": "log",
    "OwnFigures": "figures",
    "OwnClassify": "classify",
    "OwnDevice": "device",
    "OwnLabelNames": "label_names",
    "OwnNumClasses": "num_classes",
}
MADE = {
    "SuperLast": r"SuperLast\.__init__.*super\(\)\.__init__",
    "NoSuper": r"NoSuper\.__init__.*super\(\)\.__init__",
    "SuperWithoutFacts": r"SuperWithoutFacts\.__init__.*num_classes",
}
LOST = {
    "AttributeNotKept": r"AttributeNotKept.*fitted",
    "AttributeWithDefault": r"AttributeWithDefault.*fitted",
    "LayerInPrepare": r"LayerInPrepare.*layer.*configure_model",
    "BufferInPrepare": r"BufferInPrepare.*mean.*configure_model",
    "BufferNotKept": r"BufferNotKept.*fitted",
    "RandomProjection": r"RandomProjection.*",
    "LayersInList": r"LayersInList.*",
    "LearntInAttribute": r"LearntInAttribute.*",
    "Vocabulary": r"Vocabulary.*fitted",
}
NEVER_CALLED = {
    "SplitNotRequested": r"SplitNotRequested\.calibrate_split is never called: set needs_whole_split = True",
    "ExamplesNotRequested": r"ExamplesNotRequested\.set_examples is never called: define example_request",
    "PreparesWithoutTraining": r"PreparesWithoutTraining\.prepare is never called.*PreparedClassifier",
}
RIGHT = ["LayerFromFitted", "ReplacedFitted", "OwnFittedWhileTraining"]


def metrics():
    return json.loads(Path("run/report/metrics.json").read_text())


@pytest.mark.parametrize("name", OWN_NAMES)
def test_names_of_ones_own(name, run):
    code, _, errors = run("test", f"state.{name}")
    assert code == 0, errors
    assert metrics()["test/nll"] == pytest.approx(NLL, abs=1e-4)
    assert metrics()["test/accuracy"] == pytest.approx(17 / 33)


@pytest.mark.parametrize("name", TAKEN_NAMES)
def test_names_that_are_taken(name, refused):
    line = refused("test", f"state.{name}")
    assert re.match(rf"{name}\b.*{TAKEN_NAMES[name]}", line), line


def test_an_attribute_that_torch_refuses(run):
    with pytest.raises(RuntimeError, match="Cannot set the dtype") as caught:
        run("test", "state.OwnDtype")
    assert "state.OwnDtype" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", MADE)
def test_constructors(name, refused):
    line = refused("test", f"state.{name}")
    assert re.match(MADE[name], line), line


@pytest.mark.parametrize("kind", FITTED)
def test_fitted_that_cannot_be_kept(kind, refused):
    line = refused("fit", "state.Keeps", "basis.Forecasts", "--model.kind", kind)
    assert re.match(r"Keeps\.prepare: fitted", line), line
    assert not Path("run/checkpoints").exists(), "it is refused before training"


@pytest.mark.parametrize("kind", KEPT)
def test_fitted_that_is_made_plain(kind, run):
    code, _, errors = run("fit", "state.Keeps", "basis.Forecasts", "--model.kind", kind)
    assert code == 0, errors
    assert metrics()["test/nll"] == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.parametrize("name", LOST)
def test_state_that_a_checkpoint_lacks(name, refused):
    line = refused("fit", f"state.{name}")
    assert re.match(LOST[name], line), line


@pytest.mark.parametrize("name", RIGHT)
def test_state_that_is_kept(name, run):
    code, _, errors = run("fit", f"state.{name}", "basis.Forecasts", "--trainer.max_epochs", "4")
    assert code == 0, errors
    assert metrics()["test/accuracy"] > 0.9


@pytest.mark.parametrize("command", ["test", "validate", "fit", "predict"])
@pytest.mark.parametrize("name", NEVER_CALLED)
def test_overrides_that_are_never_called(name, command, refused):
    line = refused(command, f"state.{name}")
    assert re.match(NEVER_CALLED[name], line), line


@pytest.mark.parametrize("name", ["DecidesAboutSplit", "RequestsNothing"])
def test_overrides_that_are_an_option(name, run):
    code, _, errors = run("test", f"state.{name}")
    assert code == 0, errors
