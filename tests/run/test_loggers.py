import csv
from itertools import count
from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch.loggers import WandbLogger

from textclf.errors import UserError
from textclf.run import wandb_server
from textclf.run.loggers import MetricsCSV, WandbRunLogger, set_up


def read(folder):
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def log(folder, *rows):
    """Logs as the trainer does: each row is saved at once."""
    logger = MetricsCSV(str(folder))
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
        logger.save()
    logger.finalize("success")
    return logger


def test_rows_and_new_columns(tmp_path):
    logger = log(tmp_path, (9, {"train/loss": torch.tensor(0.5), "epoch": 0}), (9, {"val/acc": 0.75}))
    assert read(tmp_path) == [
        {"step": "9", "train/loss": "0.5", "epoch": "0", "val/acc": ""},
        {"step": "9", "train/loss": "", "epoch": "", "val/acc": "0.75"},
    ]
    assert (logger.save_dir, logger.name, logger.version) == (str(tmp_path), "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_file_is_there_before_the_end(tmp_path):
    logger = MetricsCSV(str(tmp_path / "run"))
    logger.log_metrics({"loss": 1.5}, 3)
    logger.save()
    assert read(tmp_path / "run") == [{"step": "3", "loss": "1.5"}]


def test_resumed_run_keeps_earlier_rows_and_replaces_those_logged_again(tmp_path):
    log(tmp_path, (None, {"size": 7}), (0, {"loss": 4}), (10, {"loss": 3}), (20, {"loss": 2}), (30, {"loss": 1}))
    log(tmp_path, (20, {"loss": 2.5}), (30, {"loss": 1.5, "lr": 0.1}), (40, {"loss": 0.5}))
    assert [(row["step"], row["loss"], row["lr"], row["size"]) for row in read(tmp_path)] == [
        ("", "", "", "7"),
        ("0", "4", "", ""),
        ("10", "3", "", ""),
        ("20", "2.5", "", ""),
        ("30", "1.5", "0.1", ""),
        ("40", "0.5", "", ""),
    ]


def test_nothing_logged_leaves_what_is_there(tmp_path):
    log(tmp_path)
    assert not (tmp_path / "metrics.csv").exists()
    log(tmp_path, (1, {"loss": 1}))
    log(tmp_path)
    assert read(tmp_path) == [{"step": "1", "loss": "1"}]


# W&B


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """A home where nobody is logged in to W&B."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(wandb_server, "_unreachable", lambda address: None)
    return tmp_path


LABELS = {"group": "NSMC FineTunedClassifier", "job_type": "fit"}


def configured(kind, **arguments):
    return Namespace(class_path=f"lightning.pytorch.loggers.{kind}", init_args=Namespace(**arguments))


def filled(run_dir="runs/nsmc/3", **arguments):
    defaults = {"name": None, "save_dir": ".", "id": None, "group": None, "job_type": None, "offline": False}
    logger = configured("WandbLogger", **{**defaults, "mode": None, **arguments})
    set_up([logger], Path(run_dir), LABELS)
    return logger.init_args


def test_without_a_key_wandb_goes_offline_and_says_so(nobody, capsys):
    told = {"name": "nsmc/3", "save_dir": "runs/nsmc/3", "id": None, "offline": True, "mode": "offline"}
    assert filled() == Namespace(**told, **LABELS)
    said = capsys.readouterr()
    assert said.err.startswith("textclf: no W&B key was found: logging offline; `wandb login`, then `wandb sync`, ")
    assert said.err.count("\n") == 1
    assert said.out == ""


def with_key(monkeypatch, home):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)


def with_token(monkeypatch, home):
    monkeypatch.setenv("WANDB_IDENTITY_TOKEN_FILE", "token.jwt")


def with_login(monkeypatch, home):
    (home / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password invented\n")
    (home / ".netrc").chmod(0o644)  # W&B reads it none the less


def with_login_elsewhere(monkeypatch, home):
    monkeypatch.setenv("NETRC", str(home / "logins"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8443")
    (home / "logins").write_text("machine wandb.example.org:8443 login user password invented\n")


def with_mode(monkeypatch, home):
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.mark.parametrize("given", [with_key, with_token, with_login, with_login_elsewhere, with_mode])
def test_with_a_key_wandb_stays_as_it_is(nobody, monkeypatch, capsys, given):
    given(monkeypatch, nobody)
    arguments = filled(name="mine", save_dir="elsewhere", group="ours")
    assert (arguments.name, arguments.save_dir) == ("mine", "elsewhere")
    assert (arguments.offline, arguments.mode, arguments.group) == (False, None, "ours")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", ["machine github.com login a password b\n", "machine\n", None])
def test_login_to_something_else_does_not_count(nobody, content):
    if content is not None:
        (nobody / ".netrc").write_text(content)
    assert filled().offline is True


@pytest.mark.parametrize("arguments", [{"offline": True}, {"mode": "online"}, {"mode": "disabled"}])
def test_what_the_user_chose_stays(nobody, capsys, arguments):
    chosen = filled(**arguments)
    assert {name: chosen[name] for name in arguments} == arguments
    assert capsys.readouterr().err == ""


def test_with_a_key_and_no_server_wandb_goes_offline_and_says_so(nobody, monkeypatch, capsys):
    with_key(monkeypatch, nobody)
    monkeypatch.setattr(wandb_server, "_unreachable", lambda address: "Connection refused")
    assert (filled().offline, filled(mode="online").offline) == (True, False)
    said = capsys.readouterr().err
    reason = "textclf: W&B cannot be reached at https://api.wandb.ai (Connection refused): logging offline; `wandb "
    assert said.startswith(reason)
    assert said.count("\n") == 1


def test_what_the_environment_says_of_the_group_stays(nobody, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "theirs")
    assert (filled().group, filled().job_type) == (None, "fit")


def test_only_a_resumed_run_has_an_id_and_a_users_own_comes_first(nobody):
    record = nobody / "wandb" / "offline-run-20260102_030405-ab-12"
    record.mkdir(parents=True)
    (nobody / "wandb" / "latest-run").symlink_to(record)
    assert filled(nobody).id is None
    (nobody / "config.yaml").touch()
    assert filled(nobody).id == "ab-12"
    assert filled(nobody, id="mine").id == "mine"


# All of them


def test_metrics_csv_is_written_beside_any_other_logger():
    csv_logger = Namespace(class_path="textclf.run.MetricsCSV", init_args=Namespace(save_dir="."))
    board = configured("TensorBoardLogger", save_dir=".", name="lightning_logs", version=None)
    added = set_up(board, Path("run"), LABELS)
    assert added[0].init_args == Namespace(save_dir="run", name="", version="tensorboard")
    assert added[1:] == set_up([csv_logger], Path("run"), LABELS)
    assert csv_logger.init_args == Namespace(save_dir="run")
    assert [set_up(none, Path("run"), LABELS) for none in (False, None, True, [])] == [False, None, True, []]


@pytest.mark.parametrize(
    ("kind", "package"), [("TensorBoardLogger", "tensorboard"), ("MLFlowLogger", "mlflow"), ("CometLogger", "comet_ml")]
)
def test_a_logger_whose_package_is_not_installed(monkeypatch, kind, package):
    monkeypatch.setattr("textclf.run.loggers.find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"trainer.logger: {kind} needs a package .* pip install .*{package}"):
        set_up(configured(kind, save_dir=None), Path("run"), LABELS)


def test_a_logger_without_a_folder_gets_none():
    comet = configured("OwnLogger", project="mine")
    set_up([comet], Path("run"), LABELS)
    assert comet.init_args == Namespace(project="mine")


def test_a_long_record_is_written_seldom_and_whole_at_the_end(tmp_path, monkeypatch):
    logger, written, write = MetricsCSV(str(tmp_path)), [], MetricsCSV._write
    monkeypatch.setattr(MetricsCSV, "_write", lambda self: (written.append(len(self._rows)), write(self)))
    monkeypatch.setattr("textclf.run.loggers.time.monotonic", count().__next__)  # each look at the clock takes a second
    for step in range(1100):
        logger.log_metrics({"loss": 1.0}, step)
        if step >= 990:
            logger.save()
    logger.finalize("success")
    assert written[:10] == list(range(991, 1001))
    assert written[10:] == [1021, 1042, 1063, 1084, 1100]
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1101


def test_private_attributes_of_lightnings_logger_of_wandb():
    assert "anonymous" in WandbLogger(offline=True)._wandb_init  # as long as it is, WandbRunLogger takes it away
    assert "anonymous" not in WandbRunLogger(offline=True)._wandb_init
    assert WandbRunLogger(offline=True)._experiment is None
