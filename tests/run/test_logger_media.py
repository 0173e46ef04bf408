"""What loggers of other services get, and that none of them ends a run."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from lightning.pytorch.loggers import CometLogger, CSVLogger, Logger, MLFlowLogger

from textclf import run_experiment
from textclf.data import FilesDataModule
from textclf.models import TfidfClassifier
from textclf.run.logger_media import record_config, record_picture, record_table, takes_media

COLUMNS, ROWS = ["text", "score"], [["영화 | film", 0.5], [None, 1.0]]


class Calls:
    """Keeps how its methods were called."""

    def __init__(self):
        self.made = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.made.append((name, args, kwargs))


class FakeMLFlowLogger(MLFlowLogger):
    """Lightning's logger around a client that keeps calls: the package is not needed."""

    run_id = "7"
    experiment = None

    def __init__(self):
        self.experiment = Calls()

    def log_hyperparams(self, params):
        self.experiment.log_batch(sorted(params))


class FakeCometLogger(CometLogger):
    """Lightning's logger around an experiment that keeps calls."""

    experiment = None

    def __init__(self):
        self.experiment = Calls()

    def log_hyperparams(self, params):
        self.experiment.log_parameters(sorted(params))


class OwnLogger(Logger):
    """A logger of one's own that takes metrics alone, as Lightning asks."""

    name, version = "own", "0"

    def __init__(self):
        self.got = []

    def log_metrics(self, metrics, step=None):
        self.got.append(("metrics", sorted(metrics)))

    def log_hyperparams(self, params):
        self.got.append(("config", sorted(params)))


class WithMedia(OwnLogger):
    """One that takes pictures and tables as well."""

    def log_image(self, key, images, step=None):
        self.got.append((key, [Path(image).is_file() for image in images]))

    def log_table(self, key, columns, data, step=None):
        self.got.append((key, columns, len(data)))


class Failing(OwnLogger):
    """One whose service is down."""

    def log_hyperparams(self, params):
        raise RuntimeError("the service is down\nsince noon")

    def log_image(self, **kwargs):
        raise OSError("no route")

    def log_table(self, **kwargs):
        raise ValueError


def test_each_service_is_called_by_its_own_methods(tmp_path):
    mlflow, comet = FakeMLFlowLogger(), FakeCometLogger()
    for logger in (mlflow, comet):
        record_config(logger, {"model": {"C": 1.0}}, {"total": 3})
        record_picture(logger, "test/matrix", tmp_path / "matrix.png", 5)
        record_table(logger, "test/sample", COLUMNS, ROWS, 5)
    assert mlflow.experiment.made == [
        ("log_batch", (["model", "parameters"],), {}),
        ("log_artifact", ("7", str(tmp_path / "matrix.png")), {"artifact_path": "test"}),
        (
            "log_table",
            ("7",),
            {"data": {"text": ["영화 | film", None], "score": [0.5, 1.0]}, "artifact_file": "test/sample.json"},
        ),
    ]
    assert comet.experiment.made == [
        ("log_parameters", (["model", "parameters"],), {}),
        ("log_image", (str(tmp_path / "matrix.png"),), {"name": "test/matrix", "step": 5}),
        ("log_table", ("test/sample.csv",), {"tabular_data": [COLUMNS, *ROWS], "headers": False}),
    ]


def test_a_table_without_rows(tmp_path):
    mlflow, comet = FakeMLFlowLogger(), FakeCometLogger()
    for logger in (mlflow, comet):
        record_table(logger, "test/sample", COLUMNS, [], 5)
    assert mlflow.experiment.made[0][2]["data"] == {"text": [], "score": []}
    assert comet.experiment.made[0][2]["tabular_data"] == [COLUMNS]


@pytest.mark.parametrize(
    ("logger", "takes"),
    [(OwnLogger(), False), (WithMedia(), True), (FakeMLFlowLogger(), True), (CSVLogger("."), False)],
)
def test_only_what_a_logger_takes_is_given_to_it(logger, takes):
    assert takes_media(logger) is takes


def test_a_run_with_loggers_of_ones_own(rows_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "confusion_matrix.png"
    picture.touch()
    monkeypatch.setattr("textclf.evaluation.figures.report.draw_report", lambda *_: [picture])
    loggers = [OwnLogger(), WithMedia(), Failing(), CSVLogger(tmp_path / "csv")]
    model = TfidfClassifier(2, ("negative", "positive"), min_df=1)
    run_experiment(model, FilesDataModule(str(rows_folder)), logger=loggers, accelerator="cpu")
    plain, media = ([entry for entry in logger.got if entry[0] != "metrics"] for logger in loggers[:2])
    config = ("config", ["data", "model", "parameters", "seed_everything", "test_after_fit", "trainer"])
    assert plain == [config]
    assert media[0] == config
    assert {entry[0] for entry in media} == {
        *("config", "cleaning", "test/confusion_matrix", "test/sample", "test/worst_mistakes")
    }
    assert ("test/confusion_matrix", [True]) in media
    said = capsys.readouterr().err
    assert "textclf: Failing did not take the configuration (the service is down): the run continues\n" in said
    assert "textclf: Failing did not take the picture test/confusion_matrix (no route): the run continues\n" in said
    assert "textclf: Failing did not take the table test/sample (ValueError): the run continues\n" in said
    stored = yaml.safe_load((tmp_path / "csv" / "lightning_logs" / "version_0" / "hparams.yaml").read_text())
    assert stored["model"]["init_args"]["min_df"] == 1


def test_ctrl_c_in_a_logger_ends_the_run():
    def interrupted(**kwargs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_picture(SimpleNamespace(log_image=interrupted), "test/matrix", Path("matrix.png"), 5)
