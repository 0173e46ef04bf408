"""Class paths: configurations and checkpoints name public paths, and former paths are read."""

from pydoc import locate

import pytest
import torch
from lightning.pytorch import Trainer

import textclf.data
import textclf.evaluation.calibration
import textclf.models
import textclf.run
from textclf.classes.paths import FORMER_PATHS, public_path, with_current_paths
from textclf.cli.config import with_current_classes
from textclf.cli.messages import classes
from textclf.data.cleaning import CleaningStep
from textclf.models import TfidfClassifier
from textclf.models.checkpoint import read_checkpoint
from textclf.run.yaml_values import dump, load


class Own(TfidfClassifier):
    pass


def test_methods_data_sets_and_cleaning_steps_are_exported_by_their_package():
    for base in (textclf.models.TextClassifier, textclf.data.TextDataModule, CleaningStep):
        ours = [kind for kind in classes(base) if kind.__module__.startswith(("textclf.data.", "textclf.models."))]
        paths = [public_path(kind) for kind in ours]
        assert paths
        assert all(path.count(".") == 2 for path in paths), paths


def test_every_former_path_leads_to_a_class_that_is_written_by_that_path():
    for former, path in FORMER_PATHS.items():
        kind = locate(path)
        assert isinstance(kind, type), former
        assert public_path(kind) == path, former


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (textclf.models.TfidfClassifier, "textclf.models.TfidfClassifier"),
        (textclf.data.NSMCDataModule, "textclf.data.NSMCDataModule"),
        (textclf.data.DropRepeats, "textclf.data.DropRepeats"),
        (textclf.run.TemperatureScaling, "textclf.run.TemperatureScaling"),
        (textclf.run.MetricsCSV, "textclf.run.MetricsCSV"),
        (textclf.evaluation.calibration.Temperature, "textclf.evaluation.calibration.Temperature"),
        (Own, f"{__name__}.Own"),
        (Trainer, "lightning.pytorch.trainer.trainer.Trainer"),
    ],
)
def test_classes_of_this_package_are_named_by_the_package_that_exports_them(kind, path):
    assert public_path(kind) == path


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"data": "textclf.data.nsmc.NSMCDataModule"}, {"data": "textclf.data.NSMCDataModule"}),
        (
            {"model": {"class_path": "textclf.models.embedded.EmbeddingClassifier", "init_args": {"x": [1, None]}}},
            {"model": {"class_path": "textclf.models.EmbeddingClassifier", "init_args": {"x": [1, None]}}},
        ),
        (
            {"trainer": {"callbacks": ["textclf.temperature.TemperatureScaling", {"class_path": "own.Callback"}]}},
            {"trainer": {"callbacks": ["textclf.run.TemperatureScaling", {"class_path": "own.Callback"}]}},
        ),
        (
            {"trainer": {"plugins": [{"class_path": "textclf.run.WholeCheckpointIO"}]}},
            {"trainer": {"plugins": [{"class_path": "textclf.run.AtomicCheckpointIO"}]}},
        ),
        (
            {"trainer": {"logger": [{"class_path": "textclf.loggers.MetricsCSV"}, False]}},
            {"trainer": {"logger": [{"class_path": "textclf.run.MetricsCSV"}, False]}},
        ),
        (
            {"callbacks": {"class_path": "textclf.tracking.TestRecord"}},
            {"callbacks": {"class_path": "textclf.run.ReportRecord"}},
        ),
        # Texts and label names that look like a former class path are not class paths.
        ({"text": "textclf.loggers.MetricsCSV", "names": ["textclf.loggers.MetricsCSV"]},) * 2,
        ({"textclf.loggers.MetricsCSV": 1},) * 2,
        ({"data": "textclf.data.nsmc.NSMC"},) * 2,
    ],
)
def test_former_class_paths_in_a_configuration(config, expected):
    assert with_current_paths(config) == expected
    assert load(dump(config)) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "textclf.data.nsmc.NSMCDataModule"], ["--data", "textclf.data.NSMCDataModule"]),
        (["--data=textclf.data.nsmc.NSMCDataModule"], ["--data=textclf.data.NSMCDataModule"]),
        (["--data.help", "textclf.data.emotion.EmotionDataModule"], ["--data.help", "textclf.data.EmotionDataModule"]),
        (
            [
                "--trainer.callbacks+=textclf.thresholds.TunedThresholds",
                "--trainer.logger",
                "textclf.loggers.MetricsCSV",
            ],
            ["--trainer.callbacks+=textclf.run.TunedThresholds", "--trainer.logger", "textclf.run.MetricsCSV"],
        ),
        (
            ["--trainer.callbacks", "[textclf.memory.HeapTrimmer, {class_path: textclf.validation.Calibration}]"],
            ["--trainer.callbacks", "[textclf.run.HeapTrimmer, {class_path: textclf.run.Calibration}]"],
        ),
        (["--trainer.callbacks.class_path", "a.B", "--texts", "textclf.loggers.MetricsCSV"],) * 2,
        (["--data"],) * 2,
    ],
)
def test_former_class_paths_on_the_command_line(arguments, expected):
    assert with_current_classes(arguments) == expected


def test_former_class_paths_in_a_checkpoint(tmp_path):
    step = {"class_path": "textclf.data.DropEmpty", "init_args": {}}
    old_step = {**step, "class_path": "textclf.data.cleaning.DropEmpty"}
    facts = {
        "class_path": "textclf.models.embedded.EmbeddingClassifier",
        "data": {"class_path": "textclf.data.korean.YNATDataModule", "init_args": {"cleaning": [old_step]}},
        "text_steps": [old_step],
        "calibrators": [{"class_path": "own.Scaling", "state": {}}],
        "fitted": {"data": "textclf.loggers.MetricsCSV"},
    }
    facts["label_names"] = ["a", "b"]
    torch.save({"textclf": facts, "hyper_parameters": {}, "state_dict": {}}, tmp_path / "old.ckpt")
    assert read_checkpoint(tmp_path / "old.ckpt")["textclf"] == {
        **facts,
        "class_path": "textclf.models.EmbeddingClassifier",
        "data": {"class_path": "textclf.data.YNATDataModule", "init_args": {"cleaning": [step]}},
        "text_steps": [step],
    }
