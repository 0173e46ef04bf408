"""The callbacks that draw the figures of a report and write its page, and how the trainer's option leaves them out."""

from pathlib import Path

import pytest
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Timer

from textclf.cli import build, main
from textclf.cli.app import merged_config
from textclf.data import FilesDataModule
from textclf.errors import UserError
from textclf.models import TfidfClassifier
from textclf.run import ReportFigures, default_callbacks, run_experiment
from textclf.run.defaults import DEFAULTS, added_report_callbacks, missing_report_callbacks, report_callbacks

pytestmark = pytest.mark.usefixtures("all_drawn")

CONFIGS = Path(__file__).parents[2] / "configs"
FIGURES = ["confusion_matrix", "lengths", "precision_recall", "reliability", "risk_coverage", "roc"]
FILES = ["--config", str(CONFIGS / "files.yaml")]
PATHS = ["textclf.run.ReportFigures", "textclf.run.ReportPage"]
STOP = "lightning.pytorch.callbacks.EarlyStopping"
TUNED = "textclf.run.TunedThresholds"


def pictures(folder):
    return sorted(path.stem for path in folder.glob("*.png"))


def has_page(folder):
    return (folder / "index.html").is_file()


@pytest.mark.slow
def test_a_run_has_figures_of_both_splits_and_validate_draws_them_again(rows_folder, tmp_path):
    run = tmp_path / "run"
    options = [*FILES, "--config", str(CONFIGS / "model" / "tfidf.yaml"), "--data.data_dir", str(rows_folder)]
    options += ["--model.min_df", "1", "--trainer.logger", "false", "--run_dir", str(run)]
    main(["fit", *options])
    assert pictures(run / "report") == pictures(run / "report" / "validation") == FIGURES
    assert has_page(run / "report")
    assert has_page(run / "report" / "validation")
    again = [*("--config", str(run / "config.yaml"), "--ckpt_path", "best", "--run_dir")]
    main(["validate", *again, str(tmp_path / "validated")])
    assert pictures(tmp_path / "validated" / "report" / "validation") == FIGURES
    main(["test", *again, str(tmp_path / "tested"), "--trainer.callbacks", "[]"])
    assert has_page(tmp_path / "validated" / "report" / "validation")
    assert (tmp_path / "tested" / "report" / "report.txt").is_file()
    assert pictures(tmp_path / "tested" / "report") == []
    assert not has_page(tmp_path / "tested" / "report")


@pytest.mark.slow
def test_a_run_from_python_and_a_trainer_of_ones_own_have_them(rows_folder, tmp_path):
    data = FilesDataModule(str(rows_folder))
    model = TfidfClassifier(data.num_classes, data.label_names, min_df=1)
    result = run_experiment(model, data, run_dir=tmp_path / "run", logger=False, accelerator="cpu")
    assert pictures(result.run_dir / "report") == FIGURES
    page = (result.run_dir / "report" / "index.html").read_text(encoding="utf-8")
    assert "Largest weights" in page  # the page is written after all other files of the report
    assert "fit seconds" in page
    trainer = Trainer(default_root_dir=tmp_path / "own", callbacks=default_callbacks(), logger=False, accelerator="cpu")
    trainer.test(model, FilesDataModule(str(rows_folder)), verbose=False)
    assert pictures(tmp_path / "own" / "report") == FIGURES
    assert has_page(tmp_path / "own" / "report")


@pytest.mark.slow
def test_figures_and_a_page_that_cannot_be_written_do_not_end_the_run(rows_folder, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise UserError("no space left")

    monkeypatch.setattr("textclf.evaluation.figures.report.draw_report", fail)
    monkeypatch.setattr("textclf.evaluation.pages.report_page.write_report_page", fail)
    data = FilesDataModule(str(rows_folder))
    model = TfidfClassifier(data.num_classes, data.label_names, min_df=1)
    result = run_experiment(model, data, run_dir=tmp_path / "run", logger=False, accelerator="cpu")
    assert result.metrics["test/accuracy"] >= 0
    said = capsys.readouterr().err
    assert "the figures of the report were not drawn (no space left)" in said
    assert "the page of the report was not written (no space left)" in said


CALLBACKS = {
    "by default": ([], PATHS),
    "one more": (["--trainer.callbacks+=TunedThresholds"], [*PATHS, TUNED]),
    "one more, in a configuration": (["--config", "{trainer: {callbacks+: [TunedThresholds]}}"], [*PATHS, TUNED]),
    "one more, in an overlay": (["--config", str(CONFIGS / "model" / "fine_tune.yaml")], [*PATHS, STOP]),
    "a list of others": (["--trainer.callbacks", "[TunedThresholds]"], [TUNED]),
    "a list of others, in a configuration": (["--config", "{trainer: {callbacks: [TunedThresholds]}}"], [TUNED]),
    "none": (["--trainer.callbacks", "[]"], []),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_list_of_others_replaces_them_and_a_plus_keeps_them(name):
    options, expected = CALLBACKS[name]
    callbacks = merged_config(["fit", *FILES, *options])["trainer"]["callbacks"]
    found = [callback["class_path"] if isinstance(callback, dict) else callback for callback in callbacks]
    assert [path.rpartition(".")[2] for path in found] == [path.rpartition(".")[2] for path in expected]


@pytest.mark.parametrize(
    ("given", "added", "missing"),
    [
        (None, ["ReportFigures", "ReportPage"], None),
        ([], [], None),
        ([ReportFigures()], [], "has no ReportPage, so"),
        ([Timer()], [], "has no ReportFigures and no ReportPage, so"),
        (report_callbacks(), [], None),
    ],
)
def test_null_has_them_and_a_list_without_them_is_announced(given, added, missing, capsys):
    assert [type(callback).__name__ for callback in added_report_callbacks(given)] == added
    said = capsys.readouterr().err
    assert missing in said if missing else not said


def test_figures_that_are_passed_are_not_drawn_twice():
    own = ReportFigures()
    assert [type(callback).__name__ for callback in missing_report_callbacks([own])] == ["ReportPage"]
    assert [type(callback).__name__ for callback in missing_report_callbacks([])] == ["ReportFigures", "ReportPage"]


def test_a_trainer_of_the_command_line_without_a_list_has_them(rows_folder, tmp_path):
    options = [*FILES, "--config", str(CONFIGS / "model" / "tfidf.yaml"), "--data.data_dir", str(rows_folder)]
    for value, expected in (("null", PATHS), ("[]", [])):
        _, _, trainer = build(
            [
                "fit",
                *options,
                "--trainer.callbacks",
                value,
                "--run_dir",
                str(tmp_path / value),
                "--trainer.logger",
                "false",
            ]
        )
        names = [type(callback).__name__ for callback in trainer.callbacks]
        assert [path for path in PATHS if path.rpartition(".")[2] in names] == expected


def test_the_defaults_of_the_command_line_are_those_of_a_run_from_python():
    configured = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["trainer"]["callbacks"]
    of_python = [f"textclf.run.{type(callback).__name__}" for callback in report_callbacks()]
    assert [callback["class_path"] for callback in configured] == of_python
    assert any(isinstance(callback, ReportFigures) for callback in default_callbacks())
