"""The objects of a command line, for scripts and notebooks."""

import pytest

from textclf.cli import build
from textclf.cli.config import Parser
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import TfidfClassifier
from textclf.run import BestCheckpoint, MetricsCSV


@pytest.fixture
def command(rows_folder, tmp_path):
    options = ["--data.data_dir", str(rows_folder), "--trainer.logger", "textclf.run.MetricsCSV"]
    options += ["--trainer.accelerator", "cpu", "--run_dir", str(tmp_path / "run")]
    return ["fit", "--data", "FilesDataModule", "--model", "TfidfClassifier", *options]


def test_build_makes_the_objects_of_a_command_and_runs_nothing(command, tmp_path):
    model, data, trainer = build(command)
    assert type(model) is TfidfClassifier
    assert type(data) is FilesDataModule
    assert model.label_names == ("negative", "positive")
    assert trainer.default_root_dir == str(tmp_path / "run")
    assert isinstance(trainer.logger, MetricsCSV)
    assert any(isinstance(callback, BestCheckpoint) for callback in trainer.callbacks)
    assert not list((tmp_path / "run").rglob("*.*"))

    trainer.fit(model, datamodule=data)
    [metrics] = trainer.test(model, datamodule=data, verbose=False)
    assert metrics["test/accuracy"] > 0.5
    assert (tmp_path / "run" / "report" / "report.txt").is_file()


def test_mistakes_are_raised(command):
    with pytest.raises(UserError, match="did you mean 'batch_size'"):
        build([*command, "--data.bacth_size", "3"])


def test_a_parser_lists_its_options():  # argparse has no public attribute for them
    parser = Parser(add_help=False)
    parser.add_argument("-n", "--number", type=int)
    assert {"-n", "--number"} <= set(parser.option_names())
    assert "number" in [action.dest for action in parser.actions()]
